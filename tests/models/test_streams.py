"""A stream's logits against one full forward pass, for every family and way of cutting."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    assert (engine.dtype, engine.device, engine.chunk) == ("float32", "cpu", 32)


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
