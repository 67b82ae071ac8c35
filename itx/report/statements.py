"""Measuring the paper's statements on one run: one function a statement, and Holm's correction over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Literal

import msgspec
import numpy as np

from itx.borrow.category import INITIATION
from itx.borrow.excess import Measured
from itx.records import Record, Run
from itx.report.authors import label
from itx.report.claims import (
    BORROWED,
    CLASS_NOISE,
    FORGOTTEN,
    LEAST_PROMPTS,
    LEAST_RATIO,
    LEVEL,
    MAJORITY,
    MOST_DRAWS,
    TOKENS,
    Claim,
    Claims,
    Facts,
    Verdict,
)
from itx.report.gathering import CATEGORIES, AuthorColumns, Gathered
from itx.report.resampling import DRAWS, Drawn, Ratios, correct, draw, draw_difference, estimate, judge
from itx.report.tables import Mask, PairTable, is_first_twentieth, sum_by_prompt, sum_responses

_LACKS_PAIR = "needs a LoRA and a full tuning in one run"
_STYLE = ("refusal", "style", "format")


class _Open(Record, frozen=True, kw_only=True):
    """A claim before the correction."""

    claim: Claim
    chance: float | None


def measure_claims(
    gathered: Gathered,
    tables: Mapping[tuple[str, str], PairTable],
    borrowed: Mapping[str, Mapping[str, Measured]] | None = None,
    facts: Facts | None = None,
    lengths: Mapping[str, float] | None = None,
) -> Claims:
    """Return every statement about the run's models.

    ``borrowed`` counts what each model's responses borrowed, by prompt; ``facts`` what models know; ``lengths`` is the
    mean length, in words, of the responses each model was tuned on.
    """
    scope = _Scope(gathered, tables)
    found = [
        *_compare_shifts(scope),
        *_find_early(scope),
        *_find_decay(scope),
        *_find_kinds(scope),
        *_find_concentration(scope),
        *_compare_borrowing(scope, borrowed or {}),
        *_count_forgotten(scope, facts or {}),
        *_compare_lengths(scope, lengths or {}),
    ]
    adjusted = correct([each.chance for each in found])
    return Claims(
        claims=[_decide(each.claim, chance) for each, chance in zip(found, adjusted, strict=True)],
        compared=sum(chance is not None for chance in adjusted),
    )


def _decide(claim: Claim, chance: float | None) -> Claim:
    verdict: Verdict = "not enough data"
    if claim.found is not None and claim.found.value is not None and chance is not None and chance <= LEVEL:
        verdict = "holds" if claim.found.value > claim.margin else "does not hold"
    return msgspec.structs.replace(claim, p=chance, verdict=verdict)


class _Scope:
    """The run's models, its columns, and the least difference of shares that is no noise in it."""

    def __init__(self, gathered: Gathered, tables: Mapping[tuple[str, str], PairTable]) -> None:
        self.gathered = gathered
        self.tables = tables
        run: Run = gathered.run
        self.base = run.base.name
        self.tuned = [model.name for model in run.tuned]
        self.loras = [model.name for model in run.tuned if model.method == "lora"]
        self.fulls = [model.name for model in run.tuned if model.method == "full"]
        self.labels = {model.name: label(model) for model in run.tuned}
        measured = max((1 - floor.unshifted for floor in run.floors), default=0.0)
        self.noise = max(CLASS_NOISE, measured)
        self.noise_reason = (
            "a model compared with itself changes the class of so many positions in this run"
            if measured > CLASS_NOISE
            else "in bf16 1.3 % of positions change their class against fp32"
        )

    def paths(self, name: str) -> Iterator[tuple[Literal["own", "shared"], str, str]]:
        """Yield path, author and scorer of what shows a tuned model's shift: its responses, and base's."""
        if (name, self.base) in self.tables:
            yield "own", name, self.base
        if (self.base, name) in self.tables:
            yield "shared", self.base, name

    @property
    def draws(self) -> int:
        """Resamples: many for few prompts, whose p-values the correction would else find too coarse."""
        return MOST_DRAWS if len(self.gathered.prompts) <= 200 else DRAWS

    def shifted(self, author: str, scorer: str, mask: Mask | None = None) -> Ratios:
        """Return the shifted share of the positions in ``mask``."""
        columns, flags = self.gathered.authors[author], self.tables[author, scorer].flags
        return Ratios(
            sum_by_prompt(self.gathered, columns, flags.classes["shifted"], mask),
            sum_by_prompt(self.gathered, columns, flags.classes["ranked"], mask),
        )


