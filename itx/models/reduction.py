"""The reduction of two rows of logits to exact figures in numpy, for engines whose rows lie on the host.

The mathematics is that of ``itx.models.torch.reduction``; each row is computed in float32 blocks with float64 sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itx.errors import WeightsError
from itx.models.contract import FLOOR, TOP, Arithmetic, Own, Reduction, Rows
from itx.records import Score, Top

_BLOCK = 1 << 15
_Row = NDArray[np.float32]


@dataclass(slots=True)
class _Side:
    row: _Row
    lse: float
    expected: float = 0.0
    """The sum of p·log p, as far as the log-sum-exp rounded to float32 gives it."""

    @property
    def entropy(self) -> float:
        """The rounding ε of the log-sum-exp adds ε to every log p, which p multiplies by exp(ε)."""
        rounding = self.lse - float(np.float32(self.lse))
        return max(0.0, rounding - self.expected * math.exp(-rounding))

    def logp(self, token: int) -> float:
        return max(-FLOOR, float(self.row[token]) - self.lse)


def _read_side(raw: NDArray[np.floating]) -> _Side:
    row = np.ascontiguousarray(raw, dtype=np.float32)
    best = float(row.max())
    if not math.isfinite(best):
        raise WeightsError(
            "The model's logits are not numbers (NaN or infinite).", "Load it in another precision: --dtype float32."
        )
    total = 0.0
    for begin in range(0, len(row), _BLOCK):
        total += float(np.exp(row[begin : begin + _BLOCK] - np.float32(best)).sum(dtype=np.float64))
    return _Side(row, best + math.log(total))


def _log_block(side: _Side, begin: int) -> tuple[_Row, _Row]:
    logs = np.maximum(side.row[begin : begin + _BLOCK] - np.float32(side.lse), np.float32(-FLOOR))
    return logs, np.exp(logs)


def _sum(values: _Row) -> float:
    return float(values.sum(dtype=np.float64))


def _cross(mine: _Side, theirs: Sequence[_Side]) -> list[tuple[float, float, float]]:
    """Set what all entropies come from, and return KL(author‖scorer), KL(scorer‖author) and JS for each scorer."""
    sums = np.zeros((len(theirs), 3))
    for begin in range(0, len(mine.row), _BLOCK):
        log_p, p = _log_block(mine, begin)
        mine.expected += _sum(p * log_p)
        for number, side in enumerate(theirs):
            log_q, q = _log_block(side, begin)
            side.expected += _sum(q * log_q)
            d = log_p - log_q
            rise = q - p
            size = np.abs(d)
            x = np.exp(-size)
            one = x + 1
            middle = np.maximum(p, q) * (-one * np.log(one / 2) - x * size)
            sums[number] += (_sum(rise + p * d), -_sum(rise + q * d), 0.5 * _sum(middle))
    return [(max(0.0, forth), max(0.0, back), max(0.0, js)) for forth, back, js in sums.tolist()]


def _find_top(side: _Side) -> Top:
    row = side.row
    if len(row) > TOP:
        least = np.partition(row, -TOP)[-TOP]
        ids = np.flatnonzero(row >= least)
    else:
        ids = np.arange(len(row))
    order = np.lexsort((ids, -row[ids]))[:TOP]
    return [(int(token), side.logp(int(token))) for token in ids[order]]


@dataclass(slots=True)
class _Position:
    """The figures of one position: the author's, then one of each for every scorer."""

    logp: float
    entropy: float
    top: Top
    scores: list[tuple[float, int, int, float, float, float, float, Top]]


def _reduce_position(
    author: NDArray[np.floating], scorers: Sequence[NDArray[np.floating]], token: int, width: int
) -> _Position:
    mine = _read_side(author[:width])
    theirs = [_read_side(row[:width]) for row in scorers]
    crossed = _cross(mine, theirs)
    known = token < width
    scores = [
        (
            side.logp(token) if known else -FLOOR,
            1 + int(np.count_nonzero(side.row > side.row[token])) if known else width + 1,
            int(np.count_nonzero(side.row == side.row[token])) - 1 if known else 0,
            side.entropy,
            *figures,
            _find_top(side),
        )
        for side, figures in zip(theirs, crossed, strict=True)
    ]
    return _Position((mine if known else _read_side(author)).logp(token), mine.entropy, _find_top(mine), scores)


def reduce_rows(
    author: NDArray[np.floating],
    scorers: Sequence[NDArray[np.floating]],
    ids: Sequence[int],
    width: int,
    pool: Executor | None = None,
) -> Reduction:
    """Reduce rows [n, ≥ width] that predict ``ids`` [n] to figures over the first ``width`` columns.

    With a ``pool`` its threads share the positions. Raises WeightsError where a row holds NaN or +inf.
    """
    work = [(author[place], [rows[place] for rows in scorers], token, width) for place, token in enumerate(ids)]
    spread = map if pool is None or len(work) == 1 else pool.map
    own = Own([], [], [])
    scores = [
        Score(logp=[], rank=[], ties=[], entropy=[], kl_author_scorer=[], kl_scorer_author=[], js=[], top=[])
        for _ in scorers
    ]
    for position in spread(lambda words: _reduce_position(*words), work):
        own.logp.append(position.logp)
        own.entropy.append(position.entropy)
        own.top.append(position.top)
        for score, (logp, rank, ties, entropy, forth, back, js, top) in zip(scores, position.scores, strict=True):
            score.logp.append(logp)
            score.rank.append(rank)
            score.ties.append(ties)
            score.entropy.append(entropy)
            score.kl_author_scorer.append(forth)
            score.kl_scorer_author.append(back)
            score.js.append(js)
            score.top.append(top)
    return Reduction(own, scores)


def _array(rows: Rows) -> NDArray[np.float32]:
    if not isinstance(rows, np.ndarray):
        raise TypeError(f"rows of another engine must be adopted first, not {type(rows).__name__}")
    return rows


class NumpyArithmetic:
    """Rows are arrays [n, columns]; ``threads`` of them are reduced at once."""

    def __init__(self, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="itx-reduce") if threads > 1 else None

    def stack(self, parts: Sequence[Rows]) -> Rows:
        """Return the parts' rows as one block."""
        return np.concatenate([_array(part) for part in parts])

    def argmax(self, rows: Rows) -> int:
        """Return the id with the highest logit of the last row; of equals the lowest id."""
        return int(_array(rows)[-1].argmax())

    def row(self, rows: Rows) -> NDArray[np.float64]:
        """Return the last row as float64."""
        last: NDArray[np.float64] = _array(rows)[-1].astype(np.float64)
        return last

    def export(self, rows: Rows) -> NDArray[np.float32]:
        """Return the rows as float32."""
        return _array(rows).astype(np.float32, copy=False)

    def adopt(self, rows: Rows, source: Arithmetic) -> Rows:
        """Return another engine's rows as arrays."""
        return rows if isinstance(rows, np.ndarray) else source.export(rows)

    def reduce(self, author: Rows, scorers: Sequence[Rows], ids: Sequence[int], width: int) -> Reduction:
        """Reduce the rows that predict ``ids``; see the contract."""
        return reduce_rows(_array(author), [_array(rows) for rows in scorers], ids, width, self._pool)
