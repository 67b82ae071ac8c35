"""What models know, and what a tuning lost, gained or replaced, as a section of the report."""

from __future__ import annotations

from collections.abc import Iterator

from itx.report.parts import NOTHING, Quoted, Section, Table, say_estimate
from itx.report.study import FactChange, Forgetting, KnowledgeFigures
from itx.report.wording import ABSENT, say_count

_SHOWN = 10
"""Facts that are shown a model and kind of change."""


def show_knowledge(knowledge: KnowledgeFigures) -> Section:
    """Return the section: shares that are known, what each tuning changed, subjects, and the facts it concerns."""
    chance = "" if knowledge.chance is None else f" Guessing would know {100 * knowledge.chance:.0f} %."
    failed = f" {say_count(knowledge.failed, 'fact')} could not be asked." if knowledge.failed else ""
    notes = [
        f"{say_count(knowledge.facts, 'fact')}, resampled in place of prompts. Known: the right answer has a higher "
        f"log-prob than every wrong one.{chance} Written: each of its tokens is the model's first choice.{failed}",
        "Lost and replaced are shares of what base knew, gained of what it did not know. Replaced: the wrong answer "
        "now preferred is likelier than it was for base; else the right one has faded. Changes are means, in nats.",
    ]
    if not knowledge.facts:
        return Section(title="What the models know", notes=[f"{NOTHING}: no fact was asked of every model.{failed}"])
    tables = [_show_models(knowledge), _show_tunings(knowledge)]
    if len(knowledge.subjects) > 1:
        tables.append(_show_subjects(knowledge))
    for each in knowledge.tunings:
        tables += _list_changes(each)
    return Section(title="What the models know", notes=notes, tables=tables)


def _show_models(knowledge: KnowledgeFigures) -> Table:
    rows = [
        [
            Quoted(each.name),
            say_estimate(each.known),
            say_estimate(each.known_by_byte),
            say_estimate(each.greedy),
            say_estimate(each.logp, 1.0, 2),
            ABSENT if each.rank_median is None else f"{each.rank_median:,.1f}".removesuffix(".0"),
        ]
        for each in knowledge.models
    ]
    header = ["model", "known %", "by log-prob a byte %", "written %", "log-prob, nats", "median first rank"]
    return Table(header=header, rows=rows, numbers=list(range(1, len(header))))


def _show_tunings(knowledge: KnowledgeFigures) -> Table:
    rows = [
        [
            Quoted(each.name),
            _say_part(each.lost.value, each.lost.count, say_estimate(each.lost)),
            _say_part(each.replaced.value, each.replaced.count, say_estimate(each.replaced)),
            _say_part(each.gained.value, each.gained.count, say_estimate(each.gained)),
            say_estimate(each.logp_change, 1.0, 2),
            say_estimate(each.lead_change, 1.0, 2),
        ]
        for each in knowledge.tunings
    ]
    header = ["beside base", "lost %", "replaced %", "gained %", "log-prob", "lead over the wrong"]
    return Table(title="What tuning changed", header=header, rows=rows, numbers=list(range(1, len(header))))


def _say_part(value: float | None, count: int, said: str) -> str:
    """Return an estimate with what it is a share of."""
    return said if value is None else f"{said}, {round(value * count):,} of {count:,}"


def _show_subjects(knowledge: KnowledgeFigures) -> Table:
    names = [each.name for each in knowledge.models]
    rows = [
        [Quoted(each.subject), f"{each.facts:,}", *(say_estimate(each.known[name]) for name in names)]
        for each in knowledge.subjects
    ]
    header = ["subject", "facts", *(f"{name}: known %" for name in names)]
    return Table(title="By subject", header=header, rows=rows, numbers=list(range(1, len(header))))


def _list_changes(tuning: Forgetting) -> Iterator[Table]:
    for what, facts, estimate in (
        ("lost", tuning.lost_facts, tuning.lost),
        ("gained", tuning.gained_facts, tuning.gained),
    ):
        if not facts:
            continue
        rows = [
            [
                Quoted(f"{fact.prompt} …"),
                Quoted(fact.answer.strip()),
                *([_say_preferred(fact)] if what == "lost" else []),
                f"{_say_lead(fact.lead_before)} → {_say_lead(fact.lead_after)}",
            ]
            for fact in facts[:_SHOWN]
        ]
        count = round((estimate.value or 0.0) * estimate.count)
        more = f", {_SHOWN} of {count}" if count > _SHOWN else ""
        header = ["fact", "answer", *(["now preferred"] if what == "lost" else []), "lead, nats"]
        title = f"{tuning.name}: {what}, the largest change of the lead first{more}"
        yield Table(title=title, header=header, rows=rows, numbers=[len(header) - 1])


def _say_preferred(fact: FactChange) -> str:
    if fact.preferred is None:
        return ABSENT
    return Quoted(f"{fact.preferred.strip()}{' (replaced)' if fact.replaced else ' (faded)'}")


def _say_lead(lead: float | None) -> str:
    return ABSENT if lead is None else f"{lead:+.1f}".replace("-", "−")
