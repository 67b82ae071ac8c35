"""How much probability lies outside the ids that two models share: on padding, and on tokens that one of them added."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from itx.models.contract import Arithmetic, Engine, Reduction, Rows
from itx.records import Top


def measure_outside(rows: Rows, arithmetic: Arithmetic, tops: Sequence[Top], width: int) -> list[float]:
    """Return the probability of the columns from ``width`` on, for each row; 0 where it has none.

    ``tops`` are the best of each row's first ``width`` columns, with log-probs over these alone.
    """
    logits = arithmetic.export(rows)
    extra = logits[:, width:].astype(np.float64)
    shares = []
    for row, beyond, top in zip(logits, extra, tops, strict=True):
        token, logp = top[0]
        inside = float(row[token]) - logp
        if not beyond.size or beyond.max() == -np.inf:
            shares.append(0.0)
            continue
        # The logarithm of the odds, so that neither side overflows.
        odds = float(beyond.max() + np.log(np.exp(beyond - beyond.max()).sum())) - inside
        shares.append(float(np.exp(odds - np.logaddexp(0.0, odds))))
    return shares


def add_outside(
    figures: Reduction, author: Engine, scorers: Sequence[Engine], own: Rows, others: Sequence[Rows], width: int
) -> Reduction:
    """Return figures with the probability that lies outside the common ids, where not all ids are common.

    ``own`` and ``others`` are the rows that they come from, as rows of the author's engine.
    """

    def measure(engine: Engine, rows: Rows, tops: Sequence[Top]) -> list[float]:
        if engine.vocab_size == width:
            return [0.0] * len(tops)
        return measure_outside(rows, author.arithmetic, tops, width)

    if all(engine.vocab_size == width for engine in (author, *scorers)):
        return figures
    scores = []
    ours: list[float] | None = None
    for engine, rows, score in zip(scorers, others, figures.scores, strict=True):
        if author.vocab_size == width == engine.vocab_size:
            scores.append(score)
            continue
        if ours is None:
            ours = measure(author, own, figures.own.top)
        theirs = measure(engine, rows, score.top)
        scores.append(msgspec.structs.replace(score, outside_author=ours, outside_scorer=theirs))
    return Reduction(figures.own, scores)
