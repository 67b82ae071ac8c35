"""Sums by prompt: what every estimate of a pair of author and scorer is a ratio of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from itx.records import Thresholds
from itx.report.gathering import CATEGORIES, AuthorColumns, Floats, Gathered, Integers
from itx.report.resampling import Matrix, Ratios

POSITION_BOUNDS = (0, 5, 10, 20, 50, 100, 200, 500)
"""Where the buckets of positions begin; the first is the initiation."""
RELATIVE = ((0, 5), *((start, start + 10) for start in range(0, 100, 10)))
"""Stretches of a response in per cent of its length: its first twentieth, and tenths."""
SHARES = ("unshifted", "marginal", "shifted", "kl")
_SUMS = (*SHARES, "ranked", "diverging")
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Stretches that positions are counted in: label, start and end of each."""

    name: str
    buckets: Sequence[tuple[str, int | None, int | None]]


GROUPINGS = (
    Grouping(name="overall", buckets=[("all", None, None)]),
    Grouping(
        name="position",
        buckets=[
            *((f"{start}–{end - 1}", start, end) for start, end in pairwise(POSITION_BOUNDS)),
            (f"{POSITION_BOUNDS[-1]}+", POSITION_BOUNDS[-1], None),
        ],
    ),
    Grouping(
        name="relative",
        buckets=[(f"first {end} %" if end == 5 else f"{start}–{end} %", start, end) for start, end in RELATIVE],
    ),
    Grouping(name="category", buckets=[(name, None, None) for name in CATEGORIES]),
)


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What holds of each counted position of a pair."""

    ranked: Mask
    shifted: Mask
    classes: dict[str, Floats]
    kl: Floats
    """0 where there is none."""
    diverging: Mask


def flag(author: AuthorColumns, scorer: str, thresholds: Thresholds) -> Flags:
    """Return the classes of an author's positions as one scorer sees them."""
    columns = author.pairs[scorer]
    rank = columns.rank
    ranked = ~np.isnan(rank)
    # Nothing compares with nan.
    unshifted, shifted = rank <= thresholds.unshifted, rank > thresholds.marginal
    diverging = ~np.isnan(columns.kl)
    kl = np.where(diverging, columns.kl, 0.0)
    classes = {
        "unshifted": unshifted.astype(np.float64),
        "marginal": (ranked & ~unshifted & ~shifted).astype(np.float64),
        "shifted": shifted.astype(np.float64),
        "kl": kl,
        "ranked": ranked.astype(np.float64),
        "diverging": diverging.astype(np.float64),
    }
    return Flags(ranked=ranked, shifted=shifted, classes=classes, kl=kl, diverging=diverging)


@dataclass(frozen=True, kw_only=True)
class PairTable:
    """What every figure of a pair is made from. ``ratios`` are as ``tabulate`` returns them."""

    flags: Flags
    ratios: Ratios


def tabulate_pairs(gathered: Gathered) -> dict[tuple[str, str], PairTable]:
    """Return the tables of every author and scorer that occur."""
    found = {}
    for name, author in gathered.authors.items():
        for scorer in author.pairs:
            flags = flag(author, scorer, gathered.run.thresholds)
            found[name, scorer] = PairTable(flags=flags, ratios=tabulate(gathered, author, flags))
    return found


def sum_by_prompt(gathered: Gathered, author: AuthorColumns, values: Floats, mask: Mask | None = None) -> Matrix:
    """Return the sum of a figure of each counted position, a prompt, as a column; only where ``mask`` is True."""
    prompts = author.prompt[author.response]
    if mask is not None:
        prompts, values = prompts[mask], values[mask]
    return _sum(prompts, values, len(gathered.prompts))[:, None]


def sum_responses(gathered: Gathered, author: AuthorColumns, values: Floats) -> Matrix:
    """Return the sum of a figure of each response, a prompt, as a column; nan counts as nothing."""
    return _sum(author.prompt, np.nan_to_num(values), len(gathered.prompts))[:, None]


def _sum(places: Integers, values: Floats, size: int) -> Floats:
    """Return the sum of the values at each place."""
    return np.asarray(np.bincount(places, weights=values, minlength=size), dtype=np.float64)


def _list_codes(author: AuthorColumns) -> list[Integers]:
    """Return for each grouping the bucket of every position; the first twentieth is counted apart from the tenths."""
    length = author.length[author.response]
    bounds = np.array(POSITION_BOUNDS)
    return [
        np.zeros(len(author.position), dtype=np.int64),
        np.searchsorted(bounds, author.position, side="right").astype(np.int64) - 1,
        10 * author.position // np.maximum(length, 1) + 1,
        author.category,
    ]


def is_first_twentieth(author: AuthorColumns) -> Mask:
    """Return which positions lie in the first 5 % of their response (at least its first one)."""
    return np.asarray(20 * author.position < author.length[author.response])


def tabulate(gathered: Gathered, author: AuthorColumns, flags: Flags) -> Ratios:
    """Return the shares and the mean KL of every bucket of every grouping: four columns a bucket, in their order."""
    prompts, count = author.prompt[author.response], len(gathered.prompts)
    first = is_first_twentieth(author)
    parts: list[dict[str, Matrix]] = []
    for grouping, codes in zip(GROUPINGS, _list_codes(author), strict=True):
        size = len(grouping.buckets)
        places = prompts * size + codes
        sums = {}
        for name in _SUMS:
            found = _sum(places, flags.classes[name], count * size).reshape(count, size)
            if grouping.name == "relative":
                found[:, :1] = sum_by_prompt(gathered, author, flags.classes[name], first)
            sums[name] = found
        parts.append(sums)
    numerators, denominators = [], []
    for sums in parts:
        for place in range(sums["ranked"].shape[1]):
            numerators += [sums[name][:, place] for name in SHARES]
            denominators += [sums["ranked"][:, place]] * 3 + [sums["diverging"][:, place]]
    return Ratios(np.stack(numerators, axis=1), np.stack(denominators, axis=1))
