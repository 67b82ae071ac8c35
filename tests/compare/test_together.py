"""Several prompts decoded together say what each would alone, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itx.compare.comparison import Comparison
from itx.compare.events import Again, Emitted, Event, Finished, Started, Told
from itx.compare.load import load_comparison
from itx.compare.request import Request
from itx.records import Decoding, GivenResponse, Prompt, Trace
from tests.compare.tiny import after, ask, check_agreement, load, never
from tests.support.llamas import build_tokenizer, build_wide_tokenizer, write_llama

TEXTS = ["river", "Tell me about towns.", "a", "Bread? " * 5, "ü 🌸", "battle of the", "x" * 40]
PROMPTS = [Prompt(id=str(number), prompt=text) for number, text in enumerate(TEXTS)]


def together(
    comparison: Comparison, prompts: Sequence[Prompt], cancel: Callable[[], bool] = never
) -> tuple[list[Told], list[Trace]]:
    """Return all events, and the traces in the order told, having checked that those of each prompt agree."""
    told = list(comparison.compare_together(prompts, cancel))
    traces = []
    for prompt in prompts:
        events: list[Event] = []
        for each in told:
            if each.prompt is prompt and isinstance(each.event, Again):
                # What was told before is void; the contexts stand.
                events = events[:1]
            elif each.prompt is prompt:
                assert not isinstance(each.event, Again)
                events.append(each.event)
        assert isinstance(events[0], Started)
        assert sum(isinstance(event, Started) for event in events) == 1
        if not isinstance(events[-1], Finished):
            continue
        trace = events[-1].trace
        traces.append(trace)
        assert trace.prompt_id == prompt.id
        if trace.error is None:
            check_agreement(events, trace)
    order = [each.event.trace.prompt_id for each in told if isinstance(each.event, Finished)]
    assert order == [trace.prompt_id for trace in traces]
    return told, traces


@settings(max_examples=40)
@given(
    prompts=st.lists(st.sampled_from(PROMPTS), min_size=1, max_size=6, unique_by=lambda prompt: prompt.id),
    chunk=st.integers(1, 9),
    length=st.integers(1, 25),
    ends=st.sampled_from([0, 3.4, 5]),
    temperature=st.sampled_from([0.0, 0.0, 0.8]),
)
def test_together_is_as_alone(prompts: list[Prompt], chunk: int, length: int, ends: float, temperature: float) -> None:
    decoding = Decoding(max_new_tokens=length, temperature=temperature, seed=3)
    wanted = {"chunk": chunk, "authors": "all", "decoding": decoding}
    models = (f"tiny:1?tuned=0.3&ends={ends}", f"tiny:1?tuned=0.6&ends={ends}")
    alone = load(*models, base=f"tiny:1?ends={ends}", **wanted)
    comparison = load(*models, base=f"tiny:1?ends={ends}", batch_size=8, **wanted)
    assert comparison.run.engine.batch_size == 8
    _, traces = together(comparison, prompts)
    assert traces == [ask(alone, prompt)[1] for prompt in prompts]


def test_responses_end_where_they_would_alone() -> None:
    """Some by EOS at different positions, so that the batch is narrowed again and again."""
    models, base = "tiny:1?tuned=0.3&ends=3.4", "tiny:1?ends=3.4"
    wanted = {"authors": "all", "chunk": 5, "decoding": Decoding(max_new_tokens=40, temperature=0.9)}
    _, traces = together(load(models, base=base, batch_size=8, **wanted), PROMPTS)
    assert traces == [ask(load(models, base=base, **wanted), prompt)[1] for prompt in PROMPTS]
    lengths = {len(response.ids) for trace in traces for response in trace.responses}
    assert len(lengths) > 5
    assert {response.finish for trace in traces for response in trace.responses} == {"eos", "length"}


def test_given_responses_are_scored_together() -> None:
    given = [
        Prompt(
            id=prompt.id,
            prompt=prompt.prompt,
            given=[GivenResponse(text="water " * number), GivenResponse(author="base", text="stone")],
        )
        for number, prompt in enumerate(PROMPTS)
    ]
    comparison = load("tiny:1?tuned=0.3", batch_size=8, chunk=4)
    _, traces = together(comparison, given)
    assert traces == [ask(load("tiny:1?tuned=0.3", chunk=4), prompt)[1] for prompt in given]
    assert all(response.given for trace in traces for response in trace.responses)


def test_a_prompt_that_fails_takes_no_other_with_it() -> None:
    long = Prompt(id="long", prompt="y" * 200)
    prompts = [PROMPTS[0], long, *PROMPTS[1:4]]
    wanted = {"base": "tiny:1?window=120", "authors": "all"}
    comparison = load("tiny:1?tuned=0.3&window=120", batch_size=8, **wanted)
    _, traces = together(comparison, prompts)
    alone = load("tiny:1?tuned=0.3&window=120", **wanted)
    assert traces == [ask(alone, prompt)[1] for prompt in prompts]
    assert [trace.prompt_id for trace in traces if trace.error is not None] == ["long"]


@pytest.mark.parametrize("fail", [30, 60, 100, 130])
def test_memory_that_runs_out_makes_batches_smaller(fail: int) -> None:
    """A stream of tuned fails at its n-th id: for long prompts always, and the others are answered as alone."""
    models = (f"tiny:1?tuned=0.3&fail={fail}",)
    comparison = load(*models, length=20, authors="all", batch_size=8)
    told, traces = together(comparison, PROMPTS)
    alone = load(*models, length=20, authors="all")
    assert traces == [ask(alone, prompt)[1] for prompt in PROMPTS]
    failed = [trace for trace in traces if trace.error is not None]
    assert bool(failed) == any(isinstance(each.event, Again) for each in told)


@given(st.integers(0, 200))
def test_a_cancel_keeps_what_was_emitted(count: int) -> None:
    comparison = load("tiny:1?tuned=0.3", length=12, authors="all", batch_size=8, chunk=5)
    told, traces = together(comparison, PROMPTS[:4], after(count))
    whole = [ask(load("tiny:1?tuned=0.3", length=12, authors="all", chunk=5), prompt)[1] for prompt in PROMPTS[:4]]
    assert [trace.prompt_id for trace in traces] == [trace.prompt_id for trace in whole[: len(traces)]]
    for trace, full in zip(traces, whole, strict=False):
        for response, other in zip(trace.responses, full.responses, strict=True):
            kept = len(response.ids)
            assert response.ids == other.ids[:kept]
            assert response.finish == "cancelled" or response == other
            for name, score in response.scores.items():
                assert score.rank == other.scores[name].rank[:kept]
                assert score.kl_author_scorer == other.scores[name].kl_author_scorer[:kept]
    emitted = sum(isinstance(each.event, Emitted) for each in told)
    assert emitted == sum(len(response.ids) for trace in traces for response in trace.responses)


def test_an_engine_that_can_only_do_fewer_says_so() -> None:
    said: list[str] = []
    comparison = load_comparison(
        Request(base="tiny:1", tuned=["tiny:1?tuned=0.3&together=2"], command=[], batch_size=8),
        lambda step: said.append(step.what),
    )
    assert comparison.run.engine.batch_size == 2
    assert any("decodes 2 prompts at a time and not 8" in what for what in said)


def test_models_of_other_tokenizers_are_asked_together(tmp_path: Path) -> None:
    """A vocabulary has no place for many ids of the other's; texts are read when they are whole."""
    wide = write_llama(tmp_path / "wide", tokenizer=build_wide_tokenizer(40_000))
    narrow = write_llama(tmp_path / "narrow", seed=1, tokenizer=build_tokenizer())

    def begin(batch: int) -> Comparison:
        wanted = {"devices": {"": "cpu"}, "align": "bytes", "decoding": Decoding(max_new_tokens=8)}
        request = Request(base=str(wide), tuned=[f"other={narrow}"], command=[], batch_size=batch, **wanted)
        return load_comparison(request, lambda step: None)

    told = begin(3).compare_together(PROMPTS[:3], never)
    traces = [each.event.trace for each in told if isinstance(each.event, Finished)]
    single_events = [event for prompt in PROMPTS[:3] for event in begin(1).compare(prompt, never)]
    alone = [event.trace for event in single_events if isinstance(event, Finished)]
    for trace, other in zip(traces, alone, strict=True):
        assert trace.error is None
        assert trace.contexts == other.contexts
        for response, single in zip(trace.responses, other.responses, strict=True):
            assert (response.ids, response.finish) == (single.ids, single.finish)
            for name, score in response.scores.items():
                assert score.rank == single.scores[name].rank
                assert [span[:4] for span in score.spans] == [span[:4] for span in single.scores[name].spans]
