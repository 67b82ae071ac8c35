"""The study of one author as one scorer sees it, from columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from itx.records import Run
from itx.report.gathering import AuthorColumns, Floats, Gathered
from itx.report.resampling import Ratios, draw, estimate
from itx.report.study import Bucket, Curve, Estimate, PairStudy, Path, Place, Shares, ShiftedToken, Stopping
from itx.report.tables import GROUPINGS, SHARES, Flags, PairTable, sum_by_prompt, sum_responses

LISTED = 20
"""Tokens that are listed a pair."""
PLACES = 5
"""Places that are named a token."""


def name_path(run: Run, author: str, scorer: str) -> Path:
    """Return what an author's responses are to a scorer."""
    if author == run.base.name:
        return "reverse"
    return "own" if scorer == run.base.name else "shared"


def study_pair(gathered: Gathered, name: str, scorer: str, tabulated: PairTable) -> PairStudy:
    """Return everything that is said of one pair."""
    author = gathered.authors[name]
    columns = author.pairs[scorer]
    flags, table = tabulated.flags, tabulated.ratios
    extra = _tabulate_extra(gathered, author, scorer, flags)
    both = Ratios(np.hstack([table.numerators, extra.numerators]), np.hstack([table.denominators, extra.denominators]))
    drawn = draw(both)
    buckets_of_all = sum(len(grouping.buckets) for grouping in GROUPINGS)
    found = estimate(drawn, [name != "kl" for name in SHARES] * buckets_of_all + [True, True, False])
    shares = _list_shares(iter(found))
    buckets = {
        grouping.name: [
            Bucket(label=label, start=start, end=end, shares=next(shares)) for label, start, end in grouping.buckets
        ]
        for grouping in GROUPINGS
    }
    concentration, rank_first, probability = found[-3:]
    stops = columns.stop_rank[~np.isnan(columns.stop_rank)]
    counted = int((flags.ranked & flags.diverging).sum())
    return PairStudy(
        author=name,
        scorer=scorer,
        path=name_path(gathered.run, name, scorer),
        exact=columns.exact,
        aligned=columns.aligned,
        overall=buckets["overall"][0].shares,
        kl_on_shifted=_recount(concentration, counted),
        by_position=buckets["position"],
        by_relative=buckets["relative"],
        by_category=buckets["category"],
        stopping=Stopping(
            stops=len(stops),
            rank_first=rank_first,
            rank_median=float(np.median(stops)) if len(stops) else None,
            rank_mean=float(np.mean(stops)) if len(stops) else None,
            probability=probability,
        ),
        curve=draw_curve(author, scorer),
        tokens=list(_list_tokens(gathered, author, scorer, flags)),
    )


def _recount(found: Estimate, count: int) -> Estimate:
    return Estimate(
        value=found.value, low=found.low, high=found.high, count=count, prompts=found.prompts, few=found.few
    )


def _list_shares(found: Iterator[Estimate]) -> Iterator[Shares]:
    for unshifted, marginal, shifted, kl in zip(found, found, found, found, strict=False):
        yield Shares(
            positions=shifted.count,
            prompts=shifted.prompts,
            unshifted=unshifted,
            marginal=marginal,
            shifted=shifted,
            kl=kl,
        )


def _tabulate_extra(gathered: Gathered, author: AuthorColumns, scorer: str, flags: Flags) -> Ratios:
    """Return the share of the KL on shifted positions, and the scorer's first choices and probabilities of EOS."""
    columns = author.pairs[scorer]
    known = ~np.isnan(columns.stop_rank)
    probable = ~np.isnan(columns.stop_logp)
    numerators = [
        sum_by_prompt(gathered, author, flags.kl, flags.shifted),
        sum_responses(gathered, author, (columns.stop_rank == 1).astype(np.float64)),
        sum_responses(gathered, author, np.exp(columns.stop_logp)),
    ]
    denominators = [
        sum_by_prompt(gathered, author, flags.kl, flags.ranked),
        sum_responses(gathered, author, known.astype(np.float64)),
        sum_responses(gathered, author, probable.astype(np.float64)),
    ]
    return Ratios(np.hstack(numerators), np.hstack(denominators))


def draw_curve(author: AuthorColumns, scorer: str) -> Curve:
    """Return the figures by position."""
    columns = author.pairs[scorer]
    # Positions below 65,536 sort in linear time.
    small = author.position.astype(np.uint16) if author.position.max(initial=0) < 2**16 else author.position
    order = np.argsort(small, kind="stable")
    sizes = np.bincount(author.position)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    figures = [columns.kl[order], columns.rank[order], np.exp(columns.logp[order])]
    found: list[list[float | None]] = [[], [], [], [], [], []]
    counts = []
    for start, end in pairwise(edges):
        for place, values in enumerate(figures):
            mean, median = _average(values[start:end])
            found[2 * place].append(mean)
            found[2 * place + 1].append(median)
        counts.append(int((~np.isnan(figures[1][start:end])).sum()))
    return Curve(
        counts=counts,
        kl_mean=found[0],
        kl_median=found[1],
        rank_mean=found[2],
        rank_median=found[3],
        probability_mean=found[4],
        probability_median=found[5],
    )


def _average(values: Floats) -> tuple[float | None, float | None]:
    known = np.sort(values)
    known = known[: len(known) - int(np.isnan(known).sum())]
    if not len(known):
        return None, None
    middle = len(known) // 2
    median = known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
    return float(known.sum() / len(known)), float(median)


def _list_tokens(gathered: Gathered, author: AuthorColumns, scorer: str, flags: Flags) -> Iterator[ShiftedToken]:
    """Yield the tokens that are shifted most often, then those emitted less often, then by id."""
    if not flags.shifted.any():
        return
    counts = np.bincount(author.token[flags.ranked])
    shifted = np.bincount(author.token[flags.shifted], minlength=len(counts))
    order = np.lexsort((np.arange(len(counts)), counts, -shifted))[:LISTED]
    columns = author.pairs[scorer]
    weight = np.where(flags.diverging, columns.kl, columns.rank)
    for token in order.tolist():
        if not shifted[token]:
            return
        entries = np.flatnonzero(flags.shifted & (author.token == token))
        best = entries[np.argsort(-weight[entries], kind="stable")][:PLACES]
        yield ShiftedToken(
            token=token,
            piece=author.piece(int(best[0])),
            count=int(counts[token]),
            shifted=int(shifted[token]),
            rate=float(shifted[token] / counts[token]),
            places=[
                Place(
                    prompt_id=gathered.prompts[int(author.prompt[author.response[entry]])],
                    position=int(author.position[entry]),
                )
                for entry in best.tolist()
            ],
        )
