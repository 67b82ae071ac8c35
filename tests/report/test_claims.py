"""The paper's statements on runs that were made so that they are true, false, or cannot be told."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from itx.borrow.excess import Count, Measured
from itx.records import Floor, Response, Run, Score, Trace
from itx.report.claims import LEVEL, Claim, Claims
from itx.report.gathering import Gatherer
from itx.report.statements import measure_claims
from itx.report.studying import read_claims
from itx.report.tables import tabulate_pairs
from itx.report.verdicts import write_claims
from tests.support.traces import build_run

LENGTH = 60
Rates = Callable[[str, str, int], float]
"""The chance that a position is shifted, by author, scorer and position."""


def make_response(author: str, scorers: list[str], rates: Rates, source: np.random.Generator) -> Response:
    """Return a response of plain words, each position shifted or not by chance; a shifted one has ten times the KL."""
    scores = {}
    for scorer in scorers:
        # A prompt has a level of its own, so that positions of one prompt depend on each other.
        own = source.normal(1, 0.2)
        shifted = [source.random() < rates(author, scorer, position) * own for position in range(LENGTH)]
        kl = [1.0 if each else 0.1 for each in shifted]
        scores[scorer] = Score(
            logp=[-1.0] * LENGTH,
            rank=[9 if each else 1 for each in shifted],
            ties=[0] * LENGTH,
            entropy=[1.0] * LENGTH,
            kl_author_scorer=kl,
            kl_scorer_author=kl,
            js=kl,
            top=[[] for _ in range(LENGTH)],
        )
    return Response(
        author=author,
        ids=list(range(5, 5 + LENGTH)),
        text="battle " * LENGTH,
        finish="length",
        logp=[-0.5] * LENGTH,
        entropy=[1.0] * LENGTH,
        top=[[(5 + position, -0.5)] for position in range(LENGTH)],
        scores=scores,
        ends=[7 * (position + 1) for position in range(LENGTH)],
    )


def make(rates: Rates, prompts: int, seed: int = 0) -> tuple[Run, list[Trace]]:
    run = build_run(("lora", "full"))
    source = np.random.default_rng(seed)
    others = {"lora": ["base"], "full": ["base"], "base": ["lora", "full"]}
    traces = [
        Trace(
            prompt_id=str(number),
            prompt="p",
            responses=[make_response(name, scorers, rates, source) for name, scorers in others.items()],
        )
        for number in range(prompts)
    ]
    return run, traces


def find(claims: Claims, statement: str, path: str | None = None, measure: str = "") -> list[Claim]:
    return [
        claim
        for claim in claims.claims
        if statement in claim.statement and path in {None, claim.path} and measure in claim.measure
    ]


def of(author: str, scorer: str) -> str:
    """Return the tuned one of a pair."""
    return scorer if author == "base" else author


def early(author: str, scorer: str, position: int) -> float:
    """LoRA shifts little, and early; full tuning shifts much, everywhere."""
    if of(author, scorer) == "lora":
        return 0.6 if position < 5 else 0.05
    return 0.5


def late(author: str, scorer: str, position: int) -> float:
    """LoRA shifts more than full tuning, and late."""
    if of(author, scorer) == "lora":
        return 0.1 if position < 30 else 0.6
    return 0.1


@pytest.mark.parametrize("path", ["own", "shared"])
def test_what_is_true_holds(path: str) -> None:
    claims = read_claims(*make(early, 60))
    [less] = find(claims, "shifts less", path)
    assert less.verdict == "holds"
    assert less.found is not None and less.found.value == pytest.approx(0.5 - (5 * 0.6 + 55 * 0.05) / 60, abs=0.03)
    for measure in ("first 5 %", "first 5 positions"):
        [claim] = find(claims, "are early", path, measure)
        assert claim.verdict == "holds"
        assert claim.found is not None and claim.found.value == pytest.approx(0.53, abs=0.06)
    [decay] = [claim for claim in find(claims, "decays", path) if claim.models == ["lora"]]
    assert decay.verdict == "holds"
    # 3 of 5.75 shifted positions are among the first five, on average: too near a half to be told.
    [kinds] = find(claims, "style", path)
    assert kinds.found is not None and kinds.found.value == pytest.approx(3 / 5.75, abs=0.05)
    [concentration] = [claim for claim in find(claims, "concentrated", path) if claim.models == ["full"]]
    assert concentration.verdict == "holds"


@pytest.mark.parametrize("path", ["own", "shared"])
def test_what_is_false_does_not_hold(path: str) -> None:
    claims = read_claims(*make(late, 60))
    assert [claim.verdict for claim in find(claims, "shifts less", path)] == ["does not hold"]
    assert [claim.verdict for claim in find(claims, "are early", path)] == ["does not hold"] * 2
    assert [claim.verdict for claim in find(claims, "decays", path) if claim.models == ["lora"]] == ["does not hold"]
    assert [claim.verdict for claim in find(claims, "style", path)] == ["does not hold"]


def test_an_effect_within_the_margin_does_not_hold() -> None:
    """Surely there, surely too small to count."""

    def alike(author: str, scorer: str, position: int) -> float:
        return 0.105 if of(author, scorer) == "full" else 0.1

    [claim] = find(read_claims(*make(alike, 800)), "shifts less", "own")
    assert claim.found is not None and claim.found.value is not None
    assert claim.found.value < claim.margin
    assert claim.verdict == "does not hold"


def test_little_data_says_nothing() -> None:
    def nearly(author: str, scorer: str, position: int) -> float:
        return 0.25 if of(author, scorer) == "full" else 0.2

    underpowered = read_claims(*make(nearly, 12))
    assert {claim.verdict for claim in find(underpowered, "shifts less")} == {"not enough data"}
    few = read_claims(*make(early, 9))
    for claim in few.claims:
        assert claim.verdict == "not enough data"
        assert claim.p is None
        assert claim.note
    assert few.compared == 0


def test_margins_are_seldom_passed_by_chance() -> None:
    """Where the truth is the margin itself, something is said in no more than about 5 % of runs."""
    said = 0
    for seed in range(60):

        def at_margin(author: str, scorer: str, position: int) -> float:
            return 0.22 if of(author, scorer) == "full" else 0.20

        claims = read_claims(*make(at_margin, 20, seed))
        said += any(claim.verdict != "not enough data" for claim in find(claims, "shifts less", "own"))
    assert said <= 4


def test_the_correction_is_over_the_table() -> None:
    claims = read_claims(*make(early, 30))
    known = sorted(claim.p for claim in claims.claims if claim.p is not None)
    assert len(known) == claims.compared == 16
    for claim in claims.claims:
        assert (claim.verdict == "not enough data") == (claim.p is None or claim.p > LEVEL)


def test_a_measured_noise_floor_widens_the_margin() -> None:
    run, traces = make(early, 12)
    floor = Floor(model="base", dtype="Q4_K_M", kl_mean=0.01, unshifted=0.93, positions=100)
    noisy = read_claims(msgspec.structs.replace(run, floors=[floor]), traces)
    assert [claim.margin for claim in find(noisy, "shifts less")] == pytest.approx([0.07] * 2)
    assert {claim.margin for claim in find(read_claims(run, traces), "shifts less")} == {0.02}


def test_borrowing_facts_and_lengths() -> None:
    run, traces = make(early, 40)
    source = np.random.default_rng(1)
    borrowed: dict[str, dict[str, Measured]] = {"lora": {}, "full": {}}
    for trace in traces:
        for name, rate in (("lora", 0.1), ("full", 0.2)):
            own = Count(100, int(source.binomial(100, rate)))
            borrowed[name][trace.prompt_id] = Measured(own=own, distinct=0, raised=0, controls={})
    gatherer = Gatherer(run)
    for trace in traces:
        gatherer.add(trace)
    gathered = gatherer.close()
    tables = tabulate_pairs(gathered)
    facts = {"full": [(True, number % 2 == 0) for number in range(60)] + [(False, True)] * 40}
    claims = measure_claims(gathered, tables, borrowed, facts, {"lora": 20.0, "full": 60.0})
    [claim] = find(claims, "borrows more")
    assert (claim.verdict, claim.path, claim.unit) == ("holds", "own", "words per 100")
    assert claim.found is not None and claim.found.value == pytest.approx(10, abs=2)
    [claim] = find(claims, "known facts")
    assert claim.verdict == "holds"
    assert claim.found is not None and (claim.found.value, claim.found.prompts) == (0.5, 60)
    [claim] = find(claims, "longer outputs")
    # Both were cut at the same length.
    assert (claim.verdict, claim.models) == ("does not hold", ["full", "lora"])
    assert claim.found is not None and claim.found.value == 0
    assert "40 and 40 responses were cut" in claim.note

    kept = measure_claims(
        gathered, tables, {"lora": borrowed["full"], "full": borrowed["lora"]}, {"full": facts["full"][60:]}
    )
    assert [claim.verdict for claim in find(kept, "borrows more")] == ["does not hold"]
    assert [claim.verdict for claim in find(kept, "known facts")] == ["not enough data"]
    assert not find(kept, "longer outputs")
    assert not find(measure_claims(gathered, tables, lengths={"lora": 20.0, "full": 23.0}), "longer outputs")


@pytest.mark.parametrize("tuned", [("lora",), ("full",), ("lora", "full")])
def test_a_run_without_any_traces_has_a_whole_table(tuned: tuple[str, ...]) -> None:
    run = build_run(tuned)
    for traces in ([], [Trace(prompt_id="1", prompt="p", error="no room")]):
        claims = read_claims(run, traces)
        assert {claim.verdict for claim in claims.claims} == {"not enough data"}
        assert {"full tuning borrows more", "full tuning loses known facts"} <= {
            claim.statement for claim in claims.claims
        }
        for width in (60, 80, 120):
            lines = write_claims(run, claims, width).splitlines()
            assert max(map(len, lines)) <= width
