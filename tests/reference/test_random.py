"""itx against the float64 reference on tiny random Llamas: every path of the loop, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

from itx.records import Trace
from tests.reference import oracle
from tests.reference.asking import QUESTIONS, compare, give
from tests.support.llamas import EOS, write_adapter, write_llama, write_tuned


@dataclass(frozen=True, kw_only=True)
class World:
    """Folders of a base with its two tunings, and the same in float64."""

    base: Path
    full: Path
    lora: Path
    models: dict[str, PreTrainedModel]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("random")
    base = write_llama(root / "base")
    full = write_tuned(base, root / "full")
    lora = write_adapter(base, root / "lora")
    models = {"base": oracle.load(base), "full": oracle.load(full), "lora": oracle.load(base, lora)}
    return World(base=base, full=full, lora=lora, models=models)


@pytest.fixture(scope="module")
def traces(world: World) -> list[Trace]:
    """What itx says of the six questions, every model an author."""
    return compare(world.base, {"full": world.full, "lora": world.lora}, QUESTIONS)[1]


def test_every_figure_agrees(world: World, traces: list[Trace]) -> None:
    compared = sum(oracle.check_trace(trace, world.models) for trace in traces)
    assert compared > 200


def test_the_answers_end_in_both_ways(traces: list[Trace]) -> None:
    finishes = {response.finish for trace in traces for response in trace.responses}
    assert finishes == {"eos", "length"}
    for trace in traces:
        for response in trace.responses:
            assert (response.finish == "eos") == (response.ids[-1] == EOS)
            assert EOS not in response.ids[:-1]
            assert len(response.ids) <= 24
            assert response.finish == "eos" or len(response.ids) == 24


def test_base_and_tuned_score_each_other(traces: list[Trace]) -> None:
    for trace in traces:
        assert {response.author for response in trace.responses} == {"base", "full", "lora"}
        for response in trace.responses:
            others = {"full", "lora"} if response.author == "base" else {"base"}
            assert set(response.scores) >= others


def test_contexts_are_what_the_tokenizer_renders(world: World, traces: list[Trace]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(world.base)
    for trace, question in zip(traces, QUESTIONS, strict=True):
        turns = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert {name: context.ids for name, context in trace.contexts.items()} == {
            name: list(ids) for name in ("base", "full", "lora")
        }


def test_text_is_what_the_tokenizer_decodes_and_spans_cover_it(world: World, traces: list[Trace]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(world.base)
    for trace in traces:
        for response in trace.responses:
            assert response.text == tokenizer.decode(response.ids[: response.length], skip_special_tokens=False)
            assert len(response.ends) == len(response.ids)
            assert response.ends == sorted(response.ends)
            assert response.ends[-1] == len(response.text)


@pytest.mark.parametrize("chunk", [1, 2, 5, 16, 23, 24, 25, 64])
def test_chunks_of_any_size_give_the_same_figures(world: World, chunk: int) -> None:
    _, found = compare(world.base, {"full": world.full, "lora": world.lora}, QUESTIONS[:2], chunk=chunk)
    assert sum(oracle.check_trace(trace, world.models) for trace in found) > 50


@pytest.mark.parametrize(("batch", "chunk"), [(2, None), (6, None), (6, 5), (4, 1)])
def test_prompts_decoded_together_have_the_figures_of_each_alone(
    world: World, traces: list[Trace], batch: int, chunk: int | None
) -> None:
    """Every figure against float64; the same ids and ranks as alone, and divergences within the reference's bound."""
    tuned: dict[str, Path | str] = {"full": world.full, "lora": world.lora}
    run, found = compare(world.base, tuned, QUESTIONS, chunk=chunk, batch=batch)
    assert run.engine.batch_size == batch
    assert sum(oracle.check_trace(trace, world.models) for trace in found) > 200
    for trace, alone in zip(found, traces, strict=True):
        assert trace.contexts == alone.contexts
        for response, other in zip(trace.responses, alone.responses, strict=True):
            assert (response.ids, response.text, response.finish) == (other.ids, other.text, other.finish)
            for name, score in response.scores.items():
                assert score.rank == other.scores[name].rank
                for column in ("kl_author_scorer", "kl_scorer_author", "js"):
                    expected = np.asarray(getattr(other.scores[name], column))
                    oracle.check_divergence(column, getattr(score, column), expected)


def test_an_adapter_equals_the_checkpoint_it_merges_into(world: World, tmp_path: Path) -> None:
    merged = oracle.load(world.base, world.lora).to(torch.float32)
    merged.save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(world.base).save_pretrained(tmp_path / "merged")
    _, found = compare(world.base, {"lora": tmp_path / "merged"}, QUESTIONS[:3])
    _, shared = compare(world.base, {"lora": world.lora}, QUESTIONS[:3])
    for one, other in zip(found, shared, strict=True):
        assert [response.ids for response in one.responses] == [response.ids for response in other.responses]
        assert oracle.check_trace(one, world.models) == oracle.check_trace(other, world.models) > 0


def test_given_text_is_scored_as_the_ids_it_encodes_to(world: World) -> None:
    text = "It was fought in Zürich 東京 🌸, and it ended."
    ids = AutoTokenizer.from_pretrained(world.base).encode(text, add_special_tokens=False)
    _, by_text = compare(world.base, {"full": world.full}, [give(text)])
    _, by_ids = compare(world.base, {"full": world.full}, [give(ids=ids)])
    for trace in (*by_text, *by_ids):
        (response,) = trace.responses
        assert response.given
        assert response.author == "full"
        assert response.ids[: len(ids)] == ids
        assert response.text == text
        assert oracle.check_trace(trace, world.models) >= len(ids)


def test_given_ids_may_end_with_eos(world: World) -> None:
    _, (trace,) = compare(world.base, {"full": world.full}, [give(ids=[70, 71, 72, EOS])])
    (response,) = trace.responses
    assert (response.ids, response.finish, response.length) == ([70, 71, 72, EOS], "eos", 3)
    assert oracle.check_trace(trace, world.models) == 4


def test_a_given_response_of_the_base_is_scored_by_the_tuned(world: World) -> None:
    _, (trace,) = compare(world.base, {"full": world.full, "lora": world.lora}, [give("Mix flour", author="base")])
    (response,) = trace.responses
    assert response.author == "base"
    assert set(response.scores) >= {"full", "lora"}
    assert oracle.check_trace(trace, world.models) > 0


@pytest.mark.parametrize("empty", [{"text": ""}, {"ids": []}])
def test_an_empty_response_has_no_figures(world: World, empty: dict[str, str]) -> None:
    _, (trace,) = compare(world.base, {"full": world.full}, [give(**empty)])
    (response,) = trace.responses
    assert trace.error is None
    assert response.text == ""
    assert response.length == 0
    assert len(response.ids) <= 1
    oracle.check_trace(trace, world.models)


def test_the_reference_sees_a_wrong_figure(world: World, traces: list[Trace]) -> None:
    """The oracle itself can fail: a rank off by one, a KL off by a thousandth, are seen."""
    import msgspec

    response = traces[0].responses[-1]
    name, score = next(iter(response.scores.items()))
    for change in (
        {"rank": [rank + 1 for rank in score.rank]},
        {"kl_author_scorer": [value * 1.001 + 1e-5 for value in score.kl_author_scorer]},
        {"top": [top[::-1] for top in score.top]},
    ):
        wrong = msgspec.structs.replace(response, scores={name: msgspec.structs.replace(score, **change)})
        with pytest.raises(AssertionError):
            oracle.check_trace(msgspec.structs.replace(traces[0], responses=[wrong]), world.models)
