"""The paper's statements as measurements on one run, each with a margin that was stated before anything was measured.

Ghosh et al., *A Closer Look at the Limitations of Instruction Tuning* (ICML 2024); LoRA is their LFT, full tuning their
SFT. A statement *holds* where its figure lies beyond the margin and *does not hold* where it lies short of it, both at
5 % after Holm's correction over the whole table; else there is *not enough data*. p-values are two-sided, of the
hypothesis that the figure is the margin, and are read off the same resamples of prompts as the intervals.

On the *own* path each model's own responses are scored by base; on the *shared* path all models score one response.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from itx.records import Record
from itx.report.study import Estimate

Verdict = Literal["holds", "does not hold", "not enough data"]
LEVEL = 0.05
LEAST_PROMPTS = 10
"""With fewer prompts (or facts) nothing is said: resamples of so few do not stand for others."""
MOST_DRAWS = 20_000
LEAST_RATIO = 1.2
"""Two tunings' responses differ in length where one's are longer by a fifth on average."""

CLASS_NOISE = 0.02
"""Differences of shifted shares below it may be noise: between bf16 and fp32 1.3 % of positions change their class."""
MAJORITY = 0.5
"""'Are', 'is concentrated': more than half."""
BORROWED = 0.01
"""A word per 100: with some 40 words a response that could be borrowed, less is no word in two responses."""
FORGOTTEN = 0.05
"""One fact in twenty: a few facts are lost and gained by chance in any tuning."""
TOKENS = 5.0
"""A short clause; differences in how a last sentence is worded are smaller."""


class Claim(Record, frozen=True, kw_only=True):
    """One statement, measured. ``found`` is the figure with its interval, ``margin`` what it must exceed, with
    ``reason``; ``p`` is adjusted. ``note`` says what is missing, or must be known. Shares are fractions."""

    statement: str
    measure: str
    path: Literal["own", "shared"] | None
    models: list[str]
    found: Estimate | None
    unit: Literal["share", "words per 100", "tokens"]
    margin: float
    reason: str
    p: float | None
    verdict: Verdict
    note: str = ""


class Claims(Record, frozen=True, kw_only=True):
    """The table; ``compared`` is how many of its p-values the correction is over."""

    claims: list[Claim]
    compared: int
    level: float = LEVEL


Facts = Mapping[str, Sequence[tuple[bool, bool]]]
"""By tuned model, for each fact: whether base knew it, and whether the model does."""
