"""How much the tuning raised a span."""

from __future__ import annotations

import math

from itx.records import Response, Score, Thresholds

RAISED = 3.0
"""Nats that the author must give a span more than base, where none of its positions is shifted."""


def sum_rise(response: Response, score: Score, start: int, end: int) -> float:
    """Return the sum of the author's log-prob minus the scorer's over positions ``start`` to ``end``, in nats."""
    return math.fsum(response.logp[place] - score.logp[place] for place in range(start, end))


def is_raised(rise: float, score: Score, start: int, end: int, thresholds: Thresholds) -> bool:
    """Return whether a position of the span is shifted, or the author gives it at least 3 nats more."""
    return rise >= RAISED or any(thresholds.classify(rank) == "shifted" for rank in score.rank[start:end])
