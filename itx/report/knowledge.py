"""What models know: facts that base knew and a tuning lost, gained, or replaced by another answer.

A model *knows* a fact where it gives the right answer a higher log-prob than every wrong one: a forced choice
(Clark et al. 2018, arXiv 1803.05457, as language models are evaluated on it); of a fact without wrong answers it must
put each token of the answer first. Log-probs are of whole answers, so that tokenizers do not matter; the choice by
log-prob a byte stands beside it, as long answers are less likely.

A lost fact is *replaced* where the wrong answer that is now preferred has become likelier than it was for base; else
the right one has only faded. Intervals resample facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from itx.records import Record, Run
from itx.report.authors import label
from itx.report.resampling import Matrix, Ratios, draw, estimate
from itx.report.study import FactChange, Forgetting, KnowledgeFigures, KnownShares, SubjectShares
from itx.runs.facts import Knowledge, Probe

LISTED = 20
"""Facts that are listed a model and kind of change."""


class Choice(NamedTuple):
    """What a model answers: ``knows``; the answer it prefers; and its lead over the best other one, in nats.

    ``lead`` is of the right answer, negative where a wrong one is preferred; None without wrong ones.
    """

    knows: bool
    preferred: str
    lead: float | None


class Asked(Record, frozen=True, kw_only=True):
    """Facts with figures of every model of a run, and how many failed."""

    probes: list[Probe]
    failed: int


def choose_asked(run: Run, probes: Sequence[Probe]) -> Asked:
    """Return the facts that every model of the run was asked for."""
    names = {model.name for model in run.models}
    whole = [probe for probe in probes if probe.error is None and names <= probe.models.keys()]
    return Asked(probes=whole, failed=len(probes) - len(whole))


def choose(probe: Probe, knowledge: Knowledge) -> Choice:
    """Return a model's answer by log-prob; of equals the wrong one, since the right one must be told apart."""
    if not probe.wrong:
        return Choice(all(rank == 1 for rank in knowledge.rank), probe.answer, None)
    best = max(range(len(probe.wrong)), key=lambda place: knowledge.wrong[place])
    lead = knowledge.total - knowledge.wrong[best]
    return Choice(lead > 0, probe.answer if lead > 0 else probe.wrong[best], lead)


def choose_by_byte(probe: Probe, knowledge: Knowledge) -> bool | None:
    """Return whether the right answer wins by log-prob a byte; None without wrong answers.

    Also None where answers are read together with the prompt's end: their log-probs then are of more than their bytes.
    """
    if not probe.wrong or knowledge.parted:
        return None
    right = knowledge.total / _measure(probe.answer)
    return all(right > logp / _measure(answer) for answer, logp in zip(probe.wrong, knowledge.wrong, strict=True))


def _measure(answer: str) -> int:
    return len(answer.encode())


def tell_known(run: Run, probes: Sequence[Probe]) -> dict[str, list[tuple[bool, bool]]]:
    """Return of each tuned model, a fact each: whether base knew it, and whether the model does."""
    asked = choose_asked(run, probes).probes
    base = [choose(probe, probe.models[run.base.name]).knows for probe in asked]
    return {
        model.name: [
            (before, choose(probe, probe.models[model.name]).knows) for before, probe in zip(base, asked, strict=True)
        ]
        for model in run.tuned
        if asked
    }


def summarise_knowledge(run: Run, probes: Sequence[Probe]) -> KnowledgeFigures | None:
    """Return what the models of a run know; None where they were asked for nothing."""
    if not probes:
        return None
    asked = choose_asked(run, probes)
    subjects = sorted({probe.subject for probe in asked.probes if probe.subject is not None})
    names = [run.base.name, *(model.name for model in run.tuned)]
    labels = {model.name: label(model) for model in run.models}
    chances = [1 / (1 + len(probe.wrong)) for probe in asked.probes if probe.wrong]
    return KnowledgeFigures(
        facts=len(asked.probes),
        failed=asked.failed,
        chance=sum(chances) / len(chances) if chances else None,
        models=[_count_known(asked.probes, name, labels[name]) for name in names],
        tunings=[_compare(asked.probes, run.base.name, model.name) for model in run.tuned],
        subjects=[_divide(asked.probes, subject, names) for subject in subjects],
    )


