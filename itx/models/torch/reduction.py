"""Two rows of logits a position reduced to exact figures, in torch, blockwise.

With p, q the author's and a scorer's normalised distributions, d = log p − log q and x = exp(−|d|):

    KL(p‖q) = Σ (q − p + p·d)        KL(q‖p) = Σ (p − q − q·d)
    JS      = ½ Σ max(p, q)·(−(1 + x)·log(½(1 + x)) − x·|d|)

Every term is non-negative, so that small values survive float32 and an error in a normaliser counts only squared; a
difference of entropies or of log-sum-exps would lose them. JS is ½ KL(p‖m) + ½ KL(q‖m), m = ½(p + q), written in
|d|. The ten best are found in two stages: maxima of strided column blocks, then the ten best blocks (exact).

Rows come in any floating dtype; they are computed in float32 by groups of rows and blocks of columns that fit a cache,
and partial sums are added in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from itx.errors import WeightsError
from itx.models.contract import FLOOR, TOP, Own, Reduction
from itx.records import Score, Top

_STRIDE = 64
_HOST_ELEMENTS = 1 << 16
_DEVICE_ELEMENTS = 1 << 24


class _Side:
    """One model's rows of a chunk, and what is known of each; lists have one tensor a group of rows."""

    def __init__(self, raw: Tensor, width: int) -> None:
        self.raw = raw[:, :width]
        self.maxima: list[Tensor] = []
        """[r, blocks]: maxima of the strided blocks (none where the vocabulary is small)."""
        self.best: list[Tensor] = []
        self.total: list[Tensor] = []
        """[r, 1]: the sum of exp(logit − best)."""
        self.rounded: list[Tensor] = []
        """[r, 1]: the log-sum-exps as rounded to float32."""
        self.expected: list[list[Tensor]] = []
        """[r] a block of columns: the sums of p·log p, as far as the rounded log-sum-exps give them."""

    def read(self, part: slice, columns: int) -> tuple[Tensor, Tensor]:
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
        total = torch.zeros_like(best)
        for begin in range(0, width, columns):
            total += (rows[:, begin : begin + columns] - best).exp_().sum(dim=1, keepdim=True)
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
        rounding = (lse - torch.cat(self.rounded)).squeeze(1)
        return _positive(rounding - _total(self.expected) * torch.exp(-rounding))

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
    """The sums of the author against one scorer, by block of columns; lists have one tensor [r] a group of rows."""

    def __init__(self) -> None:
        self.rise: list[list[Tensor]] = []
        self.forth: list[list[Tensor]] = []
        self.back: list[list[Tensor]] = []
        self.middle: list[list[Tensor]] = []
        self.rank: list[int] = []
        self.ties: list[int] = []

    def add(self, block: int, p: Tensor, log_p: Tensor, q: Tensor, log_q: Tensor) -> None:
        """Add the sums over one block of columns [r, columns]; ``q`` and ``log_q`` are overwritten."""
        d = torch.sub(log_p, log_q, out=log_q)
        work = q - p
        _put(self.rise, block, work.sum(dim=1))
        _put(self.forth, block, _dot(p, d))
        _put(self.back, block, _dot(q, d))
        torch.maximum(p, q, out=q)
        size = d.abs_().neg_()
        x = torch.exp(size, out=work)
        size.mul_(x)
        x.add_(1)
        _put(self.middle, block, _dot(q, size.addcmul_(x, (x / 2).log_(), value=-1)))


def reduce_rows(author: Tensor, scorers: Sequence[Tensor], ids: Sequence[int], width: int) -> Reduction:
    """Reduce rows [n, ≥ width] that predict ``ids`` [n] to figures over the first ``width`` columns.

    Raises WeightsError where a row holds NaN or +inf.
    """
    on_host = author.device.type == "cpu"
    elements = _HOST_ELEMENTS if on_host else _DEVICE_ELEMENTS
    group = max(1, elements // width)
    columns = math.ceil(width / math.ceil(group * width / elements))
    with torch.inference_mode():
        tokens = torch.tensor(list(ids), device=author.device).clamp_(max=width - 1).unsqueeze(1)
        mine = _Side(author, width)
        theirs = [_Side(scorer, width) for scorer in scorers]
        pairs = [_Pair() for _ in scorers]
        for start in range(0, len(ids), group):
            _reduce_group(mine, theirs, pairs, tokens, slice(start, start + group), columns)
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
    mine: _Side, theirs: Sequence[_Side], pairs: Sequence[_Pair], tokens: Tensor, part: slice, columns: int
) -> None:
    rows, lse = mine.read(part, columns)
    others = [side.read(part, columns) for side in theirs]
    for pair, (other, _) in zip(pairs, others, strict=True):
        _count_rank(pair, other, tokens[part])
    for block, begin in enumerate(range(0, rows.shape[1], columns)):
        end = begin + columns
        log_p = (rows[:, begin:end] - lse).clamp_(min=-FLOOR)
        p = log_p.exp()
        _put(mine.expected, block, _dot(p, log_p))
        for side, pair, (other, other_lse) in zip(theirs, pairs, others, strict=True):
            log_q = (other[:, begin:end] - other_lse).clamp_(min=-FLOOR)
            q = log_q.exp()
            _put(side.expected, block, _dot(q, log_q))
            pair.add(block, p, log_p, q, log_q)


def _make_score(side: _Side, pair: _Pair, tokens: Tensor) -> Score:
    lse = side.lse()
    rise = _total(pair.rise)
    return Score(
        logp=side.read_logp(tokens, lse),
        rank=pair.rank,
        ties=pair.ties,
        entropy=side.read_entropy(lse),
        kl_author_scorer=_positive(_total(pair.forth) + rise),
        kl_scorer_author=_positive(-_total(pair.back) - rise),
        js=_positive(_total(pair.middle) / 2),
        top=side.find_top(lse),
    )


def _put(blocks: list[list[Tensor]], block: int, value: Tensor) -> None:
    if block == len(blocks):
        blocks.append([])
    blocks[block].append(value)


def _total(blocks: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the sums over all blocks [n] in float64."""
    parts = torch.stack([torch.cat(list(groups)) for groups in blocks])
    return parts.sum(dim=0, dtype=torch.float64)


def _positive(values: Tensor) -> list[float]:
    found: list[float] = values.clamp(min=0).tolist()
    return found


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the inner products [r] of rows [r, columns]."""
    if one.shape[0] == 1 and one.device.type == "cpu":
        return torch.dot(one[0], other[0]).unsqueeze(0)
    return (one * other).sum(dim=1)


def _read_own_logp(row: Tensor, token: int) -> float:
    """Return the log-prob of an id beyond the common columns, over all the author's columns."""
    logits = row.double()
    return max(-FLOOR, float(logits[token] - logits.logsumexp(0)))


def _count_rank(pair: _Pair, rows: Tensor, tokens: Tensor) -> None:
    """Append the strict rank (from 1) and the number of other ids with the same logit, for each row."""
    marks = rows.gather(1, tokens)
    if rows.device.type == "cpu":
        # numpy compares and counts several times faster than torch does on a CPU; the memory is shared.
        for row, mark in zip(rows.numpy(), marks.squeeze(1).numpy(), strict=True):
            pair.rank.append(1 + int(np.count_nonzero(row > mark)))
            pair.ties.append(int(np.count_nonzero(row == mark)) - 1)
        return
    pair.rank.extend(((rows > marks).sum(dim=1) + 1).tolist())
    pair.ties.extend(((rows == marks).sum(dim=1) - 1).tolist())
