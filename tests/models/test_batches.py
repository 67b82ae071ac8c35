"""A batch against one full forward pass of each sequence alone, for every family and way of cutting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itx.errors import MemoryExhaustedError
from itx.models.contract import Engine
from itx.models.tiny import TinyEngine
from itx.models.torch.engine import TorchEngine
from tests.models import architectures
from tests.models.loading import load


@pytest.fixture(scope="module", params=architectures.FAMILIES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TorchEngine:
    folder = architectures.write(request.param, tmp_path_factory.mktemp("batches") / request.param)
    return load(folder)[0][0]


def full_pass(engine: TorchEngine, ids: list[int]) -> np.ndarray:
    with torch.inference_mode():
        return engine.model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


def draw_ids(count: int, lengths: list[int], seed: int) -> list[list[int]]:
    """Return ``count`` sequences of 120 ids each for every length that a context may have."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 390, (length + 90,), generator=generator).tolist() for length in lengths[:count]]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contexts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    data=st.data(),
)
def test_a_batch_equals_one_pass_of_each(
    engine: TorchEngine, contexts: list[int], cuts: list[int], data: st.DataObject
) -> None:
    """Contexts of any lengths, some fed short at the end and left out: beyond Gemma 3's sliding window of 12, too."""
    ids = draw_ids(len(contexts), contexts, data.draw(st.integers(0, 1000)))
    expected = [full_pass(engine, sequence) for sequence in ids]
    batch = engine.batch(len(ids))
    there = list(range(len(ids)))
    seen = [0] * len(ids)
    for number, cut in enumerate([0, *cuts]):
        sizes = [contexts[place] if number == 0 else data.draw(st.integers(1, cut)) for place in there]
        sizes = [size if data.draw(st.booleans()) or number == 0 else cut for size in sizes]
        keep = [data.draw(st.integers(1, size)) for size in sizes]
        fed = [ids[place][seen[place] : seen[place] + size] for place, size in zip(there, sizes, strict=True)]
        rows = engine.arithmetic.split(batch.extend(fed, keep))
        assert len(rows) == sum(keep)
        for place, size, kept in zip(there, sizes, keep, strict=True):
            found = np.concatenate([np.asarray(row) for row in rows[:kept]])
            del rows[:kept]
            seen[place] += size
            assert np.allclose(found, expected[place][seen[place] - kept : seen[place]], atol=3e-4)
        going = [place for place, size in enumerate(sizes) if size == max(sizes) or number == 0]
        if len(going) < len(there):
            batch.select(going)
            there = [there[place] for place in going]


def test_a_batch_may_be_at_the_end_of_a_window(tmp_path: Path) -> None:
    """GPT-2 has no embedding for a position beyond its window; what a short sequence is padded with needs none."""
    engine = load(architectures.write("gpt2", tmp_path / "gpt2"))[0][0]
    assert engine.window == 160
    long, short = list(range(3, 163)), list(range(5, 55))
    batch = engine.batch(2)
    batch.extend([long[:158], short[:20]], [1, 1])
    rows = batch.extend([long[158:], short[20:]], [2, 30])
    assert np.allclose(rows[:2], full_pass(engine, long)[-2:], atol=3e-4)
    assert np.allclose(rows[2:], full_pass(engine, short)[-30:], atol=3e-4)


def test_batches_on_shared_weights_do_not_meet(tmp_path: Path) -> None:
    base = architectures.write("gemma3", tmp_path / "base")
    engines, _ = load(base, architectures.adapt(base, tmp_path / "adapter"))
    ids = draw_ids(3, [4, 19, 11], 7)
    batches = [engine.batch(3) for engine in engines]
    for start, stop in ((0, 15), (15, 30), (30, 31)):
        for engine, batch in zip(engines, batches, strict=True):
            rows = batch.extend([sequence[start:stop] for sequence in ids], [1, 1, 1])
            for row, sequence in zip(rows, ids, strict=True):
                assert np.allclose(row, full_pass(engine, sequence[:stop])[-1], atol=3e-4)


@pytest.mark.parametrize("kind", ["tiny", "torch"])
def test_split_rows_are_views_and_the_best_of_each_is_the_lowest_id(kind: str, engine: TorchEngine) -> None:
    arithmetic = TinyEngine(1, name="a", reference="a").arithmetic if kind == "tiny" else engine.arithmetic
    values = np.zeros((4, 300), np.float32)
    values[0, [7, 250]] = 3
    values[1, 299] = 1
    values[3, :] = -np.inf
    values[3, 5] = -4
    rows: Any = values if kind == "tiny" else torch.from_numpy(values)
    assert arithmetic.argmaxes(rows) == [7, 299, 0, 5]
    parts = arithmetic.split(rows)
    assert [arithmetic.argmax(part) for part in parts] == [7, 299, 0, 5]
    values[2, 9] = 1
    assert arithmetic.argmax(parts[2]) == 9
    assert np.array_equal(arithmetic.export(arithmetic.stack(parts)), values)


def test_tiny_batches_are_its_streams() -> None:
    tiny: Engine = TinyEngine(3, name="a", reference="a")
    batch = tiny.batch(3)
    ids = [[1, 2, 3], [4], [5, 6]]
    rows = tiny.arithmetic.export(batch.extend(ids, [2, 1, 1]))
    streams = [tiny.stream() for _ in ids]
    expected = [tiny.arithmetic.export(stream.extend(part)) for stream, part in zip(streams, ids, strict=True)]
    assert np.array_equal(rows[[1, 2, 3]], np.concatenate(expected))
    batch.select([0, 2])
    rows = tiny.arithmetic.export(batch.extend([[7], [8]], [1, 1]))
    assert np.array_equal(rows[1:], tiny.arithmetic.export(streams[2].extend([8])))


def test_memory_that_runs_out_names_the_batch(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*arguments: object, **options: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")

    batch = engine.batch(2)
    monkeypatch.setattr(engine.model, "forward", exhaust)
    with pytest.raises(MemoryExhaustedError, match="--batch-size"):
        batch.extend([[5], [6]], [1, 1])


def test_weights_that_cannot_tell_padding_go_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (engine,), _ = load(architectures.write("llama", tmp_path / "llama"))
    assert engine.together is None
    forward = engine.model.forward

    def plain(input_ids: torch.Tensor, past_key_values: Any = None, use_cache: bool = True) -> Any:
        return forward(input_ids, use_cache=use_cache, cache=past_key_values)

    monkeypatch.setattr(engine.model, "forward", plain)
    again = TorchEngine(engine.model, engine.vocabulary, name="", reference="", fingerprint="", eos=engine.eos)
    assert again.together == 1
