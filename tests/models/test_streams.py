"""A stream's logits against one full forward pass, for every family and way of cutting."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import Cache

from itx.models.torch.engine import TorchEngine
from tests.models import architectures
from tests.models.loading import load


@pytest.fixture(scope="module", params=architectures.FAMILIES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TorchEngine:
    folder = architectures.write(request.param, tmp_path_factory.mktemp("streams") / request.param)
    return load(folder)[0][0]


def full_pass(engine: TorchEngine, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return engine.model(torch.tensor([ids]), use_cache=False).logits[0]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_extending_in_chunks_equals_one_pass(engine: TorchEngine, cuts: list[int], seed: int) -> None:
    """Beyond Gemma 3's sliding window too: chunks longer and shorter than it, before and after it is full."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 390, (min(sum(cuts), 120),), generator=generator).tolist()
    expected = full_pass(engine, ids)
    stream, start = engine.stream(), 0
    for cut in cuts:
        part = ids[start : start + cut]
        if not part:
            break
        rows = stream.extend(part, keep=len(part))
        assert torch.allclose(rows, expected[start : start + len(part)], atol=2e-4)
        start += len(part)


def test_only_the_last_rows_are_kept(engine: TorchEngine) -> None:
    ids = list(range(10, 40))
    rows = engine.stream().extend(ids, keep=3)
    assert rows.shape == (3, engine.vocab_size)
    assert torch.allclose(rows, full_pass(engine, ids)[-3:], atol=2e-4)
    assert engine.stream().extend(ids).shape == (1, engine.vocab_size)


def test_what_is_read_at_once_is_what_a_fresh_stream_says(engine: TorchEngine) -> None:
    ids = torch.randint(3, 390, (60,), generator=torch.Generator().manual_seed(1)).tolist()
    for keep in (1, 7, 60):
        rows = engine.read(ids, keep)
        assert rows.shape == (keep, engine.vocab_size)
        assert torch.equal(rows, engine.stream().extend(ids, keep=keep))


def test_streams_of_one_engine_do_not_meet(engine: TorchEngine) -> None:
    one, other = engine.stream(), engine.stream()
    one.extend([5, 6, 7])
    other.extend([9, 10, 11, 12])
    assert torch.allclose(one.extend([8]), full_pass(engine, [5, 6, 7, 8])[-1:], atol=2e-4)
    assert torch.allclose(other.extend([13]), full_pass(engine, [9, 10, 11, 12, 13])[-1:], atol=2e-4)


def test_rows_are_in_the_weights_own_dtype_and_need_no_gradient(engine: TorchEngine) -> None:
    rows = engine.stream().extend([5, 6], keep=2)
    assert rows.dtype == torch.float32
    assert not rows.requires_grad
    assert (engine.dtype, engine.device, engine.chunk) == ("float32", "cpu", 48)


@pytest.mark.parametrize("family", architectures.FAMILIES)
def test_no_library_warns(family: str, tmp_path: Path) -> None:
    """From the first file read to the last token, of the base and of an adapter: a warning would soil the terminal."""
    base = architectures.write(family, tmp_path / "base")
    adapter = architectures.adapt(base, tmp_path / "adapter")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engines, _ = load(base, adapter)
        for engine in engines:
            stream = engine.stream()
            stream.extend([5, 6, 7])
            stream.extend([8])


def test_the_caches_older_name_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that calls its cache as an older transformers, or code of its own, does."""
    (engine,), _ = load(architectures.write("llama", tmp_path / "llama"))
    expected = full_pass(engine, [5, 6, 7, 8])
    forward = engine.model.forward
    name = "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"

    def older(input_ids: torch.Tensor, past_key_values: Cache, use_cache: bool) -> Any:
        return forward(input_ids, use_cache=use_cache, **{name: past_key_values})

    monkeypatch.setattr(engine.model, "forward", older)
    vocabulary = engine.vocabulary
    again = TorchEngine(engine.model, vocabulary, name="older", reference="", fingerprint="", eos=engine.eos)
    stream = again.stream()
    stream.extend([5, 6, 7])
    assert torch.allclose(torch.as_tensor(stream.extend([8])), expected[-1:], atol=2e-4)


def test_the_window_is_read_from_the_config(tmp_path: Path) -> None:
    (engine,), _ = load(architectures.write("gpt2", tmp_path / "gpt2"))
    assert engine.window == 160


def test_memory_that_runs_out_is_named(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from itx.errors import MemoryExhaustedError

    def exhaust(*arguments: object, **options: object) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"
        )

    stream = engine.stream()
    monkeypatch.setattr(engine.model, "forward", exhaust)
    with pytest.raises(MemoryExhaustedError, match="not enough memory"):
        stream.extend([5])


def test_other_errors_are_not_taken_for_exhausted_memory(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    stream = engine.stream()
    monkeypatch.setattr(engine.model, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        stream.extend([5])
