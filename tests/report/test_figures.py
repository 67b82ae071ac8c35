"""Aggregates, against sums made another way."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.records import Response, Score, Thresholds, Trace
from itx.report.figures import ClassCounts, count_classes, largest_rises, order_pairs, order_responses, summarise
from itx.report.table import tidy_rows
from tests.support.traces import build_run, build_trace, build_traces


def _score(ranks: list[int]) -> Score:
    zeros = [0.0] * len(ranks)
    return Score(
        logp=zeros,
        rank=ranks,
        ties=[0] * len(ranks),
        entropy=zeros,
        kl_author_scorer=zeros,
        kl_scorer_author=zeros,
        js=zeros,
        top=[[] for _ in ranks],
    )


def _response(ranks: list[int], finish: str) -> Response:
    return msgspec.convert(
        {"author": "full", "ids": list(range(len(ranks))), "text": "", "finish": finish, "ends": [0] * len(ranks)},
        Response,
    )


def test_classes_by_hand() -> None:
    ranks = [1, 2, 3, 4, 400, 1, 9]
    assert count_classes(_response(ranks, "length"), _score(ranks), Thresholds()) == ClassCounts(
        unshifted=2, marginal=2, shifted=3
    )
    # The last position is EOS: not counted.
    ended = count_classes(_response(ranks, "eos"), _score(ranks), Thresholds())
    assert ended == ClassCounts(unshifted=2, marginal=2, shifted=2)
    assert ended.positions == 6
    wide = Thresholds(unshifted=2, marginal=9)
    assert count_classes(_response(ranks, "cancelled"), _score(ranks), wide) == ClassCounts(
        unshifted=3, marginal=3, shifted=1
    )
    assert count_classes(_response([], "cancelled"), _score([]), Thresholds()).positions == 0
    assert count_classes(_response([7], "eos"), _score([7]), Thresholds()).positions == 0


@given(ranks=st.lists(st.integers(1, 50)), finish=st.sampled_from(["eos", "length", "cancelled"]))
def test_classes_cover_every_counted_position(ranks: list[int], finish: str) -> None:
    counts = count_classes(_response(ranks, finish), _score(ranks), Thresholds())
    assert counts.positions == max(0, len(ranks) - (finish == "eos"))


def test_rises_come_largest_first_with_eos() -> None:
    trace = build_trace("1", "p", {"base": "It is long.", "full": "Sure! The king signed a treaty."}, seed=3)
    response = trace.responses[1]
    rises = np.array(response.logp) - np.array(response.scores["base"].logp)
    found = largest_rises(response, response.scores["base"])
    assert sorted(found) == list(range(len(response.ids)))
    assert (np.diff(rises[found]) <= 0).all()


@pytest.mark.parametrize("tuned", [("full",), ("lora", "full")])
def test_figures_equal_an_independent_computation(tuned: tuple[str, ...]) -> None:
    run = build_run(tuned)
    traces = build_traces(run, 16, seed=5)
    figures = summarise(run, iter(traces))
    assert list(figures.models) == [*tuned, "base"]
    assert [(pair.author, pair.scorer) for pair in figures.pairs] == [
        *((name, "base") for name in tuned),
        *(("base", name) for name in tuned),
    ]
    for pair in figures.pairs:
        plain = [json.loads(msgspec.json.encode(trace)) for trace in traces]
        kept: list[list[float]] = []
        responses = cancelled = 0
        for trace in plain:
            for response in trace["responses"]:
                if response["author"] != pair.author:
                    continue
                responses += 1
                cancelled += response["finish"] == "cancelled"
                score = response["scores"][pair.scorer]
                count = len(response["ids"]) - (response["finish"] == "eos")
                for place in range(count):
                    kept.append(
                        [
                            score["rank"][place],
                            score["kl_author_scorer"][place],
                            score["kl_scorer_author"][place],
                            score["js"][place],
                            response["logp"][place] - score["logp"][place],
                            response["entropy"][place],
                            score["entropy"][place],
                            score["ties"][place],
                            place,
                        ]
                    )
        columns = np.array(kept, dtype=np.float64).T
        rank, kl, place = columns[0], columns[1], columns[8]
        assert (pair.responses, pair.cancelled, pair.positions) == (responses, cancelled, len(kept))
        assert pair.unshifted == pytest.approx((rank == 1).mean())
        assert pair.marginal == pytest.approx(((rank > 1) & (rank <= 3)).mean())
        assert pair.shifted == pytest.approx((rank > 3).mean())
        assert pair.counts == ClassCounts(
            unshifted=int((rank == 1).sum()),
            marginal=int(((rank > 1) & (rank <= 3)).sum()),
            shifted=int((rank > 3).sum()),
        )
        assert pair.kl_mean == pytest.approx(kl.mean())
        assert pair.kl_median == pytest.approx(np.median(kl))
        assert pair.kl_reverse_mean == pytest.approx(columns[2].mean())
        assert pair.js_mean == pytest.approx(columns[3].mean())
        assert pair.rise_mean == pytest.approx(columns[4].mean())
        assert pair.author_entropy_mean == pytest.approx(columns[5].mean())
        assert pair.scorer_entropy_mean == pytest.approx(columns[6].mean())
        assert pair.tied_positions == (columns[7] > 0).sum()
        assert pair.initiation_kl_mean == pytest.approx(kl[place < 5].mean())
        assert pair.later_kl_mean == pytest.approx(kl[place >= 5].mean())
        assert sum(counts.positions for counts in pair.categories.values()) == len(kept)
        assert "eos" not in pair.categories
    assert figures.models["base"] == next(pair for pair in figures.pairs if pair.author == "base")
    assert [failure.prompt_id for failure in figures.failed] == ["7", "15"]
    assert figures.prompts == 16


def test_json_is_the_contract() -> None:
    run = build_run(("lora", "full"))
    printed = json.loads(msgspec.json.encode(summarise(run, build_traces(run, 8))))
    for name in ("lora", "full"):
        figures = printed["models"][name]
        assert {"positions", "unshifted", "marginal", "shifted", "kl_mean"} <= set(figures)
        assert figures["unshifted"] + figures["marginal"] + figures["shifted"] == pytest.approx(1)
        assert figures["scorer"] == "base"
    assert printed["thresholds"] == {"unshifted": 1, "marginal": 3}


def test_no_positions_are_null_and_not_zero() -> None:
    run = build_run()
    only_eos = build_trace("1", "p", {"base": "It is.", "full": ""})
    for traces in ([], [Trace(prompt_id="1", prompt="p", error="x")], [only_eos]):
        figures = summarise(run, traces).models["full"]
        assert figures.positions == 0
        assert (figures.unshifted, figures.kl_mean, figures.kl_median, figures.later_kl_mean) == (None,) * 4


def test_what_a_failed_prompt_has_is_not_counted() -> None:
    run = build_run()
    trace = build_trace("1", "p", {"base": "It is.", "full": "Sure! The king."})
    failed = msgspec.structs.replace(trace, prompt_id="2", error="out of memory")
    both = summarise(run, [trace, failed])
    assert both.models == summarise(run, [trace]).models
    assert [failure.error for failure in both.failed] == ["out of memory"]
    assert list(tidy_rows(run, [failed])) == []


def test_traces_are_read_once_and_not_kept() -> None:
    run = build_run()
    alive = 0

    def stream() -> Iterator[Trace]:
        nonlocal alive
        for trace in build_traces(run, 4):
            alive += 1
            yield trace

    assert summarise(run, stream()).prompts == 4
    assert alive == 4


def test_order_is_tuned_before_base_and_base_before_other_scorers() -> None:
    run = build_run(("lora", "full"))
    scorers = {"base": ["lora", "full"], "lora": ["full", "base"], "full": ["lora", "base"]}
    trace = build_trace("1", "p", {"base": "a", "full": "the", "lora": "is"}, scorers=scorers)
    assert [response.author for response in order_responses(run, trace)] == ["lora", "full", "base"]
    assert [order_pairs(run, response) for response in order_responses(run, trace)] == [
        ["base", "full"],
        ["base", "lora"],
        ["lora", "full"],
    ]


def test_an_inexact_score_makes_the_pair_a_bound() -> None:
    run = build_run()
    trace = build_trace("1", "p", {"base": "a", "full": "the king"})
    response = trace.responses[1]
    bound = msgspec.structs.replace(
        response, scores={"base": msgspec.structs.replace(response.scores["base"], exact=False)}
    )
    other = msgspec.structs.replace(trace, prompt_id="2", responses=[bound])
    assert summarise(run, [trace]).models["full"].exact
    assert not summarise(run, [trace, other]).models["full"].exact
