"""The reduction of two rows of logits to exact figures in numpy, for engines whose rows lie on the host.

With u and v the logits of the author and of a scorer less the best of their row, E and F the sums of exp(u) and exp(v),
so that p = exp(u)/E and q = exp(v)/F, and c = log E − log F:

    KL(p‖q) = Σ p·(u − v) − c        KL(q‖p) = c − Σ q·(u − v)        H(p) = log E − Σ p·u
    JS      = ½ Σ ((p + q)·log(2M/(p + q)) − min(p, q)·|u − v − c|)        M = max(p, q)

JS is ½ KL(p‖m) + ½ KL(q‖m), m = ½(p + q). The exponentials are taken of the same u and v whose difference counts, so
that their rounding counts squared only; E and F count as they are. Entries are computed in float32, by blocks that fit
a cache. Sums are float32 over a run of 256 products, which a BLAS adds with many partial sums, and float64 over
the runs (measured at V = 262,144: within 5e-9 nats of float64 where rows are nearly equal).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itx.errors import WeightsError
from itx.models.contract import FLOOR, TOP, Arithmetic, Own, Reduction, Rows
from itx.records import Score, Top

_BLOCK = 1 << 15
_RUN = 1 << 8
_STRIDE = 64
_LEAST = -87.0
"""exp of it is the least normal float32, about: no weight is 0."""
_Row = NDArray[np.float32]
_Scored = tuple[float, int, int, float, float, float, float, Top]
"""Log-prob, rank, ties, entropy, KL(author‖scorer), KL(scorer‖author), JS and the ten best."""


class _Work(threading.local):
    """A thread's buffers: the weights of an author's and of a scorer's row, and three blocks."""

    def __init__(self) -> None:
        self.ones = np.ones(_BLOCK, np.float32)
        self.blocks = [np.empty(_BLOCK, np.float32) for _ in range(3)]
        self.weights = [np.empty(0, np.float32) for _ in range(2)]

    def fit(self, width: int) -> None:
        """Make room for rows of so many columns."""
        if len(self.weights[0]) < width:
            self.weights = [np.empty(width, np.float32) for _ in range(2)]


_WORK = _Work()


@dataclass(slots=True)
class _Side:
    """One row. ``weights`` are exp(logit − best), ``total`` their sum; ten logits at least are not below ``tenth``."""

    row: _Row
    weights: _Row
    best: float
    least: float
    tenth: float
    total: float = 0.0
    log_total: float = 0.0
    entropy: float = 0.0

    def read(self, part: slice, floor: float, buffer: _Row) -> _Row:
        """Return logits less the best, none below ``floor``."""
        row = self.row[part]
        found = np.subtract(row, np.float32(self.best), out=buffer[: len(row)])
        return np.maximum(found, np.float32(floor), out=found) if self.least - self.best < floor else found

    def logp(self, token: int) -> float:
        return max(-FLOOR, float(self.row[token]) - self.best - self.log_total)

    def find_candidates(self) -> NDArray[np.intp]:
        """Return the ids of the best logits, of which there are ten at least, and of all equals of the last."""
        return np.flatnonzero(self.row >= np.float32(self.tenth))

    def find_top(self, ids: NDArray[np.intp]) -> Top:
        order = np.lexsort((ids, -self.row[ids]))[:TOP]
        return [(int(token), self.logp(int(token))) for token in ids[order]]

    def count_rank(self, token: int, ids: NDArray[np.intp]) -> tuple[int, int]:
        """Return the strict rank from 1 and how many others have the same logit; ``ids`` are the candidates."""
        mark = self.row[token]
        # All that are above a candidate are candidates.
        row = self.row[ids] if mark >= self.tenth else self.row
        return 1 + int(np.count_nonzero(row > mark)), int(np.count_nonzero(row == mark)) - 1


def _cut(width: int) -> list[slice]:
    return [slice(begin, begin + _BLOCK) for begin in range(0, width, _BLOCK)]


def _dot(one: _Row, other: _Row) -> float:
    """Return the inner product: float32 within a run, float64 over the runs."""
    runs = len(one) // _RUN
    whole = runs * _RUN
    total = 0.0
    if runs:
        parts = np.matmul(one[:whole].reshape(runs, 1, _RUN), other[:whole].reshape(runs, _RUN, 1))
        total = float(parts.sum(dtype=np.float64))
    return total + float(one[whole:] @ other[whole:]) if whole < len(one) else total


def _find_best(row: _Row) -> tuple[float, float]:
    """Return the best logit, and one that at least ten (or all) are not below."""
    blocks = len(row) // _STRIDE
    if blocks < 2 * TOP:
        return float(row.max()), float(np.partition(row, -TOP)[-TOP] if len(row) > TOP else row.min())
    head = blocks * _STRIDE
    maxima = row[:head].reshape(_STRIDE, blocks).max(axis=0)
    best = float(maxima.max())
    if head < len(row):
        best = float(np.maximum(best, row[head:].max()))
    return best, float(np.partition(maxima, -TOP)[-TOP])