def _open(
    drawn: Drawn | None,
    *,
    statement: str,
    measure: str,
    path: Literal["own", "shared"] | None,
    models: list[str],
    margin: float,
    reason: str,
    unit: Literal["share", "words per 100", "tokens"] = "share",
    note: str = "",
    group: str = "prompts",
    is_share: bool = False,
) -> _Open:
    found = None if drawn is None else estimate(drawn, [is_share])[0]
    chance = None
    if drawn is not None and found is not None and found.value is not None:
        if found.prompts >= LEAST_PROMPTS:
            chance = judge(drawn, 0, margin)
        else:
            note = note or f"fewer than {LEAST_PROMPTS} {group}"
    elif not note:
        note = "nothing to count"
    return _Open(
        claim=Claim(
            statement=statement,
            measure=measure,
            path=path,
            models=models,
            found=found,
            unit=unit,
            margin=margin,
            reason=reason,
            p=None,
            verdict="not enough data",
            note=note,
        ),
        chance=chance,
    )


def _lack_pair(statement: str, measure: str, margin: float, reason: str) -> _Open:
    """Return a claim about a LoRA and a full tuning in a run that lacks either."""
    return _open(
        None,
        statement=statement,
        measure=measure,
        path=None,
        models=[],
        margin=margin,
        reason=reason,
        note=_LACKS_PAIR,
    )


def _compare_shifts(scope: _Scope) -> Iterator[_Open]:
    statement = "LoRA shifts less than full tuning"
    measure = "shifted share, full − LoRA"
    pairs = list(product(scope.fulls, scope.loras))
    if not pairs:
        yield _lack_pair(statement, measure, scope.noise, scope.noise_reason)
    for full, lora in pairs:
        both: list[tuple[Literal["own", "shared"], tuple[str, str], tuple[str, str]]] = [
            ("own", (full, scope.base), (lora, scope.base)),
            ("shared", (scope.base, full), (scope.base, lora)),
        ]
        for path, first, second in both:
            if first in scope.tables and second in scope.tables:
                yield _open(
                    draw_difference(scope.shifted(*first), scope.shifted(*second), scope.draws),
                    statement=statement,
                    measure=measure,
                    path=path,
                    models=[full, lora],
                    margin=scope.noise,
                    reason=scope.noise_reason,
                )


def _find_early(scope: _Scope) -> Iterator[_Open]:
    statement = "LoRA's shifts are early"
    if not scope.loras:
        yield _open(
            None,
            statement=statement,
            measure="shifted share, first positions − others",
            path=None,
            models=[],
            margin=scope.noise,
            reason=scope.noise_reason,
            note="needs a LoRA",
        )
    for lora in scope.loras:
        for path, author, scorer in scope.paths(lora):
            columns = scope.gathered.authors[author]
            early: list[tuple[str, Mask]] = [
                ("first 5 %", is_first_twentieth(columns)),
                (f"first {INITIATION} positions", columns.position < INITIATION),
            ]
            for name, mask in early:
                yield _open(
                    draw_difference(
                        scope.shifted(author, scorer, mask), scope.shifted(author, scorer, ~mask), scope.draws
                    ),
                    statement=statement,
                    measure=f"shifted share, {name} − others",
                    path=path,
                    models=[lora],
                    margin=scope.noise,
                    reason=scope.noise_reason,
                )


def _find_decay(scope: _Scope) -> Iterator[_Open]:
    for name in scope.tuned:
        for path, author, scorer in scope.paths(name):
            columns = scope.gathered.authors[author]
            first = 2 * columns.position < columns.length[columns.response]
            yield _open(
                draw_difference(
                    scope.shifted(author, scorer, first), scope.shifted(author, scorer, ~first), scope.draws
                ),
                statement="shift decays with position",
                measure="shifted share, first half − second half",
                path=path,
                models=[name],
                margin=scope.noise,
                reason=scope.noise_reason,
            )


def _find_kinds(scope: _Scope) -> Iterator[_Open]:
    codes = [CATEGORIES.index(name) for name in _STYLE]
    for name in scope.loras or scope.tuned:
        for path, author, scorer in scope.paths(name):
            columns, flags = scope.gathered.authors[author], scope.tables[author, scorer].flags
            kind = np.isin(columns.category, codes) | (columns.position < INITIATION)
            shifted = flags.classes["shifted"]
            yield _open(
                draw(
                    Ratios(
                        sum_by_prompt(scope.gathered, columns, shifted, kind),
                        sum_by_prompt(scope.gathered, columns, shifted),
                    ),
                    scope.draws,
                ),
                statement="shifted tokens are style and initiation",
                measure=f"share of shifted positions: {', '.join(_STYLE)}, or among the first {INITIATION}",
                path=path,
                models=[name],
                margin=MAJORITY,
                reason="more than half of them",
                is_share=True,
            )


