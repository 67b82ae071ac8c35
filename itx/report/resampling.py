"""Intervals that resample prompts: a figure is a ratio of sums over prompts, or a difference of two.

Positions of one response depend on each other, so the prompt is what is drawn. A resample is the number of times each
prompt is drawn (multinomial), so that all resamples of all figures are one matrix product. Compared models share the
draws of their common prompts. The interval is the percentile bootstrap (Efron & Tibshirani 1993, chapter 13), with the
levels widened by Student's t for few prompts (Hesterberg 2015, The American Statistician 69:4, "expanded percentile").
Measured on prompts of unequal length whose rates scatter, 12, 30 and 100 of them, 1,500 runs each: it holds the truth
in 94.2, 94.5 and 94.9 %, the plain percentile in 90.7, 93.1 and 94.3 %, BCa in 90.3, 92.7 and 94.2 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itx.borrow.student import NORMAL, probability, widen
from itx.report.study import FEW, Estimate

Matrix = NDArray[np.float64]

DRAWS = 2000
SEED = 0
LEVEL = 0.95
_BLOCK = 4_000_000
"""Weights in memory at a time."""


class Ratios(NamedTuple):
    """Ratios of sums, and what is needed for their intervals: columns of ``prompts × figures`` matrices."""

    numerators: Matrix
    denominators: Matrix


class Drawn(NamedTuple):
    """Figures with their resamples (``draws × figures``, nan where a resample has nothing to divide by).

    ``prompts`` is the number of prompts, a figure, that have something to count, ``counts`` what they have.
    """

    values: Matrix
    draws: Matrix
    prompts: NDArray[np.int64]
    counts: Matrix


@lru_cache(maxsize=4)
def _draw_block(prompts: int, draws: int, block: int) -> Matrix:
    source = np.random.default_rng([SEED, prompts, block])
    picked = source.integers(0, prompts, size=(draws, prompts))
    picked += np.arange(draws)[:, None] * prompts
    return np.bincount(picked.ravel(), minlength=draws * prompts).reshape(draws, prompts).astype(np.float64)


def draw_weights(prompts: int, draws: int = DRAWS) -> Iterator[Matrix]:
    """Yield how often each prompt is drawn in each resample, the same at every call.

    Each is ``some draws × prompts``; together they are ``draws`` of them, one of many prompts in memory at a time.
    """
    size = max(1, min(draws, _BLOCK // max(prompts, 1)))
    for block, start in enumerate(range(0, draws, size)):
        yield _draw_block(prompts, min(size, draws - start), block)


def draw(ratios: Ratios, draws: int = DRAWS) -> Drawn:
    """Return the figures with their resamples; a prompt that counts in no figure is left out."""
    kept = _order(ratios.numerators, ratios.denominators)
    kept = kept[(ratios.denominators[kept] > 0).any(axis=1)]
    return _draw(ratios.numerators[kept], ratios.denominators[kept], draws)


def draw_difference(first: Ratios, second: Ratios, draws: int = DRAWS) -> Drawn:
    """Return the figures of ``first`` minus those of ``second``, over the prompts that count in both.

    Rows are the same prompts; both are resampled alike. Counts are of both.
    """
    kept = _order(first.numerators, first.denominators, second.numerators, second.denominators)
    kept = kept[(first.denominators[kept] > 0).any(axis=1) & (second.denominators[kept] > 0).any(axis=1)]
    one, two = (_draw(each.numerators[kept], each.denominators[kept], draws) for each in (first, second))
    return Drawn(
        one.values - two.values,
        one.draws - two.draws,
        ((first.denominators[kept] > 0) & (second.denominators[kept] > 0)).sum(axis=0),
        one.counts + two.counts,
    )


def _order(*columns: Matrix) -> NDArray[np.int64]:
    """Return the rows in an order of their contents alone: the order of a run's lines moves no interval."""
    rows = np.ascontiguousarray(np.hstack(columns))
    if not rows.size:
        return np.arange(len(rows))
    # Compared as bytes: any order will do.
    return np.argsort(rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0], kind="stable")


def _draw(numerators: Matrix, denominators: Matrix, number: int) -> Drawn:
    prompts, figures = numerators.shape
    counts = denominators.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = numerators.sum(axis=0) / counts
        if prompts < 2:
            draws = np.full((0, figures), np.nan)
        else:
            both = np.hstack([numerators, denominators])
            sums = np.vstack([weights @ both for weights in draw_weights(prompts, number)])
            draws = sums[:, :figures] / sums[:, figures:]
    return Drawn(values, draws, (denominators > 0).sum(axis=0), counts)


def estimate(drawn: Drawn, shares: Sequence[bool] = ()) -> list[Estimate]:
    """Return one Estimate a figure, with its interval.

    ``shares`` says which are shares of what is counted. Where a share is 0 or 1 every resample is, too, which says
    nothing of other prompts: then the interval is that of so many prompts without one exception (Clopper & Pearson
    1934), as wide as it is where positions of a prompt are all alike.
    """
    # Not a number sorts to the end.
    ordered = np.sort(np.ascontiguousarray(drawn.draws.T), axis=1)
    usable = np.count_nonzero(~np.isnan(ordered), axis=1)
    found = []
    for place, value in enumerate(drawn.values):
        prompts, known = int(drawn.prompts[place]), not math.isnan(value)
        low = high = None
        if known and prompts >= 2 and usable[place]:
            low, high = _interval(ordered[place, : usable[place]], prompts)
            if low == high and value in {0.0, 1.0} and place < len(shares) and shares[place]:
                reach = ((1 - LEVEL) / 2) ** (1 / prompts)
                low, high = (0.0, 1 - reach) if value == 0 else (reach, 1.0)
        found.append(
            Estimate(
                value=float(value) if known else None,
                low=low,
                high=high,
                count=round(float(drawn.counts[place])),
                prompts=prompts,
                few=prompts < FEW,
            )
        )
    return found


def _interval(ordered: Matrix, prompts: int) -> tuple[float, float]:
    """Return the two ends from resamples in order."""
    tail = widen((1 - LEVEL) / 2, prompts)
    last = len(ordered) - 1
    ends = []
    for share in (tail, 1 - tail):
        place = share * last
        floor = min(int(place), last)
        above = ordered[min(floor + 1, last)]
        ends.append(float(ordered[floor] + (place - floor) * (above - ordered[floor])))
    return ends[0], ends[1]


def judge(drawn: Drawn, place: int, margin: float) -> float | None:
    """Return p of the hypothesis that a figure is ``margin``, two-sided, by the same intervals.

    None below two prompts. With D resamples p is never below 1 / (D + 1).
    """
    prompts = int(drawn.prompts[place])
    draws = drawn.draws[:, place]
    draws = draws[~np.isnan(draws)]
    if prompts < 2 or not len(draws):
        return None
    below = (draws < margin).sum() + 0.5 * (draws == margin).sum()
    share = float(min(below, len(draws) - below) + 0.5) / (len(draws) + 1)
    score = -NORMAL.inv_cdf(share) * math.sqrt((prompts - 1) / prompts)
    return min(1.0, 2 * (1 - probability(score, prompts - 1)))


def correct(chances: list[float | None]) -> list[float | None]:
    """Return Holm's step-down adjusted p-values (Holm 1979), None where there is none."""
    known = sorted((chance, place) for place, chance in enumerate(chances) if chance is not None)
    adjusted: list[float | None] = [None] * len(chances)
    highest = 0.0
    for rank, (chance, place) in enumerate(known):
        highest = max(highest, min(1.0, chance * (len(known) - rank)))
        adjusted[place] = highest
    return adjusted