def _read_side(raw: NDArray[np.floating], weights: _Row) -> _Side:
    """Read a row and fill ``weights``. Raises WeightsError where it holds NaN or +inf, or −inf alone."""
    row = np.ascontiguousarray(raw, dtype=np.float32)
    best, tenth = _find_best(row)
    if not math.isfinite(best):
        raise WeightsError(
            "The model's logits are not numbers (NaN or infinite).", "Load it in another precision: --dtype float32."
        )
    side = _Side(row, weights[: len(row)], best=best, least=float(row.min()), tenth=tenth)
    total = expected = 0.0
    for part in _cut(len(row)):
        u = side.read(part, _LEAST, _WORK.blocks[0])
        e = np.exp(u, out=side.weights[part])
        total += _dot(e, _WORK.ones[: len(e)])
        expected += _dot(e, u)
    side.total, side.log_total = total, math.log(total)
    side.entropy = max(0.0, side.log_total - expected / total)
    return side


def _cross(mine: _Side, side: _Side) -> tuple[float, float, float]:
    """Return KL(author‖scorer), KL(scorer‖author) and JS."""
    shift = mine.log_total - side.log_total
    scale = mine.total / side.total
    forth = back = middle = 0.0
    for part in _cut(len(mine.row)):
        e, f = mine.weights[part], side.weights[part]
        first, second, third = (block[: len(e)] for block in _WORK.blocks)
        u = mine.read(part, mine.log_total - FLOOR, first)
        d = np.subtract(u, side.read(part, side.log_total - FLOOR, second), out=first)
        forth += _dot(e, d)
        back += _dot(f, d)
        size = np.abs(np.subtract(d, np.float32(shift), out=first), out=first)
        f = np.multiply(f, np.float32(scale), out=second)
        middle += _dot(np.minimum(e, f, out=third), size)
        twice = np.maximum(e, f, out=first)
        np.add(twice, twice, out=first)
        both = np.add(e, f, out=second)
        middle += _dot(both, np.log(np.divide(both, twice, out=first), out=first))
    forth /= mine.total
    back /= side.total
    js = -0.5 * middle / mine.total
    return max(0.0, forth - shift), max(0.0, shift - back), max(0.0, js)


@dataclass(slots=True)
class _Position:
    """The figures of one position: the author's, then one of each for every scorer."""

    logp: float
    entropy: float
    top: Top
    scores: list[_Scored]


def _reduce_position(
    author: NDArray[np.floating], scorers: Sequence[NDArray[np.floating]], token: int, width: int
) -> _Position:
    _WORK.fit(len(author))
    known = token < width
    mine = _read_side(author[:width], _WORK.weights[0])
    scores = [_score(mine, _read_side(row[:width], _WORK.weights[1]), token if known else None) for row in scorers]
    top = mine.find_top(mine.find_candidates())
    # An id that the scorers lack counts over all of the author's columns.
    own = mine if known else _read_side(author, _WORK.weights[0])
    return _Position(own.logp(token), mine.entropy, top, scores)


def _score(mine: _Side, side: _Side, token: int | None) -> _Scored:
    """Return a scorer's figures; ``token`` is None where it lacks the id."""
    ids = side.find_candidates()
    logp, rank, ties = -FLOOR, len(side.row) + 1, 0
    if token is not None:
        logp, (rank, ties) = side.logp(token), side.count_rank(token, ids)
    return logp, rank, ties, side.entropy, *_cross(mine, side), side.find_top(ids)


def reduce_rows(
    author: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    scorers: Sequence[Sequence[NDArray[np.floating]] | NDArray[np.floating]],
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


class _Stack(list[NDArray[np.float32]]):
    """Single rows as one block, none of them copied: a row of a large vocabulary has a megabyte."""


def _list(rows: Rows) -> _Stack | NDArray[np.float32]:
    return rows if isinstance(rows, _Stack) else _array(rows)


def _array(rows: Rows) -> NDArray[np.float32]:
    if isinstance(rows, _Stack):
        return np.stack(rows)
    if not isinstance(rows, np.ndarray):
        raise TypeError(f"rows of another engine must be adopted first, not {type(rows).__name__}")
    return rows


class NumpyArithmetic:
    """Rows are arrays [n, columns]; ``threads`` of them are reduced at once."""

    def __init__(self, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="itx-reduce") if threads > 1 else None

    def stack(self, parts: Sequence[Rows]) -> Rows:
        """Return the parts' rows as one block."""
        return _Stack(row for part in parts for row in _list(part))

    def split(self, rows: Rows) -> list[Rows]:
        """Return each row as a block of its own."""
        return [_Stack([row]) for row in _list(rows)]

    def argmax(self, rows: Rows) -> int:
        """Return the id with the highest logit of the last row; of equals the lowest id."""
        return int(_list(rows)[-1].argmax())

    def argmaxes(self, rows: Rows) -> list[int]:
        """Return the id with the highest logit of each row; of equals the lowest id."""
        return [int(row.argmax()) for row in _list(rows)]

    def row(self, rows: Rows) -> NDArray[np.float64]:
        """Return the last row as float64."""
        last: NDArray[np.float64] = _list(rows)[-1].astype(np.float64)
        return last

    def export(self, rows: Rows) -> NDArray[np.float32]:
        """Return the rows as float32."""
        return _array(rows).astype(np.float32, copy=False)

    def adopt(self, rows: Rows, source: Arithmetic) -> Rows:
        """Return another engine's rows as arrays."""
        return rows if isinstance(rows, np.ndarray | _Stack) else source.export(rows)

    def reduce(self, author: Rows, scorers: Sequence[Rows], ids: Sequence[int], width: int) -> Reduction:
        """Reduce the rows that predict ``ids``; see the contract."""
        return reduce_rows(_list(author), [_list(rows) for rows in scorers], ids, width, self._pool)
