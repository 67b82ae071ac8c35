"""Models that are loaded one after the other say what they do together, to the digit; never are two alive."""

from __future__ import annotations

import gc
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itx.compare.comparison import Comparison
from itx.compare.load import load_comparison
from itx.compare.relay import MOST, choose_size
from itx.compare.request import Request
from itx.errors import MemoryExhaustedError, UsageError
from itx.models import seats
from itx.models.contract import Rows
from itx.models.reduction import NumpyArithmetic
from itx.models.tiny import TinyEngine
from itx.models.torch.engine import TorchEngine
from itx.records import Decoding, GivenResponse, Prompt, Trace
from itx.runs.facts import Fact
from tests.compare.test_together import PROMPTS, together
from tests.compare.tiny import after, ask, load, never
from tests.support.llamas import write_adapter, write_llama, write_tuned


@pytest.fixture(autouse=True)
def spool_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Rows go to a folder that is empty in the end."""
    folder = tmp_path_factory.mktemp("spool")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny engines go with their last name; looking for circles takes longer than all they do."""
    monkeypatch.setattr(seats, "_let_go", lambda: None)


class Watch:
    """Counts the engines that are alive."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
        self.alive: set[int] = set()
        self.most = 0
        self.made = 0
        original = kind.__init__

        def begin(engine: Any, *arguments: Any, **options: Any) -> None:
            original(engine, *arguments, **options)
            number = self.made
            self.made += 1
            self.alive.add(number)
            weakref.finalize(engine, self.alive.discard, number)
            self.most = max(self.most, len(self.alive))

        monkeypatch.setattr(kind, "__init__", begin)


TUNED = ("tiny:1?tuned=0.3", "tiny:1?tuned=0.6")


@pytest.mark.usefixtures("quick")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 5),
    chunk=st.integers(1, 9),
    length=st.integers(1, 20),
    temperature=st.sampled_from([0.0, 0.9]),
    authors=st.sampled_from(["all", "tuned", "base"]),
    models=st.integers(1, 2),
)
def test_in_turn_is_as_together(
    count: int, chunk: int, length: int, temperature: float, authors: str, models: int
) -> None:
    wanted = {
        "chunk": chunk,
        "authors": authors,
        "decoding": Decoding(max_new_tokens=length, temperature=temperature, seed=5),
    }
    _, traces = together(load(*TUNED[:models], sequential=True, **wanted), PROMPTS[:count])
    assert traces == [ask(load(*TUNED[:models], **wanted), prompt)[1] for prompt in PROMPTS[:count]]


def test_never_are_two_models_loaded_and_each_is_loaded_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, TinyEngine)
    comparison = load(*TUNED, sequential=True, authors="all", length=8)
    made = watch.made
    together(comparison, PROMPTS)
    assert watch.most == 1
    # Of three models the last loaded is asked first; then each of the others, and back again.
    assert watch.made - made <= 4
    del comparison
    gc.collect()
    assert not watch.alive


def test_given_responses_are_scored_in_turn() -> None:
    given = [
        Prompt(
            id=prompt.id,
            prompt=prompt.prompt,
            given=[GivenResponse(text="water " * number), GivenResponse(author="base", text="stone")],
        )
        for number, prompt in enumerate(PROMPTS)
    ]
    comparison = load(*TUNED, sequential=True)
    assert comparison.count_together(given) == MOST
    _, traces = together(comparison, given)
    assert traces == [ask(load(*TUNED), prompt)[1] for prompt in given]


def test_a_prompt_that_fails_takes_no_other_with_it() -> None:
    prompts = [PROMPTS[0], Prompt(id="long", prompt="y" * 200), *PROMPTS[1:4]]
    wanted = {"base": "tiny:1?window=120", "authors": "all"}
    models = ("tiny:1?tuned=0.3&window=120", "tiny:1?tuned=0.6&window=120&fail=60")
    _, traces = together(load(*models, sequential=True, **wanted), prompts)
    assert traces == [ask(load(*models, **wanted), prompt)[1] for prompt in prompts]
    assert len({trace.error for trace in traces}) >= 2


@pytest.mark.usefixtures("quick")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 150))
def test_a_cancel_keeps_what_was_emitted(count: int) -> None:
    wanted = {"length": 10, "authors": "all", "chunk": 4}
    _, traces = together(load(*TUNED, sequential=True, **wanted), PROMPTS[:4], after(count))
    whole = {prompt.id: ask(load(*TUNED, **wanted), prompt)[1] for prompt in PROMPTS[:4]}
    for trace in traces:
        assert trace.error is None
        for response in trace.responses:
            other = whole[trace.prompt_id].response(response.author)
            assert other is not None
            kept = len(response.ids)
            assert response.ids == other.ids[:kept]
            assert response.finish == "cancelled" or response == other
            for name, score in response.scores.items():
                assert score.js == other.scores[name].js[:kept]


FACTS = [Fact(id=str(number), prompt=text, answer=" a", wrong=[" b"]) for number, text in enumerate("xyz")]


def test_facts_are_asked_model_by_model(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [load(*TUNED).prober.probe(fact) for fact in FACTS]
    watch = Watch(monkeypatch, TinyEngine)
    comparison = load(*TUNED, sequential=True)
    made = watch.made
    assert list(comparison.prober.probe_all(FACTS, never)) == [
        probe.make(probe.fact, {name: probe.models[name] for name in ("base", "tuned1", "tuned2")})
        for probe in expected
    ]
    assert watch.made - made <= 2
    assert watch.most == 1
    assert list(comparison.prober.probe_all(FACTS, lambda: True)) == []


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("relay")
    base = write_llama(root / "base")
    write_tuned(base, root / "full")
    write_tuned(base, root / "other", seed=4)
    write_adapter(base, root / "lora")
    return root


def load_weights(root: Path, tuned: Sequence[str], **wanted: Any) -> Comparison:
    return load_comparison(
        Request(
            base=str(root / "base"),
            tuned=[f"{name}={root / name}" for name in tuned],
            command=[],
            decoding=Decoding(max_new_tokens=12),
            devices={"": "cpu"},
            chunk=5,
            **wanted,
        ),
        lambda step: None,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch_models_in_turn_are_as_together(weights: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapters sit with their base; in bfloat16 the rows that were on disk are the same to the bit."""
    tuned = ("full", "lora", "other")
    together_loaded = load_weights(weights, tuned, dtype=dtype)
    expected: list[Trace] = [ask(together_loaded, prompt)[1] for prompt in PROMPTS[:3]]
    floors = together_loaded.run.floors
    del together_loaded
    gc.collect()
    watch = Watch(monkeypatch, TorchEngine)
    comparison = load_weights(weights, tuned, dtype=dtype, sequential=True)
    _, traces = together(comparison, PROMPTS[:3])
    assert traces == expected
    assert comparison.run.floors == floors
    # Base with its adapter, or one of the two others.
    assert watch.most == 2


