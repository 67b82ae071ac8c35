"""The page of the report screen about what models know: shares, what each tuning changed, and the facts it concerns."""

from __future__ import annotations

from rich.text import Text

from itx.report.study import Estimate, FactChange, Forgetting, KnowledgeFigures, Study
from itx.report.wording import ABSENT, say_count
from itx.tui.plotting import Writer
from itx.tui.wording import one_line, wrap_text

FACTS = 12
"""Facts that are shown a model and kind of change."""


def write_facts(study: Study, writer: Writer, width: int) -> list[Text]:
    """Return the page."""
    knowledge = study.knowledge
    if knowledge is None:
        said = "The models were asked for no facts: itx run … --facts FILE, or --facts general, does."
        return wrap_text(Text(said, style=writer.palette.faint), width)
    chance = "" if knowledge.chance is None else f"; guessing would know {100 * knowledge.chance:.0f} %"
    failed = f"; {knowledge.failed:,} could not be asked" if knowledge.failed else ""
    lines = wrap_text(
        Text(
            f"{say_count(knowledge.facts, 'fact')}{chance}{failed}. [low, high]: 95 %, resamples of facts. Known: the "
            "right answer is likelier than every wrong one; written: each of its tokens is a first choice; replaced: "
            "the wrong answer that is preferred has become likelier than it was for base.",
            style=writer.palette.faint,
        ),
        width,
    )
    if not knowledge.facts:
        return lines
    lines += [Text(), writer.heading("What each knows", "", width), *_write_models(knowledge, writer, width)]
    remark = "lost, replaced: of what base knew; gained: of what it did not"
    lines += [Text(), writer.heading("What tuning changed", remark, width), *_write_tunings(knowledge, writer, width)]
    if len(knowledge.subjects) > 1:
        lines += [Text(), writer.heading("Known, by subject", "", width), *_write_subjects(knowledge, writer, width)]
    for tuning in knowledge.tunings:
        lines += _write_changes(tuning, writer, width)
    return lines


def _write_models(knowledge: KnowledgeFigures, writer: Writer, width: int) -> list[Text]:
    head = ["model", "known", "by nats a byte", "written", "its log-prob, nats", "first rank"]
    rows = [
        [
            Text(one_line(each.name), style=writer.palette.strong),
            writer.share(each.known),
            writer.share(each.known_by_byte),
            writer.share(each.greedy),
            writer.number(each.logp, 2),
            Text(ABSENT if each.rank_median is None else f"{each.rank_median:,.0f}"),
        ]
        for each in knowledge.models
    ]
    return writer.table(head, rows, width, [0, 0, 3, 1, 2, 4], least=12)


def _write_tunings(knowledge: KnowledgeFigures, writer: Writer, width: int) -> list[Text]:
    head = ["beside base", "lost", "replaced", "gained", "log-prob, nats", "lead, nats"]
    rows = [
        [
            Text(one_line(each.name), style=writer.palette.strong),
            _write_part(each.lost, writer),
            writer.share(each.replaced),
            _write_part(each.gained, writer),
            writer.number(each.logp_change, 2),
            writer.number(each.lead_change, 2),
        ]
        for each in knowledge.tunings
    ]
    return writer.table(head, rows, width, [0, 0, 1, 2, 4, 3], least=12)


def _write_part(estimate: Estimate, writer: Writer) -> Text:
    """Return a share with its interval and what it is a share of."""
    return writer.share(estimate).append(f" of {estimate.count:,}" if estimate.count else "", writer.palette.faint)


def _write_subjects(knowledge: KnowledgeFigures, writer: Writer, width: int) -> list[Text]:
    names = [each.name for each in knowledge.models]
    rows = [
        [
            Text(one_line(each.subject), style=writer.palette.strong),
            Text(f"{each.facts:,}"),
            *(writer.share(each.known[name]) for name in names),
        ]
        for each in knowledge.subjects
    ]
    head = ["subject", "facts", *(one_line(name) for name in names)]
    # Where not all have room, base goes first, then the last tuning; the names stay whole.
    order = [len(names) + 1, *range(len(names) - 1)]
    return writer.table(head, rows, width, [0, len(names), *order], least=16)


def _write_changes(tuning: Forgetting, writer: Writer, width: int) -> list[Text]:
    lines: list[Text] = []
    for what, facts in (("lost", tuning.lost_facts), ("gained", tuning.gained_facts)):
        if facts:
            title = f"Facts that {one_line(tuning.name)} {what}"
            remark = "lead of the right answer, nats: base, then tuned"
            lines += [Text(), writer.heading(title, remark, width)]
            lines += [_write_fact(fact, writer, width) for fact in facts[:FACTS]]
    return lines


def _write_fact(fact: FactChange, writer: Writer, width: int) -> Text:
    """Return ``The capital of Peru is Lima → Quito  +2.1 −0.4``, the answers standing out."""
    leads = "".join(f"{ABSENT:>7}" if lead is None else f"{lead:+7.1f}" for lead in (fact.lead_before, fact.lead_after))
    said = Text(one_line(fact.prompt)).append(" ").append(one_line(fact.answer), writer.palette.strong)
    if fact.preferred is not None:
        said.append(f" {writer.signs.arrow} ", writer.palette.faint)
        said.append(one_line(fact.preferred), writer.palette.alert)
    return writer.fit(said, max(8, width - len(leads))).append(leads, writer.palette.faint)
