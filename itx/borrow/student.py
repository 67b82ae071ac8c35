"""Student's t, and how far it widens the intervals of few prompts.

The levels of a percentile bootstrap are widened so that for few prompts, too, it holds the truth as often as it says
(Hesterberg 2015, The American Statistician 69:4, "expanded percentile").
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import Final

NORMAL: Final = NormalDist()


@cache
def widen(tail: float, prompts: int) -> float:
    """Return the share of resamples beyond each end so that ``tail`` of them hold: smaller for few prompts."""
    return NORMAL.cdf(-math.sqrt(prompts / (prompts - 1)) * quantile(1 - tail, prompts - 1))


def probability(value: float, freedom: int) -> float:
    """Return P(T ≤ value) of Student's t with ``freedom`` degrees (closed sums: Abramowitz & Stegun 26.7.3-4)."""
    angle = math.atan2(value, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    if freedom % 2:
        total, term = 0.0, cosine
        for step in range(1, freedom - 1, 2):
            total += term
            term *= cosine * cosine * (step + 1) / (step + 2)
        inside = 2 / math.pi * (angle + sine * total)
    else:
        total, term = 0.0, 1.0
        for step in range(0, freedom - 1, 2):
            total += term
            term *= cosine * cosine * (step + 1) / (step + 2)
        inside = sine * total
    return min(1.0, max(0.0, (1 + inside) / 2))


@cache
def quantile(share: float, freedom: int) -> float:
    """Return t with P(T ≤ t) = ``share`` ≥ 0.5, by bisection."""
    low, high = 0.0, 1.0
    while probability(high, freedom) < share and high < 1e9:
        low, high = high, high * 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle, freedom) < share else (low, middle)
    return (low + high) / 2
