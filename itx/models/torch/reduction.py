"""Two rows of logits a position reduced to exact figures, in torch, blockwise.

With p, q the author's and a scorer's normalised distributions and d = log p − log q:

    KL(p‖q) = Σ (q − p + p·d)        KL(q‖p) = Σ (p − q − q·d)
    JS      = ½ Σ ((p + q)·(ln 2 − log1p(exp(−|d|))) − min(p, q)·|d|)

Every term is non-negative, so that small values survive float32 and an error in the normaliser counts only squared;
a difference of entropies or of log-sum-exps would lose them. JS is Σ ½(p·log(p/m) + q·log(q/m)), m = ½(p + q), in terms
of |d|. The ten best are found in two stages: maxima of strided column blocks, then the ten best blocks (exact).

Rows come in any floating dtype; each block is computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from itx.errors import WeightsError
from itx.models.contract import FLOOR, TOP, Own, Reduction
from itx.records import Score, Top

_STRIDE = 64
_HOST_ELEMENTS = 1 << 15
_DEVICE_ELEMENTS = 1 << 24
_LN2 = math.log(2)


@dataclass(slots=True)
class _Side:
    """One model's rows of a group, [r, width] in float32, and what is known of each row."""

    rows: Tensor
    maxima: Tensor
    """[r, blocks]: the maxima of the strided blocks (of all columns where the vocabulary is small)."""
    lse: Tensor
    """[r, 1]: log-sum-exp."""


