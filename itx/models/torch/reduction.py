"""Two rows of logits a position reduced to exact figures, in torch, blockwise.

With p, q the author's and a scorer's normalised distributions, d = log p − log q and y = ½·exp(−|d|):

    KL(p‖q) = Σ (q − p + p·d)        KL(q‖p) = Σ (p − q − q·d)
    JS      = Σ max(p, q)·(−(½ + y)·log(½ + y) − y·|d|)

JS is ½ KL(p‖m) + ½ KL(q‖m), m = ½(p + q), written in |d|. All are sums of non-negative terms, so that an error in a
normaliser or in a single log p counts only squared (measured: with Σ(q − p) taken as known, float32 loses 2e-7 nats); a
difference of entropies or of log-sum-exps would lose small values. The ten best are found in two stages: maxima of
strided column blocks, then the ten best blocks (exact).

Rows come in any floating dtype; they are computed in float32 by groups of rows and blocks of columns that fit a cache,
and partial sums are added in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from itx.errors import WeightsError
from itx.models.contract import FLOOR, TOP, Own, Reduction
from itx.records import Score, Top

_Rows = NDArray[np.float32]

_STRIDE = 64
_HOST_ELEMENTS = 1 << 16
"""Elements of a block of columns for each thread: five buffers of them fit its cache."""
_MOST_THREADS = 16
_DEVICE_ELEMENTS = 1 << 24
_HOST_GROUPS = 4
"""Blocks of columns that a group of long rows is cut into on a CPU: fewer operations a row, in the same cache."""
_FEW_BLOCKS = 32
"""Strided blocks that are faster looked through one by one than a whole row is."""
_APART = 272
"""Elements between buffers: a multiple of 4 KiB apart they would fight for the same lines of the cache."""


class _Work:
    """Buffers of a group of rows by a block of columns, used again for every block."""

    def __init__(self, elements: int, device: torch.device) -> None:
        self._buffers = torch.empty(5, elements + _APART, device=device)
        self._shaped: dict[torch.Size, list[Tensor]] = {}

    def shape(self, like: Tensor) -> list[Tensor]:
        """Return five buffers of the shape [r, columns] of ``like``."""
        shaped = self._shaped.get(like.shape)
        if shaped is None:
            count = like.numel()
            shaped = self._shaped[like.shape] = [buffer[:count].view(like.shape) for buffer in self._buffers]
        return shaped


class _Side:
    """One model's rows of a chunk, and what is known of each; lists of tensors have one a group of rows."""

    def __init__(self, raw: Tensor, width: int) -> None:
        self.raw = raw[:, :width]
        self.maxima: list[Tensor] = []
        """[r, blocks]: maxima of the strided blocks (none where the vocabulary is small)."""
        self.best: list[Tensor] = []
        self.total: list[Tensor] = []
        """[r, 1]: the sum of exp(logit − best)."""
        self.rounded: list[Tensor] = []
        """[r, 1]: the log-sum-exps as rounded to float32."""
        self.expected: list[float] = []
        """The sums of p·log p, as far as the rounded log-sum-exps give them."""

    def read(self, part: slice, columns: int, work: _Work) -> tuple[Tensor, Tensor]:
        """Return a group's rows in float32 [r, width] and their log-sum-exps [r, 1], and remember maxima and sums."""
        rows = self.raw[part].float().contiguous()
        count, width = rows.shape
        blocks = width // _STRIDE
        if blocks > 2 * TOP:
            head = blocks * _STRIDE
            maxima = rows[:, :head].view(count, _STRIDE, blocks).amax(dim=1)
            self.maxima.append(maxima)
            best = maxima.amax(dim=1, keepdim=True)
            if head < width:
                best = torch.maximum(best, rows[:, head:].amax(dim=1, keepdim=True))
        else:
            best = rows.amax(dim=1, keepdim=True)
        total: Tensor | None = None
        for begin in range(0, width, columns):
            block = rows[:, begin : begin + columns]
            part_total = torch.sub(block, best, out=work.shape(block)[0]).exp_().sum(dim=1, keepdim=True)
            total = part_total if total is None else total.add_(part_total)
        assert total is not None
        self.best.append(best)
        self.total.append(total)
        self.rounded.append(total.log().add_(best))
        return rows, self.rounded[-1]

    def lse(self) -> Tensor:
        """Return the log-sum-exps [n, 1] in float64, once all groups are read. Raises WeightsError for NaN and inf."""
        lse = torch.cat(self.total).double().log_().add_(torch.cat(self.best))
        if not bool(torch.isfinite(lse).all()):
            raise WeightsError(
                "The model's logits are not numbers (NaN or infinite).",
                "Load it in another precision: --dtype float32.",
            )
        return lse

    def read_entropy(self, lse: Tensor) -> list[float]:
        """Return the entropies, given the log-sum-exps in float64.

        The rounding ε of a log-sum-exp (3e-5 at logits of 700) adds ε to every log p, which p multiplies by exp(ε).
        """
        rounding = (lse - torch.cat(self.rounded)).squeeze(1).cpu()
        return _positive(rounding - torch.tensor(self.expected, dtype=torch.float64) * torch.exp(-rounding))

    def read_logp(self, tokens: Tensor, lse: Tensor) -> list[float]:
        """Return the log-probs of ``tokens`` [n, 1]."""
        chosen = self.raw.gather(1, tokens).double() - lse
        values: list[float] = chosen.clamp_(min=-FLOOR).squeeze(1).tolist()
        return values

    def find_top(self, lse: Tensor) -> list[Top]:
        """Return the ten best (id, log-prob) of each row, best first; of equals the lower id first."""
        count, width = self.raw.shape
        if not self.maxima:
            values, ids = self.raw.topk(min(TOP, width), dim=1)
        else:
            maxima = torch.cat(self.maxima)
            blocks = maxima.shape[1]
            chosen = maxima.topk(TOP, dim=1).indices
            offsets = torch.arange(0, blocks * _STRIDE, blocks, device=maxima.device)
            candidates = (chosen.unsqueeze(2) + offsets).flatten(1)
            if blocks * _STRIDE < width:
                rest = torch.arange(blocks * _STRIDE, width, device=maxima.device).expand(count, -1)
                candidates = torch.cat([candidates, rest], dim=1)
            values, places = self.raw.gather(1, candidates).topk(TOP, dim=1)
            ids = candidates.gather(1, places)
        logp = (values.double() - lse).clamp_(min=-FLOOR)
        return [
            sorted(zip(row_ids, row_logp, strict=True), key=lambda pair: (-pair[1], pair[0]))
            for row_ids, row_logp in zip(ids.tolist(), logp.tolist(), strict=True)
        ]


