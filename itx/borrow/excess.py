"""How much is borrowed beyond what a control gives: ungated, per 100 words that could be, with resampled prompts.

A rate is borrowed words over all prompts per 100 candidate words over all prompts. The interval of a difference of two
rates is the percentile bootstrap that resamples prompts (Efron & Tibshirani 1993, chapter 13), seeded, and widened for
few of them as all of itx's are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from itx.borrow.student import widen
from itx.records import Borrowing, ControlCount, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 0
LEAST_EXPECTED = 5.0
"""Borrowed words that the null must expect for a ratio to be given."""
Control = Literal["base", "control", "random"]
CONTROLS: tuple[Control, ...] = ("base", "control", "random")


class Count(NamedTuple):
    """Words that could be borrowed, and how many of them are."""

    words: float
    borrowed: float


class Measured(NamedTuple):
    """What is kept of one response's borrowing."""

    own: Count
    distinct: int
    raised: int
    controls: Mapping[Control, Count]


class Excess(Record, frozen=True, kw_only=True):
    """A model's borrowing beyond one control, over the ``prompts`` that have it.

    ``words`` and ``borrowed`` are the control's. ``rate`` and ``control_rate`` are borrowed words per 100, ``excess``
    is their difference, ``low`` and ``high`` its 95 % interval (None below two prompts). ``expected`` is what
    the control expects among the model's words; ``lift`` is the ratio of the rates where at least 5 are expected, else
    None ("n/a"). Figures without words are None.
    """

    control: Control
    prompts: int
    words: float
    borrowed: float
    rate: float | None
    control_rate: float | None
    excess: float | None
    low: float | None
    high: float | None
    expected: float | None
    lift: float | None


class Difference(Record, frozen=True, kw_only=True):
    """``first`` minus ``second``, by prompts that both answered, ungated, in borrowed words per 100.

    Against ``control`` None the rates themselves differ, which is also the difference of their excess over base's
    answers, else their excess over that control.
    """

    first: str
    second: str
    control: Control | None
    prompts: int
    difference: float | None
    low: float | None
    high: float | None


def measure(borrowing: Borrowing) -> Measured:
    """Return the counts of one response."""
    null = borrowing.null
    given: dict[Control, ControlCount | None] = {"base": null.base, "control": null.control, "random": null.random}
    return Measured(
        own=Count(borrowing.candidates, borrowing.borrowed),
        distinct=borrowing.distinct,
        raised=borrowing.raised,
        controls={name: Count(count.words, count.borrowed) for name, count in given.items() if count is not None},
    )


def find_excess(measured: Mapping[str, Measured], control: Control, seed: int = SEED) -> Excess | None:
    """Return the excess of one model, by prompt, over a control; None where no prompt has the control."""
    pairs = [(each.own, each.controls[control]) for each in measured.values() if control in each.controls]
    if not pairs:
        return None
    own, other = _sum(pair[0] for pair in pairs), _sum(pair[1] for pair in pairs)
    rate, control_rate = _rate(own), _rate(other)
    low, high = bootstrap([[(1, mine), (-1, theirs)] for mine, theirs in pairs], seed)
    expected = None if control_rate is None else control_rate / 100 * own.words
    lift = None
    if rate is not None and control_rate and expected is not None and expected >= LEAST_EXPECTED:
        lift = rate / control_rate
    return Excess(
        control=control,
        prompts=len(pairs),
        words=other.words,
        borrowed=other.borrowed,
        rate=rate,
        control_rate=control_rate,
        excess=None if rate is None or control_rate is None else rate - control_rate,
        low=low,
        high=high,
        expected=expected,
        lift=lift,
    )


def find_difference(
    first: tuple[str, Mapping[str, Measured]],
    second: tuple[str, Mapping[str, Measured]],
    control: Control | None,
    seed: int = SEED,
) -> Difference | None:
    """Return how two models (name, counts by prompt) differ. None where no prompt has both and the control."""
    shared = [
        (first[1][prompt], second[1][prompt])
        for prompt in first[1]
        if prompt in second[1]
        and (control is None or (control in first[1][prompt].controls and control in second[1][prompt].controls))
    ]
    if not shared:
        return None
    terms = []
    for one, two in shared:
        term: list[Term] = [(1, one.own), (-1, two.own)]
        if control is not None:
            term += [(-1, one.controls[control]), (1, two.controls[control])]
        terms.append(term)
    low, high = bootstrap(terms, seed)
    signed = [(terms[0][place][0], _rate(_sum(term[place][1] for term in terms))) for place in range(len(terms[0]))]
    rates = [sign * rate for sign, rate in signed if rate is not None]
    return Difference(
        first=first[0],
        second=second[0],
        control=control,
        prompts=len(shared),
        difference=sum(rates) if len(rates) == len(signed) else None,
        low=low,
        high=high,
    )


Term = tuple[int, Count]
"""A sign, and the count whose rate is added with it."""


def bootstrap(terms: Sequence[Sequence[Term]], seed: int) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a signed sum of rates over resampled prompts.

    ``terms`` has the same signs, in the same order, for every prompt. Resamples in which a rate has no words are left
    out; with fewer than two prompts, or no resample left, there is no interval.
    """
    if len(terms) < 2:
        return None, None
    import numpy as np

    signs = np.array([sign for sign, _ in terms[0]], dtype=np.float64)
    words = np.array([[count.words for _, count in term] for term in terms], dtype=np.float64)
    borrowed = np.array([[count.borrowed for _, count in term] for term in terms], dtype=np.float64)
    source = np.random.default_rng(seed)
    # How often each prompt is drawn says all of a resample.
    weights = source.multinomial(len(terms), np.full(len(terms), 1 / len(terms)), size=RESAMPLES).astype(np.float64)
    sums: NDArray[np.float64] = weights @ words
    usable = (sums > 0).all(axis=1)
    if not usable.any():
        return None, None
    rates = 100 * (weights @ borrowed)[usable] / sums[usable]
    tail = widen(0.025, len(terms))
    low, high = np.quantile(rates @ signs, [tail, 1 - tail])
    return float(low), float(high)


def _sum(counts: Iterable[Count]) -> Count:
    words = borrowed = 0.0
    for count in counts:
        words += count.words
        borrowed += count.borrowed
    return Count(words, borrowed)


def _rate(count: Count) -> float | None:
    return 100 * count.borrowed / count.words if count.words else None