def reduce_rows(author: Tensor, scorers: Sequence[Tensor], ids: Sequence[int], width: int) -> Reduction:
    """Reduce rows [n, ≥ width] that predict ``ids`` [n] to figures over the first ``width`` columns.

    Raises WeightsError where a row holds NaN or +inf.
    """
    device = author.device
    elements = _HOST_ELEMENTS if device.type == "cpu" else _DEVICE_ELEMENTS
    group = max(1, elements // width)
    columns = max(_STRIDE, elements // group)
    tokens = torch.tensor(list(ids), device=device)
    own = Own([], [], [])
    scores = [
        Score(logp=[], rank=[], ties=[], entropy=[], kl_author_scorer=[], kl_scorer_author=[], js=[], top=[])
        for _ in scorers
    ]
    with torch.inference_mode():
        for start in range(0, len(ids), group):
            stop = min(start + group, len(ids))
            chosen = tokens[start:stop]
            known = (chosen < width).tolist()
            inside = chosen.clamp(max=width - 1).unsqueeze(1)
            mine = _read_side(author[start:stop, :width], columns)
            theirs = [_read_side(scorer[start:stop, :width], columns) for scorer in scorers]
            entropy, crossed = _cross(mine, theirs, columns)
            logp = _read_logp(mine, inside)
            for row, is_known in enumerate(known):
                if not is_known:
                    logp[row] = _read_own_logp(author[start + row], ids[start + row])
            own.logp.extend(logp)
            own.entropy.extend(entropy)
            own.top.extend(_find_top(mine))
            for score, side, figures in zip(scores, theirs, crossed, strict=True):
                _append_score(score, side, figures, inside, known)
    return Reduction(own, scores)


def _read_side(raw: Tensor, columns: int) -> _Side:
    rows = raw.float().contiguous()
    count, width = rows.shape
    blocks = width // _STRIDE
    if blocks > 2 * TOP:
        head = rows[:, : blocks * _STRIDE].view(count, _STRIDE, blocks)
        maxima = head.amax(dim=1)
        best = maxima.amax(dim=1, keepdim=True)
        if blocks * _STRIDE < width:
            best = torch.maximum(best, rows[:, blocks * _STRIDE :].amax(dim=1, keepdim=True))
    else:
        maxima = rows
        best = rows.amax(dim=1, keepdim=True)
    total = torch.zeros(count, 1, device=rows.device, dtype=torch.float64)
    for begin in range(0, width, columns):
        part = rows[:, begin : begin + columns] - best
        total += part.exp_().sum(dim=1, keepdim=True)
    lse = best.double() + total.log()
    if not bool(torch.isfinite(lse).all()):
        raise WeightsError(
            "The model's logits are not numbers (NaN or infinite).",
            "Load it in another precision: --dtype float32.",
        )
    return _Side(rows, maxima, lse)


def _read_logp(side: _Side, tokens: Tensor) -> list[float]:
    chosen = side.rows.gather(1, tokens).double() - side.lse
    values: list[float] = chosen.clamp_(min=-FLOOR).squeeze(1).tolist()
    return values


def _read_own_logp(row: Tensor, token: int) -> float:
    """Return the log-prob of an id beyond the common columns, over all the author's columns."""
    logits = row.double()
    return max(-FLOOR, float(logits[token] - logits.logsumexp(0)))


def _cross(mine: _Side, theirs: Sequence[_Side], columns: int) -> tuple[list[float], list[dict[str, list[float]]]]:
    """Return the author's entropies [r], and for each scorer its entropies, both KLs and JS [r]."""
    count, width = mine.rows.shape
    lse = mine.lse.float()
    others = [side.lse.float() for side in theirs]
    entropy = torch.zeros(count, device=lse.device, dtype=torch.float64)
    sums = torch.zeros(len(theirs), 4, count, device=lse.device, dtype=torch.float64)
    for begin in range(0, width, columns):
        end = begin + columns
        log_p = (mine.rows[:, begin:end] - lse).clamp_(min=-FLOOR)
        p = log_p.exp()
        entropy -= (p * log_p).sum(dim=1)
        for number, (side, other) in enumerate(zip(theirs, others, strict=True)):
            log_q = (side.rows[:, begin:end] - other).clamp_(min=-FLOOR)
            q = log_q.exp()
            sums[number, 0] -= (q * log_q).sum(dim=1)
            d = torch.sub(log_p, log_q, out=log_q)
            rise = q - p
            work = torch.addcmul(rise, p, d)
            sums[number, 1] += work.sum(dim=1)
            torch.mul(q, d, out=work).add_(rise)
            sums[number, 2] -= work.sum(dim=1)
            torch.minimum(p, q, out=rise)
            q.add_(p)
            d.abs_()
            rise.mul_(d)
            torch.neg(d, out=d).exp_().log1p_()
            torch.sub(_LN2, d, out=d)
            q.mul_(d).sub_(rise)
            sums[number, 3] += q.sum(dim=1)
    sums[:, 3] *= 0.5
    sums.clamp_(min=0)
    names = ("entropy", "kl_author_scorer", "kl_scorer_author", "js")
    return entropy.clamp_(min=0).tolist(), [dict(zip(names, values, strict=True)) for values in sums.tolist()]


def _append_score(
    score: Score, side: _Side, figures: dict[str, list[float]], tokens: Tensor, known: Sequence[bool]
) -> None:
    logp = _read_logp(side, tokens)
    rank, ties = _count_rank(side, tokens)
    width = side.rows.shape[1]
    for row, is_known in enumerate(known):
        if not is_known:
            logp[row], rank[row], ties[row] = -FLOOR, width + 1, 0
    score.logp.extend(logp)
    score.rank.extend(rank)
    score.ties.extend(ties)
    score.entropy.extend(figures["entropy"])
    score.kl_author_scorer.extend(figures["kl_author_scorer"])
    score.kl_scorer_author.extend(figures["kl_scorer_author"])
    score.js.extend(figures["js"])
    score.top.extend(_find_top(side))


def _count_rank(side: _Side, tokens: Tensor) -> tuple[list[int], list[int]]:
    """Return the strict rank (from 1) and the number of other ids with the same logit, for each row."""
    logit = side.rows.gather(1, tokens)
    higher = (side.rows > logit).sum(dim=1)
    equal = (side.rows == logit).sum(dim=1)
    return (higher + 1).tolist(), (equal - 1).tolist()


def _find_top(side: _Side) -> list[Top]:
    """Return the ten best (id, log-prob) of each row, best first; of equals the lower id first."""
    rows, maxima = side.rows, side.maxima
    count, width = rows.shape
    blocks = maxima.shape[1]
    if maxima is rows:
        values, ids = rows.topk(min(TOP, width), dim=1)
    else:
        chosen = maxima.topk(TOP, dim=1).indices
        offsets = torch.arange(0, blocks * _STRIDE, blocks, device=rows.device)
        candidates = (chosen.unsqueeze(2) + offsets).flatten(1)
        if blocks * _STRIDE < width:
            rest = torch.arange(blocks * _STRIDE, width, device=rows.device).expand(count, -1)
            candidates = torch.cat([candidates, rest], dim=1)
        values, places = rows.gather(1, candidates).topk(TOP, dim=1)
        ids = candidates.gather(1, places)
    logp = (values.double() - side.lse).clamp_(min=-FLOOR)
    return [
        sorted(zip(row_ids, row_logp, strict=True), key=lambda pair: (-pair[1], pair[0]))
        for row_ids, row_logp in zip(ids.tolist(), logp.tolist(), strict=True)
    ]