class _Pair:
    """The sums of the author against one scorer, one a row."""

    def __init__(self, marks: Tensor) -> None:
        self.marks = marks
        """[n, 1]: the scorer's logits of the tokens."""
        self.half = torch.tensor(-math.log(2), device=marks.device)
        self.rise: list[float] = []
        self.forth: list[float] = []
        self.back: list[float] = []
        self.middle: list[float] = []
        self.rank: list[int] = []
        self.ties: list[int] = []

    def add(self, row: int, p: Tensor, log_p: Tensor, q: Tensor, log_q: Tensor, y: Tensor) -> None:
        """Add the sums over a block of columns [r, columns], rows from ``row``; all but p, log p are overwritten."""
        d = torch.sub(log_p, log_q, out=log_q)
        _add(self.rise, row, _sum(torch.sub(q, p, out=y)))
        _add(self.forth, row, _dot(p, d, y))
        _add(self.back, row, _dot(q, d, y))
        torch.maximum(p, q, out=q)
        size = d.abs_()
        torch.sub(self.half, size, out=y).exp_()
        size.mul_(y)
        y.add_(0.5)
        _add(self.middle, row, _dot(q, size.addcmul_(y, y.log()), y))


def reduce_rows(author: Tensor, scorers: Sequence[Tensor], ids: Sequence[int], width: int) -> Reduction:
    """Reduce rows [n, ≥ width] that predict ``ids`` [n] to figures over the first ``width`` columns.

    Raises WeightsError where a row holds NaN or +inf.
    """
    on_host = author.device.type == "cpu"
    elements = _HOST_ELEMENTS * min(_MOST_THREADS, torch.get_num_threads()) if on_host else _DEVICE_ELEMENTS
    group = max(1, (_HOST_GROUPS if on_host else 1) * elements // width)
    columns = math.ceil(width / math.ceil(group * width / elements))
    with torch.inference_mode():
        tokens = torch.tensor(list(ids), device=author.device).clamp_(max=width - 1).unsqueeze(1)
        mine = _Side(author, width)
        theirs = [_Side(scorer, width) for scorer in scorers]
        pairs = [_Pair(side.raw.gather(1, tokens).float()) for side in theirs]
        work = _Work(min(group, len(ids)) * columns, author.device)
        for start in range(0, len(ids), group):
            _reduce_group(mine, theirs, pairs, slice(start, start + group), columns, work)
        lse = mine.lse()
        own = Own(mine.read_logp(tokens, lse), mine.read_entropy(lse), mine.find_top(lse))
        scores = [_make_score(side, pair, tokens) for side, pair in zip(theirs, pairs, strict=True)]
        for place, token in enumerate(ids):
            if token >= width:
                own.logp[place] = _read_own_logp(author[place], token)
                for score in scores:
                    score.logp[place], score.rank[place], score.ties[place] = -FLOOR, width + 1, 0
    return Reduction(own, scores)


def _reduce_group(
    mine: _Side, theirs: Sequence[_Side], pairs: Sequence[_Pair], part: slice, columns: int, work: _Work
) -> None:
    rows, lse = mine.read(part, columns, work)
    others = [side.read(part, columns, work) for side in theirs]
    for side, pair, (other, _) in zip(theirs, pairs, others, strict=True):
        _count_rank(pair, side, other, pair.marks[part])
    for begin in range(0, rows.shape[1], columns):
        here = rows[:, begin : begin + columns]
        log_p, p, log_q, q, spare = work.shape(here)
        torch.sub(here, lse, out=log_p).clamp_(min=-FLOOR)
        torch.exp(log_p, out=p)
        _add(mine.expected, part.start, _dot(p, log_p, spare))
        for side, pair, (other, other_lse) in zip(theirs, pairs, others, strict=True):
            torch.sub(other[:, begin : begin + columns], other_lse, out=log_q).clamp_(min=-FLOOR)
            torch.exp(log_q, out=q)
            _add(side.expected, part.start, _dot(q, log_q, spare))
            pair.add(part.start, p, log_p, q, log_q, spare)


def _make_score(side: _Side, pair: _Pair, tokens: Tensor) -> Score:
    lse = side.lse()
    rise, forth, back, middle = (
        torch.tensor(sums, dtype=torch.float64) for sums in (pair.rise, pair.forth, pair.back, pair.middle)
    )
    return Score(
        logp=[*side.read_logp(tokens, lse)],
        rank=[*pair.rank],
        ties=[*pair.ties],
        entropy=[*side.read_entropy(lse)],
        kl_author_scorer=[*_positive(forth + rise)],
        kl_scorer_author=[*_positive(-back - rise)],
        js=[*_positive(-middle)],
        top=side.find_top(lse),
    )


def _add(sums: list[float], row: int, values: Sequence[float]) -> None:
    """Add ``values`` to the sums of the rows from ``row``; the first block of columns begins them."""
    if row == len(sums):
        sums.extend(values)
    else:
        for place, value in enumerate(values, row):
            sums[place] += value


def _dot(one: Tensor, other: Tensor, product: Tensor) -> Sequence[float]:
    """Return the inner products of rows [r, columns]; ``product`` is overwritten.

    A dot product of BLAS adds up with few partial sums, and over 262,144 entries loses 4e-5 nats of an entropy.
    """
    return _sum(torch.mul(one, other, out=product))


def _sum(values: Tensor) -> Sequence[float]:
    """Return the sums of rows [r, columns]."""
    sums: list[float] = values.sum(dim=1).tolist()
    return sums


def _positive(values: Tensor) -> list[float]:
    found: list[float] = values.clamp(min=0).tolist()
    return found


def _read_own_logp(row: Tensor, token: int) -> float:
    """Return the log-prob of an id beyond the common columns, over all the author's columns."""
    logits = row.double()
    return max(-FLOOR, float(logits[token] - logits.logsumexp(0)))


def _count_rank(pair: _Pair, side: _Side, rows: Tensor, marks: Tensor) -> None:
    """Append the strict rank (from 1) and the number of other ids with the same logit, for each row just read."""
    if rows.device.type == "cpu":
        # numpy compares and counts several times faster than torch does on a CPU; the memory is shared.
        counts = _count_reaching(rows.numpy(), side.maxima[-1].numpy() if side.maxima else None, marks.numpy())
        pair.rank.extend(1 + above for above, _ in counts)
        pair.ties.extend(equal - 1 for _, equal in counts)
        return
    pair.rank.extend(((rows > marks).sum(dim=1) + 1).tolist())
    pair.ties.extend(((rows == marks).sum(dim=1) - 1).tolist())


def _count_reaching(rows: _Rows, maxima: _Rows | None, marks: _Rows) -> list[tuple[int, int]]:
    """Return how many entries of each row [r, width] are above its mark [r, 1], and how many equal it.

    A high mark is reached in few blocks of columns, and their maxima [r, blocks] tell in which: only they are read.
    """
    reached = None if maxima is None else maxima >= marks
    head = 0 if maxima is None else _STRIDE * maxima.shape[1]
    counts = []
    for place, (row, mark) in enumerate(zip(rows, marks[:, 0], strict=True)):
        parts = [row]
        if reached is not None:
            blocks = np.flatnonzero(reached[place])
            if blocks.size <= _FEW_BLOCKS:
                parts = [row[:head].reshape(_STRIDE, -1).take(blocks, axis=1)]
                if head < row.size:
                    parts.append(row[head:])
        above = sum(int(np.count_nonzero(part > mark)) for part in parts)
        counts.append((above, sum(int(np.count_nonzero(part == mark)) for part in parts)))
    return counts
