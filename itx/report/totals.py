"""The plain figures of ``itx report --json`` from columns: what ``summarise`` makes of traces, only faster."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from itx.borrow.category import INITIATION
from itx.report.figures import ClassCounts, Figures, PairFigures
from itx.report.gathering import CATEGORIES, Floats, Gathered
from itx.report.tables import Mask, PairTable

_CLASSES = ("unshifted", "marginal", "shifted")


def total(gathered: Gathered, tables: Mapping[tuple[str, str], PairTable]) -> Figures:
    """Return the figures of a run."""
    run = gathered.run
    base = run.base.name
    order = [(model.name, base) for model in run.tuned]
    order += [(author, scorer) for author, scorer in _list_pairs(gathered) if (author, scorer) not in order]
    closed = {pair: _total_pair(gathered, *pair, tables.get(pair)) for pair in order}
    models = {model.name: closed[model.name, base] for model in run.tuned}
    reverse = next((closed[base, model.name] for model in run.tuned if (base, model.name) in closed), None)
    if reverse is not None:
        models[base] = reverse
    return Figures(
        models=models,
        pairs=[figures for figures in closed.values() if figures.responses],
        prompts=len(gathered.prompts),
        failed=gathered.failed,
        thresholds=run.thresholds,
        floors=run.floors,
    )


def _list_pairs(gathered: Gathered) -> list[tuple[str, str]]:
    """Return the pairs that occur, in the order in which responses first have them."""
    run = gathered.run
    names = [run.base.name, *(model.name for model in run.tuned)]
    return [
        (author, scorer)
        for author, scorer in product(names, names)
        if author != scorer and scorer in gathered.authors[author].pairs
    ]


def _total_pair(gathered: Gathered, name: str, scorer: str, table: PairTable | None) -> PairFigures:
    if table is None:
        return _nothing(name, scorer)
    author = gathered.authors[name]
    columns, flags = author.pairs[scorer], table.flags
    entry_scored = columns.scored[author.response]
    counts = _count(flags.classes, flags.ranked)
    positions = counts.positions
    early = author.position < INITIATION
    categories = {}
    for code, category in sorted(enumerate(CATEGORIES), key=lambda each: each[1]):
        found = _count(flags.classes, flags.ranked & (author.category == code))
        if found.positions:
            categories[category] = found
    return PairFigures(
        author=name,
        scorer=scorer,
        responses=int(columns.scored.sum()),
        cancelled=sum(
            finish == "cancelled" for finish, scored in zip(author.finish, columns.scored, strict=True) if scored
        ),
        positions=positions,
        unshifted=counts.unshifted / positions if positions else None,
        marginal=counts.marginal / positions if positions else None,
        shifted=counts.shifted / positions if positions else None,
        kl_mean=_mean(columns.kl),
        kl_median=_median(columns.kl),
        kl_reverse_mean=_mean(columns.reverse),
        js_mean=_mean(columns.js),
        rise_mean=_mean(author.logp - columns.logp),
        author_entropy_mean=_mean(author.entropy[entry_scored]),
        scorer_entropy_mean=_mean(columns.entropy),
        initiation_kl_mean=_mean(columns.kl[early]),
        later_kl_mean=_mean(columns.kl[~early]),
        tied_positions=int((columns.ties > 0).sum()),
        exact=columns.exact,
        counts=counts,
        categories=categories,
        aligned=columns.aligned,
        unranked=int((entry_scored & ~flags.ranked).sum()),
        spans=len(columns.rises),
        pairs=columns.pairs,
        span_rise_mean=_mean(columns.rises),
        outside_author=_mean(columns.outside_author),
        outside_scorer=_mean(columns.outside_scorer),
    )


def _nothing(author: str, scorer: str) -> PairFigures:
    return PairFigures(
        author=author,
        scorer=scorer,
        responses=0,
        cancelled=0,
        positions=0,
        unshifted=None,
        marginal=None,
        shifted=None,
        kl_mean=None,
        kl_median=None,
        kl_reverse_mean=None,
        js_mean=None,
        rise_mean=None,
        author_entropy_mean=None,
        scorer_entropy_mean=None,
        initiation_kl_mean=None,
        later_kl_mean=None,
        tied_positions=0,
        exact=True,
        counts=ClassCounts(),
        categories={},
    )


def _count(classes: dict[str, Floats], mask: Mask) -> ClassCounts:
    found = {name: int(classes[name][mask].sum()) for name in _CLASSES}
    return ClassCounts(unshifted=found["unshifted"], marginal=found["marginal"], shifted=found["shifted"])


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.sum() / len(known)) if len(known) else None


def _median(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None
