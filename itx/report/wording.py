"""How figures are worded, everywhere the same: probabilities, divergences, fractions with their counts."""

from __future__ import annotations

import math
from typing import Literal

from itx.records import Decoding, Finish, Response

Ending = Literal["whole", "limit", "window", "cancelled"]


def name_ending(finish: Finish | None, count: int, limit: int, *, given: bool) -> Ending:
    """Return how a response of ``count`` positions ended, where ``limit`` new tokens were asked for at most.

    A given text is whole where it stops. One that was written and stopped without EOS below the limit had filled the
    window of a model.
    """
    if finish == "cancelled":
        return "cancelled"
    if finish == "length" and not given:
        return "window" if count < limit else "limit"
    return "whole"


def say_ending(response: Response, decoding: Decoding) -> str:
    """Return in words how a response ended short of an end of its own; nothing where it has one."""
    return {
        "whole": "",
        "limit": "stopped at the token limit",
        "window": "stopped at the end of the model's window",
        "cancelled": "cancelled before its end",
    }[name_ending(response.finish, len(response.ids), decoding.max_new_tokens, given=response.given)]


ABSENT = "n/a"
"""What is said where a figure does not exist."""


def say_probability(logp: float | None) -> str:
    """Return exp(``logp``) with two significant digits: ``0.91``, ``0.031``, ``2e-05``; ``n/a`` without one."""
    if logp is None:
        return ABSENT
    probability = math.exp(min(logp, 0.0))
    if probability >= 0.995:
        return "1.00"
    if probability >= 0.0995:
        return f"{probability:.2f}"
    if probability >= 0.0001:
        return f"{probability:#.2g}"
    return f"{probability:.0e}"


def say_rank(rank: int | None) -> str:
    """Return a rank with its thousands apart; ``n/a`` without one."""
    return ABSENT if rank is None else f"{rank:,}"


def say_nats(value: float | None, exact: bool = True) -> str:
    """Return a divergence with three digits where it is large enough; a lower bound is shown as ``≥ x``.

    Without a value it is ``n/a``.
    """
    if value is None:
        return ABSENT
    if abs(value) >= 0.0005 or value == 0:
        digits = f"{value:.1f}" if abs(value) >= 99.95 else f"{value:.2f}" if abs(value) >= 0.995 else f"{value:.3f}"
    else:
        digits = f"{value:.0e}"
    return digits if exact else f"≥ {digits}"


def say_share(count: int, total: int) -> str:
    """Return a count with its share: ``6 (15 %)``; without a total the share is not said."""
    return f"{count:,} ({100 * count / total:.0f} %)" if total else f"{count:,}"


def say_count(count: int, noun: str) -> str:
    """Return ``1 prompt``, ``2 prompts``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