def _count_known(probes: Sequence[Probe], name: str, said: str) -> KnownShares:
    found = [probe.models[name] for probe in probes]
    by_byte = [choose_by_byte(probe, each) for probe, each in zip(probes, found, strict=True)]
    numerators = _columns(
        [float(choose(probe, each).knows) for probe, each in zip(probes, found, strict=True)],
        [float(bool(each)) for each in by_byte],
        [float(all(rank == 1 for rank in each.rank)) for each in found],
        [each.total for each in found],
    )
    ones = [1.0] * len(found)
    denominators = _columns(ones, [float(each is not None) for each in by_byte], ones, ones)
    known, per_byte, greedy, logp = estimate(draw(Ratios(numerators, denominators)), [True, True, True, False])
    return KnownShares(
        name=name,
        label=said,
        known=known,
        known_by_byte=per_byte,
        greedy=greedy,
        logp=logp,
        rank_median=float(np.median([each.rank[0] for each in found])) if found else None,
    )


def _columns(*columns: Sequence[float]) -> Matrix:
    return np.array(columns, dtype=np.float64).T.reshape(-1, len(columns))


class _Change(NamedTuple):
    probe: Probe
    before: Choice
    after: Choice
    replaced: bool


def _compare(probes: Sequence[Probe], base: str, name: str) -> Forgetting:
    changes = [_see_change(probe, probe.models[base], probe.models[name]) for probe in probes]
    numerators = _columns(
        [float(each.before.knows and not each.after.knows) for each in changes],
        [float(each.after.knows and not each.before.knows) for each in changes],
        [float(each.replaced) for each in changes],
        [each.probe.models[name].total - each.probe.models[base].total for each in changes],
        [(each.after.lead or 0.0) - (each.before.lead or 0.0) for each in changes],
    )
    known = [float(each.before.knows) for each in changes]
    denominators = _columns(
        known,
        [1 - each for each in known],
        known,
        [1.0] * len(changes),
        [float(each.before.lead is not None) for each in changes],
    )
    lost, gained, replaced, logp, lead = estimate(
        draw(Ratios(numerators, denominators)), [True, True, True, False, False]
    )
    return Forgetting(
        name=name,
        lost=lost,
        gained=gained,
        replaced=replaced,
        logp_change=logp,
        lead_change=lead,
        lost_facts=_list([each for each in changes if each.before.knows and not each.after.knows]),
        gained_facts=_list([each for each in changes if each.after.knows and not each.before.knows]),
    )


def _see_change(probe: Probe, base: Knowledge, tuned: Knowledge) -> _Change:
    before, after = choose(probe, base), choose(probe, tuned)
    replaced = False
    if before.knows and not after.knows and after.lead is not None:
        place = probe.wrong.index(after.preferred)
        replaced = tuned.wrong[place] > base.wrong[place]
    return _Change(probe, before, after, replaced)


def _list(changes: Sequence[_Change]) -> list[FactChange]:
    """Return the changes, the largest of the lead first."""
    ordered = sorted(changes, key=lambda each: -abs((each.after.lead or 0.0) - (each.before.lead or 0.0)))
    return [
        FactChange(
            id=each.probe.id,
            prompt=each.probe.prompt,
            answer=each.probe.answer,
            preferred=each.after.preferred if not each.after.knows and each.probe.wrong else None,
            replaced=each.replaced,
            lead_before=each.before.lead,
            lead_after=each.after.lead,
        )
        for each in ordered[:LISTED]
    ]


def _divide(probes: Sequence[Probe], subject: str, names: Sequence[str]) -> SubjectShares:
    chosen = [probe for probe in probes if probe.subject == subject]
    shares = {}
    for name in names:
        known = [[float(choose(probe, probe.models[name]).knows)] for probe in chosen]
        shares[name] = estimate(draw(Ratios(np.array(known), np.ones((len(known), 1)))), [True])[0]
    return SubjectShares(subject=subject, facts=len(chosen), known=shares)
