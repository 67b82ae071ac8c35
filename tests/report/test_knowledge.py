"""What models know, on facts whose answers were made up: known, lost, gained, replaced."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.report.claims import Claim
from itx.report.knowledge import LISTED, choose_asked, choose_by_byte, summarise_knowledge, tell_known
from itx.report.overview import write_overview
from itx.report.study import KnowledgeFigures
from itx.report.studying import read_claims, read_study
from itx.runs.facts import Fact, Knowledge, Probe
from tests.support.traces import build_run, build_traces

RUN = build_run(("lora", "full"))


def know(
    right: Sequence[float], wrong: Sequence[float], *, rank: Sequence[int] = (), parted: bool = False
) -> Knowledge:
    logp = list(right)
    ranks = list(rank) or [1] * len(logp)
    return Knowledge(start=1, ids=[7] * len(logp), logp=logp, rank=ranks, wrong=list(wrong), parted=parted)


def make(number: int, subject: str | None = None, *, wrong: int = 2, **models: Knowledge) -> Probe:
    answers = [f" wrong{place}" for place in range(wrong)]
    fact = Fact(id=str(number), prompt=f"Fact {number} is", answer=" right", wrong=answers, subject=subject)
    return Probe.make(fact, dict(models))


KNOWS = know([-1.0], [-2.0, -3.0])
FAILS = know([-4.0], [-5.0, -2.5])


def summarise(probes: Sequence[Probe]) -> KnowledgeFigures:
    found = summarise_knowledge(RUN, probes)
    assert found is not None
    return found


def test_known_lost_gained_and_replaced_are_counted() -> None:
    faded = know([-9.0], [-2.5, -4.0])  # the preferred wrong answer has become less likely, too
    replaced = know([-4.0], [-3.5, -0.5])
    probes = [
        make(1, "a", base=KNOWS, lora=KNOWS, full=replaced),
        make(2, "a", base=KNOWS, lora=KNOWS, full=faded),
        make(3, "b", base=KNOWS, lora=FAILS, full=KNOWS),
        make(4, "b", base=FAILS, lora=KNOWS, full=FAILS),
        make(5, base=KNOWS, lora=KNOWS, full=KNOWS),
    ]
    found = summarise(probes)
    assert (found.facts, found.failed, found.chance) == (5, 0, pytest.approx(1 / 3))
    assert [(each.name, each.known.value) for each in found.models] == [("base", 0.8), ("lora", 0.8), ("full", 0.4)]
    lora, full = found.tunings
    assert (lora.name, full.name) == ("lora", "full")
    assert (lora.lost.value, lora.lost.count, lora.gained.value, lora.gained.count) == (1 / 4, 4, 1.0, 1)
    assert (full.lost.value, full.replaced.value, full.gained.value) == (2 / 4, 1 / 4, 0.0)
    assert [fact.id for fact in full.lost_facts] == ["2", "1"]
    assert [fact.preferred for fact in full.lost_facts] == [" wrong0", " wrong1"]
    assert [fact.replaced for fact in full.lost_facts] == [False, True]
    assert [(fact.lead_before, fact.lead_after) for fact in full.lost_facts] == [(1.0, -6.5), (1.0, -3.5)]
    assert [fact.id for fact in lora.gained_facts] == ["4"]
    assert lora.gained_facts[0].preferred is None
    assert full.logp_change.value == pytest.approx(((-4 + 1) + (-9 + 1) + 0 + 0 + 0) / 5)
    assert [(each.subject, each.facts, each.known["full"].value) for each in found.subjects] == [
        ("a", 2, 0.0),
        ("b", 2, 0.5),
    ]


def test_equal_answers_are_not_known() -> None:
    even = know([-2.0], [-2.0, -3.0])
    found = summarise([make(1, base=even, lora=even, full=even)])
    assert found.models[0].known.value == 0.0


def test_without_wrong_answers_each_token_must_come_first() -> None:
    sure, unsure = know([-0.1, -0.1], [], rank=[1, 1]), know([-0.1, -0.9], [], rank=[1, 2])
    found = summarise([make(1, wrong=0, base=sure, lora=sure, full=unsure)])
    assert [each.known.value for each in found.models] == [1.0, 1.0, 0.0]
    assert found.chance is None
    assert found.models[0].known_by_byte.value is None
    assert found.tunings[1].lead_change.value is None
    assert found.tunings[1].lost_facts[0].preferred is None


def test_the_choice_by_byte_divides_by_the_length_in_bytes() -> None:
    fact = Fact(id="1", prompt="p", answer=" Zürich", wrong=[" ab"])
    # 8 and 3 bytes: −1.0 and −0.67 nats a byte, though the right answer as a whole is less likely.
    probe = Probe.make(fact, {})
    assert choose_by_byte(probe, know([-4.0, -4.0], [-2.0])) is False
    assert choose_by_byte(probe, know([-2.0, -3.0], [-2.0])) is True
    assert choose_by_byte(probe, know([-2.0, -3.0], [-2.0], parted=True)) is None


def test_facts_without_figures_of_every_model_are_counted_apart() -> None:
    probes = [
        make(1, base=KNOWS, lora=KNOWS, full=KNOWS),
        make(2, base=KNOWS, lora=KNOWS),
        Probe.make(Fact(id="3", prompt="p", answer=" a"), {}, "no memory"),
    ]
    assert [probe.id for probe in choose_asked(RUN, probes).probes] == ["1"]
    found = summarise(probes)
    assert (found.facts, found.failed) == (1, 2)
    nothing = summarise(probes[1:])
    assert (nothing.facts, nothing.failed, nothing.models[0].known.value) == (0, 2, None)
    assert summarise_knowledge(RUN, []) is None


NATS = st.floats(-30, 0, allow_nan=False)
MODEL = st.tuples(st.lists(NATS, min_size=1, max_size=4), st.lists(NATS, min_size=2, max_size=2))


@given(st.lists(st.tuples(MODEL, MODEL, MODEL), min_size=1, max_size=40))
def test_shares_are_those_counted_by_hand(
    facts: list[tuple[tuple[list[float], list[float]], ...]],
) -> None:
    probes = [
        make(number, base=know(*one), lora=know(*two), full=know(*three))
        for number, (one, two, three) in enumerate(facts)
    ]
    found = summarise(probes)
    knows = [[math.fsum(right) > max(wrong) for right, wrong in models] for models in facts]
    for place, each in enumerate(found.models):
        assert each.known.value == pytest.approx(sum(row[place] for row in knows) / len(facts))
        assert each.logp.value == pytest.approx(sum(math.fsum(row[place][0]) for row in facts) / len(facts))
    base = [row[0] for row in knows]
    for place, each in enumerate(found.tunings, start=1):
        lost = [number for number, row in enumerate(knows) if row[0] and not row[place]]
        gained = [number for number, row in enumerate(knows) if row[place] and not row[0]]
        assert (each.lost.count, each.gained.count) == (sum(base), len(base) - sum(base))
        assert each.lost.value == (pytest.approx(len(lost) / sum(base)) if any(base) else None)
        assert each.gained.value == (pytest.approx(len(gained) / (len(base) - sum(base))) if not all(base) else None)
        assert len(each.lost_facts) == min(LISTED, len(lost))
        assert {int(fact.id) for fact in each.lost_facts} <= set(lost)
        replaced = 0
        for number in lost:
            before, after = facts[number][0][1], facts[number][place][1]
            preferred = max(range(2), key=lambda answer: after[answer])
            replaced += after[preferred] > before[preferred]
        assert each.replaced.value == (pytest.approx(replaced / sum(base)) if any(base) else None)
    assert tell_known(RUN, probes) == {
        name: [(row[0], row[place]) for row in knows] for place, name in enumerate(("lora", "full"), start=1)
    }


def claim_of(lost: float, facts: int) -> Claim:
    source = random.Random(0)
    probes = [
        make(number, base=KNOWS, lora=KNOWS, full=FAILS if source.random() < lost else KNOWS) for number in range(facts)
    ]
    claims = read_claims(RUN, build_traces(RUN), None, probes)
    return next(claim for claim in claims.claims if claim.statement == "full tuning loses known facts")


@pytest.mark.parametrize(
    ("lost", "facts", "verdict"),
    [(0.3, 200, "holds"), (0.0, 200, "does not hold"), (0.06, 60, "not enough data"), (0.5, 8, "not enough data")],
)
def test_the_claim_about_facts_is_judged(lost: float, facts: int, verdict: str) -> None:
    claim = claim_of(lost, facts)
    assert claim.verdict == verdict
    assert claim.models == ["full"]
    assert claim.found is not None
    assert claim.found.count == facts


def test_the_report_shows_facts_of_strangers_as_text() -> None:
    replaced = know([-4.0], [-3.5, -0.5])
    strange = Fact(id="1", prompt="\x1b[31mred | `x`", answer=" <b>a</b>", wrong=[" \u202eb", " c"], subject="a")
    probe = Probe.make(strange, {"base": KNOWS, "lora": KNOWS, "full": replaced})
    traces = build_traces(RUN)
    study = read_study(RUN, traces, probes=[probe])
    text = write_overview(RUN, study, 120)
    assert "What the models know" in text
    assert "100.0" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    without = write_overview(RUN, read_study(RUN, traces), 120)
    assert "What the models know" not in without
