"""How figures are worded, everywhere the same: probabilities, divergences, fractions with their counts."""

from __future__ import annotations

import math


def say_probability(logp: float) -> str:
    """Return exp(``logp``) with two significant digits: ``0.91``, ``0.031``, ``2e-05``."""
    probability = math.exp(min(logp, 0.0))
    if probability >= 0.995:
        return "1.00"
    if probability >= 0.0995:
        return f"{probability:.2f}"
    if probability >= 0.0001:
        return f"{probability:#.2g}"
    return f"{probability:.0e}"


def say_nats(value: float, exact: bool = True) -> str:
    """Return a divergence with three digits where it is large enough; a lower bound is shown as ``≥ x``."""
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