def test_what_cannot_be_in_turn_is_said(weights: Path) -> None:
    with pytest.raises(UsageError, match="Adapters share"):
        load_weights(weights, ["lora"], sequential=True)
    with pytest.raises(UsageError, match="--batch-size exclude"):
        load_weights(weights, ["full"], sequential=True, batch_size=2)
    with pytest.raises(UsageError, match="--align bytes exclude"):
        load_weights(weights, ["full"], sequential=True, align="bytes")


def test_the_disk_bounds_how_many_prompts_are_asked_together() -> None:
    engines = [TinyEngine(1, name="a", reference="a"), TinyEngine(1, name="b", reference="b")]
    one = 2 * 10 * engines[0].vocab_size * 4
    assert choose_size(engines, 10, 5 * one) == 5
    assert choose_size(engines, 10, 10**12) == MOST
    with pytest.raises(MemoryExhaustedError, match="TMPDIR"):
        choose_size(engines, 10, one - 1)


def test_a_full_disk_is_the_prompts_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(self: object, *arguments: object) -> None:
        raise OSError(28, "No space left on device")

    class Full(np.ndarray):
        tofile = fill

    export: Callable[[NumpyArithmetic, Rows], Any] = NumpyArithmetic.export
    comparison = load("tiny:1?tuned=0.3", sequential=True, length=5)
    monkeypatch.setattr(NumpyArithmetic, "export", lambda self, rows: export(self, rows).view(Full))
    _, traces = together(comparison, PROMPTS[:1])
    assert traces[0].error is not None
    assert "TMPDIR" in traces[0].error
