"""How much the tuning raised a span."""

from __future__ import annotations

import math

from itx.records import Response, Score, Thresholds

RAISED = 3.0
"""Nats that the author must give a span more than base, where none of its positions is shifted."""


def sum_rise(response: Response, score: Score, start: int, end: int) -> float | None:
    """Return the sum of the author's log-prob minus the scorer's over positions ``start`` to ``end``, in nats.

    None where a scorer with another tokenizer has no figure for just these positions: where their common spans are
    not theirs alone, or not all of theirs.
    """
    if not score.spans:
        figures = zip(response.logp[start:end], score.logp[start:end], strict=True)
        rises = [own - other for own, other in figures if other is not None]
        return math.fsum(rises) if len(rises) == end - start else None
    spans = [span for span in score.spans if span.author_start < end and start < span.author_end]
    whole = all(start <= span.author_start and span.author_end <= end for span in spans)
    if not whole or sum(span.author_end - span.author_start for span in spans) != end - start:
        return None
    return math.fsum(span.author_logp - span.scorer_logp for span in spans)


def is_raised(rise: float | None, score: Score, start: int, end: int, thresholds: Thresholds) -> bool:
    """Return whether a position of the span is shifted, or the author gives it at least 3 nats more."""
    return (rise is not None and rise >= RAISED) or any(
        thresholds.classify(rank) == "shifted" for rank in score.rank[start:end]
    )