def _find_concentration(scope: _Scope) -> Iterator[_Open]:
    for name in scope.tuned:
        for path, author, scorer in scope.paths(name):
            columns, flags = scope.gathered.authors[author], scope.tables[author, scorer].flags
            share = float(flags.shifted.sum() / flags.ranked.sum()) if flags.ranked.any() else 0.0
            yield _open(
                draw(
                    Ratios(
                        sum_by_prompt(scope.gathered, columns, flags.kl, flags.shifted),
                        sum_by_prompt(scope.gathered, columns, flags.kl, flags.ranked),
                    ),
                    scope.draws,
                )._replace(counts=sum_by_prompt(scope.gathered, columns, flags.classes["diverging"]).sum(axis=0)),
                statement="KL is concentrated",
                measure="share of the total KL on shifted positions",
                path=path,
                models=[name],
                margin=MAJORITY,
                reason="more than half of it",
                is_share=True,
                note=f"they are {100 * share:.0f} % of the positions" if flags.diverging.any() else "",
            )


def _compare_borrowing(scope: _Scope, borrowed: Mapping[str, Mapping[str, Measured]]) -> Iterator[_Open]:
    statement = "full tuning borrows more"
    measure = "borrowed words per 100, full − LoRA"
    reason = "less is no word in two responses"
    pairs = [(full, lora) for full, lora in product(scope.fulls, scope.loras) if full in borrowed and lora in borrowed]
    if not pairs:
        complete = scope.loras and scope.fulls
        yield _open(
            None,
            statement=statement,
            measure=measure,
            path=None,
            models=[],
            margin=100 * BORROWED,
            reason=reason,
            unit="words per 100",
            note="needs the tuning data: itx run … --data DATA" if complete else _LACKS_PAIR,
        )
    for full, lora in pairs:
        first, second = (_take_borrowed(scope.gathered.prompts, borrowed[name]) for name in (full, lora))
        yield _open(
            draw_difference(first, second, scope.draws),
            statement=statement,
            measure=measure,
            path="own",
            models=[full, lora],
            margin=100 * BORROWED,
            reason=reason,
            unit="words per 100",
        )


def _take_borrowed(prompts: Sequence[str], measured: Mapping[str, Measured]) -> Ratios:
    """Return borrowed words per 100, ungated: the gate would favour full tuning."""
    counts = [measured[prompt].own if prompt in measured else None for prompt in prompts]
    words = np.array([[0.0 if count is None else count.words] for count in counts]).reshape(-1, 1)
    found = np.array([[0.0 if count is None else 100 * count.borrowed] for count in counts]).reshape(-1, 1)
    return Ratios(found, words)


def _count_forgotten(scope: _Scope, facts: Facts) -> Iterator[_Open]:
    statement = "full tuning loses known facts"
    measure = "share of the facts that base knew and the model does not"
    reason = "one fact in twenty: a few are lost by chance"
    names = [name for name in scope.fulls if name in facts]
    if not names:
        note = "nothing was asked of what the models know" if scope.fulls else "needs a full tuning"
        yield _open(
            None,
            statement=statement,
            measure=measure,
            path=None,
            models=[],
            margin=FORGOTTEN,
            reason=reason,
            note=note,
        )
    for name in names:
        known = np.array([[float(base)] for base, _ in facts[name]]).reshape(-1, 1)
        lost = np.array([[float(base and not still)] for base, still in facts[name]]).reshape(-1, 1)
        yield _open(
            draw(Ratios(lost, known), MOST_DRAWS if len(known) <= 200 else DRAWS),
            statement=statement,
            measure=measure,
            path=None,
            models=[name],
            margin=FORGOTTEN,
            reason=reason,
            group="facts that base knew",
            is_share=True,
        )


def _compare_lengths(scope: _Scope, lengths: Mapping[str, float]) -> Iterator[_Open]:
    """Yield the claim for each two models whose tuning responses differ in length; none where nothing is known."""
    ordered = sorted((name for name in scope.tuned if name in lengths), key=lambda name: -lengths[name])
    for place, longer in enumerate(ordered):
        for shorter in ordered[place + 1 :]:
            if lengths[longer] < LEAST_RATIO * lengths[shorter]:
                continue
            columns = [scope.gathered.authors[name] for name in (longer, shorter)]
            first, second = (_take_lengths(scope.gathered, each) for each in columns)
            cut = [sum(ending != "whole" for ending in each.ending) for each in columns]
            note = f"tuned on {lengths[longer]:.0f} and {lengths[shorter]:.0f} words a response"
            if any(cut):
                note += f"; {cut[0]} and {cut[1]} responses were cut, and count as long as they are"
            yield _open(
                draw_difference(first, second, scope.draws),
                statement="longer tuning responses make longer outputs",
                measure="tokens a response, longer − shorter",
                path="own",
                models=[longer, shorter],
                margin=TOKENS,
                reason="a short clause",
                unit="tokens",
                note=note,
            )


def _take_lengths(gathered: Gathered, author: AuthorColumns) -> Ratios:
    return Ratios(
        sum_responses(gathered, author, author.length.astype(np.float64)),
        sum_responses(gathered, author, np.ones(len(author.prompt))),
    )
