"""The llama.cpp engine on tiny random files, against the same weights computed in float64."""

from __future__ import annotations

import gc
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from itx.errors import MismatchError, UsageError, WeightsError, WindowError
from itx.models.contract import Engine
from itx.models.llama import batch as llama_batch
from itx.models.load import load_engines
from itx.models.options import Options
from itx.models.reduction import NumpyArithmetic
from itx.models.reference import Reference, parse_reference
from tests.reference import oracle
from tests.reference.asking import QUESTIONS, give
from tests.reference.asking import compare as compare_with
from tests.support import ggufs

pytest.importorskip("llama_cpp")

ALPHA = 6.0
BASE = ggufs.draw_tensors()
LORA = ggufs.draw_lora(BASE)
MERGED = ggufs.merge_lora(BASE, LORA, ALPHA)
FULL = ggufs.move_tensors(BASE)
WEIGHTS = {"base": BASE, "lora": MERGED, "merged": MERGED, "full": FULL}
IDS = [ggufs.BOS, *np.random.default_rng(5).integers(3, len(ggufs.VOCABULARY), 299).tolist()]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ggufs")
    return {
        "base": ggufs.write_model(folder / "base.gguf", BASE),
        "lora": ggufs.write_lora(folder / "lora.gguf", LORA, alpha=ALPHA),
        "merged": ggufs.write_model(folder / "merged.gguf", MERGED),
        "full": ggufs.write_model(folder / "full.gguf", FULL),
        "q8": ggufs.write_model(folder / "q8.gguf", BASE, quantised=True),
    }


def refer(path: Path, name: str) -> Reference:
    """Return what the command line makes of ``name=PATH``."""
    return parse_reference(str(path), name, {})


def load(files: dict[str, Path], *names: str, **options: int) -> dict[str, Engine]:
    """Load files by name, base first, with one thread."""
    wanted = Options(**{"threads": 1, **options})
    engines = load_engines([refer(files[name], name) for name in names], wanted, lambda *told: None).engines
    return dict(zip(names, engines, strict=True))


@pytest.fixture(scope="module")
def engines(files: dict[str, Path]) -> dict[str, Engine]:
    return load(files, "base", "lora", "merged", "full")


compare = partial(compare_with, threads=1)
"""Two threads of llama.cpp wait for each other by spinning: beside other tests that takes seconds."""


def feed(engine: Engine, ids: list[int], sizes: list[int]) -> NDArray[np.float32]:
    """Return the logits behind every id, fed to a fresh stream in parts of these sizes (the last one repeats)."""
    stream = engine.stream()
    parts, at, turn = [], 0, 0
    while at < len(ids):
        size = min(sizes[min(turn, len(sizes) - 1)], len(ids) - at)
        parts.append(engine.arithmetic.export(stream.extend(ids[at : at + size], keep=size)).copy())
        at, turn = at + size, turn + 1
    return np.concatenate(parts)


def reduce(author: NDArray[np.float32], scorer: NDArray[np.float32], ids: list[int]) -> dict[str, list[float]]:
    (score,) = NumpyArithmetic().reduce(author, [scorer], ids, author.shape[1]).scores
    return {name: getattr(score, name) for name in ("kl_author_scorer", "kl_scorer_author", "js", "rank", "logp")}


@pytest.mark.parametrize("name", ["base", "lora", "merged", "full"])
def test_logits_are_those_of_float64(engines: dict[str, Engine], name: str) -> None:
    expected = ggufs.compute_logits(WEIGHTS[name], IDS)
    found = feed(engines[name], IDS, [1000])
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (300, engines[name].vocab_size)
    assert np.abs(found - expected).max() < 1e-4
    assert np.allclose(ggufs.normalise(found), ggufs.normalise(expected), atol=1e-4)


@pytest.mark.parametrize("size", range(1, 18))
def test_every_chunk_size_computes_the_same(engines: dict[str, Engine], size: int) -> None:
    """A prefill of 140 positions is longer than llama.cpp's batch of 128; then chunks across the same boundary."""
    ids = IDS[:200]
    expected = ggufs.compute_logits(BASE, ids)
    assert np.abs(feed(engines["base"], ids, [140, size]) - expected).max() < 1e-4


@pytest.mark.parametrize("keep", [1, 2, 100, 127, 128, 129, 172, 299, 300])
def test_rows_kept_of_several_batches_are_the_last(engines: dict[str, Engine], keep: int) -> None:
    stream = engines["base"].stream()
    found = engines["base"].arithmetic.export(stream.extend(IDS, keep=keep))
    assert found.shape[0] == keep
    assert np.abs(found - feed(engines["base"], IDS, [300])[-keep:]).max() < 2e-5


@pytest.mark.parametrize("author", ["base", "full", "lora"])
def test_figures_are_those_of_the_reference(engines: dict[str, Engine], author: str) -> None:
    scorer = "full" if author == "base" else "base"
    rows = [feed(engines[name], IDS[:-1], [40, 16]) for name in (author, scorer)]
    found = reduce(rows[0], rows[1], IDS[1:])
    log_probs = [ggufs.normalise(ggufs.compute_logits(WEIGHTS[name], IDS[:-1])) for name in (author, scorer)]
    expected = oracle.figures(log_probs[0], log_probs[1], IDS[1:])
    for name in ("kl_author_scorer", "kl_scorer_author", "js"):
        oracle.check_divergence(name, found[name], getattr(expected, name))
    ranks = np.asarray(found["rank"])
    assert ((ranks >= expected.lowest_rank) & (ranks <= expected.highest_rank)).all()
    assert (expected.lowest_rank == expected.highest_rank).mean() > 0.95
    assert np.mean(expected.kl_author_scorer) > 0.1, "the tuning hardly does anything"


def test_a_whole_comparison_agrees_with_the_reference(files: dict[str, Path]) -> None:
    """Base, an attached LoRA and a file of its own through the loop, every model author and scorer."""
    tuned: dict[str, Path | str] = {name: files[name] for name in ("lora", "full")}
    run, traces = compare(files["base"], tuned, QUESTIONS, length=40)
    assert [model.engine for model in run.models] == ["llama"] * 3
    assert [model.method for model in run.models] == [None, "lora", "full"]
    assert run.warnings == []
    compared = 0
    finishes = set()
    for trace in traces:
        assert trace.error is None, trace.error
        assert trace.contexts["base"].ids.count(ggufs.BOS) == 1
        context = trace.contexts["base"].ids
        for response in trace.responses:
            finishes.add(response.finish)
            log_probs = {name: ggufs.compute_log_probs(WEIGHTS[name], context, response.ids) for name in WEIGHTS}
            oracle.check_greedy(response, log_probs[response.author])
            assert set(response.scores) == {"base", "lora", "full"} - {response.author}
            for name, score in response.scores.items():
                oracle.check_score(response, score, log_probs[response.author], log_probs[name])
                compared += len(response.ids)
    assert compared > 300
    assert finishes <= {"eos", "length"}


@pytest.mark.parametrize("batch", [2, 6])
def test_prompts_decoded_together_agree_with_the_reference(files: dict[str, Path], batch: int) -> None:
    tuned: dict[str, Path | str] = {"lora": files["lora"], "full": files["full"]}
    _, alone = compare(files["base"], tuned, QUESTIONS)
    run, traces = compare(files["base"], tuned, QUESTIONS, batch=batch)
    assert run.engine.batch_size == batch
    for trace, other in zip(traces, alone, strict=True):
        for response, single in zip(trace.responses, other.responses, strict=True):
            assert (response.ids, response.finish) == (single.ids, single.finish)
            for name, score in response.scores.items():
                assert score.rank == single.scores[name].rank
                for column in ("kl_author_scorer", "kl_scorer_author", "js"):
                    oracle.check_divergence(
                        column, getattr(score, column), np.array(getattr(single.scores[name], column))
                    )


def test_long_answers_cross_batches_and_grow(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts of 32 positions grow under a comparison: all still agrees with the reference."""
    monkeypatch.setattr("itx.models.llama.engine.FIRST_SIZE", 32)
    _, traces = compare(files["base"], {"lora": files["lora"]}, ["the battle of bread"], length=150, chunk=7)
    context = traces[0].contexts["base"].ids
    base, lora = traces[0].responses
    for response, name in ((base, "lora"), (lora, "base")):
        assert len(context) + len(response.ids) > 64, "two contexts hold it"
        log_probs = [ggufs.compute_log_probs(WEIGHTS[each], context, response.ids) for each in (response.author, name)]
        oracle.check_score(response, response.scores[name], *log_probs)
    assert len(context) + len(base.ids) > 128


def test_a_lora_attached_is_the_lora_merged(engines: dict[str, Engine]) -> None:
    attached, merged, base = (feed(engines[name], IDS, [16]) for name in ("lora", "merged", "base"))
    assert np.abs(ggufs.normalise(attached) - ggufs.normalise(merged)).max() < 1e-5 * np.abs(merged).max()
    found = reduce(attached, merged, IDS)
    assert max(found["kl_author_scorer"]) < 1e-5
    assert np.mean(reduce(attached, base, IDS)["kl_author_scorer"]) > 0.1


def test_without_alpha_a_lora_is_scaled_by_one(files: dict[str, Path], tmp_path: Path) -> None:
    plain = dict(files, lora=ggufs.write_lora(tmp_path / "plain.gguf", LORA, alpha=None))
    found = feed(load(plain, "base", "lora")["lora"], IDS[:50], [50])
    expected = ggufs.compute_logits(ggufs.merge_lora(BASE, LORA, 4.0), IDS[:50])
    assert np.abs(found - expected).max() < 1e-4


def test_two_loras_on_one_base_stay_apart(files: dict[str, Path], tmp_path: Path) -> None:
    other = ggufs.draw_lora(BASE, rank=2, seed=9)
    both = dict(files, second=ggufs.write_lora(tmp_path / "second.gguf", other, alpha=2.0))
    found = load(both, "base", "lora", "second")
    assert found["lora"].adapter == str(both["lora"])
    assert found["base"].adapter is None
    for name, weights in (("second", ggufs.merge_lora(BASE, other, 2.0)), ("lora", MERGED), ("base", BASE)):
        assert np.abs(feed(found[name], IDS[:60], [60]) - ggufs.compute_logits(weights, IDS[:60])).max() < 1e-4


def test_the_base_is_bitwise_itself_beside_an_adapter(files: dict[str, Path]) -> None:
    alone = feed(load(files, "base")["base"], IDS, [50, 8])
    pair = load(files, "base", "lora")
    feed(pair["lora"], IDS[:100], [16])
    stream = pair["lora"].stream()
    stream.extend(IDS[:5])
    assert np.array_equal(feed(pair["base"], IDS, [50, 8]), alone)


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 40), min_size=3, max_size=12))
def test_streams_in_random_turns_change_nothing(engines: dict[str, Engine], seed: int, sizes: list[int]) -> None:
    """Bitwise what each is alone in the same chunks: two streams of base, one with the LoRA, one of full."""
    names = ["base", "base", "lora", "full"]
    texts = [IDS[number * 7 :][: sum(sizes)] for number in range(len(names))]
    alone = [feed(engines[name], ids, sizes) for name, ids in zip(names, texts, strict=True)]
    streams = [engines[name].stream() for name in names]
    found: list[list[NDArray[np.float32]]] = [[] for _ in names]
    turns = [number for number in range(len(names)) for _ in sizes]
    random.Random(seed).shuffle(turns)
    places, done = [0] * len(names), [0] * len(names)
    for number in turns:
        size, at = min(sizes[done[number]], len(texts[number]) - places[number]), places[number]
        places[number], done[number] = at + size, done[number] + 1
        if size:
            rows = streams[number].extend(texts[number][at : at + size], keep=size)
            found[number].append(engines[names[number]].arithmetic.export(rows).copy())
    for one, other in zip(found, alone, strict=True):
        assert np.array_equal(np.concatenate(one), other)


def test_a_context_that_grows_goes_on_as_it_was(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {name: feed(load(files, "base", name)[name], IDS, [20, 9]) for name in ("base", "lora")}
    monkeypatch.setattr("itx.models.llama.engine.FIRST_SIZE", 16)
    found = load(files, "base", "lora")
    for name, expected in whole.items():
        grown = feed(found[name], IDS, [20, 9])
        assert np.abs(grown - expected).max() < 5e-5
        assert np.abs(grown - ggufs.compute_logits(WEIGHTS[name], IDS)).max() < 1e-4


def test_an_idle_context_is_used_again_and_starts_empty(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from itx.models.llama import engine as module

    made = []
    real = module.Session

    def count(*arguments: object) -> object:
        made.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(module, "Session", count)
    engine = load(files, "base")["base"]
    first = feed(engine, IDS[:60], [30, 8])
    assert len(made) == 1
    for _ in range(3):
        feed(engine, IDS[60:200], [100, 3])
        assert np.array_equal(feed(engine, IDS[:60], [30, 8]), first)
    assert len(made) == 1
    streams = [engine.stream(), engine.stream()]
    for stream in streams:
        stream.extend(IDS[:4])
    assert len(made) == 2, "two streams at once shared a context"


def test_rows_outlive_their_stream(engines: dict[str, Engine]) -> None:
    """They are llama.cpp's memory: while someone holds them, no other stream is given it and nothing frees it."""
    engine = engines["base"]
    rows = engine.stream().extend(IDS[:20], keep=20)
    expected = engine.arithmetic.export(rows).copy()
    gc.collect()
    for _ in range(3):
        feed(engine, IDS[30:200], [17])
    assert np.array_equal(engine.arithmetic.export(rows), expected)
    stream = engine.stream()
    rows = stream.extend(IDS[:20], keep=20)
    stream.extend([7] * (engine.window - 20 if engine.window else 0))
    assert np.isfinite(engine.arithmetic.export(rows)).all()


def test_the_window_is_the_files_or_what_was_asked_for(files: dict[str, Path]) -> None:
    engine = load(files, "base")["base"]
    assert engine.window == 512
    stream = engine.stream()
    stream.extend(IDS)
    stream.extend(IDS[:212])
    with pytest.raises(WindowError, match="513 positions do not fit the window of base, which holds 512") as caught:
        stream.extend([5])
    assert "--ctx-size" in str(caught.value)
    small = load(files, "base", "lora", ctx_size=40)
    for engine in small.values():
        assert engine.window == 40
        stream = engine.stream()
        rows = stream.extend(IDS[:40], keep=40)
        weights = WEIGHTS[engine.name]
        assert np.abs(engine.arithmetic.export(rows) - ggufs.compute_logits(weights, IDS[:40])).max() < 1e-4
        with pytest.raises(WindowError):
            stream.extend([5])
        with pytest.raises(WindowError):
            engine.stream().extend(IDS[:41])
    with pytest.raises(UsageError, match="--ctx-size 513"):
        load(files, "base", ctx_size=513)


def test_the_base_agrees_with_itself(files: dict[str, Path], tmp_path: Path) -> None:
    again = tmp_path / "again.gguf"
    again.write_bytes(files["base"].read_bytes())
    run, traces = compare(files["base"], {"same": again}, QUESTIONS, length=40, authors="tuned")
    assert any("changes nothing" in warning for warning in run.warnings)
    scores = [response.scores["base"] for trace in traces for response in trace.responses]
    ranks = [rank for score in scores for rank in score.rank]
    assert len(ranks) > 60
    assert set(ranks) == {1}
    for field in ("kl_author_scorer", "kl_scorer_author", "js"):
        assert 0 <= max(value for score in scores for value in getattr(score, field)) < 1e-5


def test_characters_come_out_with_their_last_byte(files: dict[str, Path]) -> None:
    """A given answer whose characters are spelt in bytes: texts add up, and no half character is shown."""
    text = " é東 🌸 Zürich Привет"
    _, traces = compare(files["base"], {"full": files["full"]}, [give(text)])
    (response,) = traces[0].responses
    assert response.text == text
    assert len(response.ids) > len(text)
    assert "�" not in response.text
    pieces = traces[0].pieces
    assert "<0xF0>" in {pieces[token] for token in response.ids}


def test_a_quantised_file_is_near_its_own_weights(files: dict[str, Path]) -> None:
    engine = load(dict(files, base=files["q8"]), "base")["base"]
    assert engine.quantization == "Q8_0"
    found = ggufs.normalise(feed(engine, IDS, [16]))
    expected = ggufs.normalise(ggufs.compute_logits(ggufs.round_tensors(BASE), IDS))
    kl = (np.exp(expected) * (expected - found)).sum(axis=1)
    # llama.cpp rounds the inputs of products to eight bits, too.
    assert 1e-9 < kl.mean() < 0.02


def test_threads_change_no_figure() -> None:
    generator = np.random.default_rng(0)
    rows = [generator.standard_normal((33, 5000)).astype(np.float32) * 4 for _ in range(3)]
    ids = generator.integers(0, 5000, 33).tolist()
    one, two = (NumpyArithmetic(threads).reduce(rows[0], rows[1:], ids, 4990) for threads in (1, 2))
    assert one == two


def test_the_engine_says_what_it_is(files: dict[str, Path], engines: dict[str, Engine]) -> None:
    from itx.models.fingerprint import fingerprint_files

    for name, engine in engines.items():
        assert engine.kind == "llama"
        assert engine.fingerprint == fingerprint_files([files[name]])
        assert engine.vocab_size == len(ggufs.VOCABULARY)
        assert engine.threads == 1
    assert engines["lora"].vocabulary is engines["base"].vocabulary
    assert engines["base"].template == ggufs.TEMPLATE
    assert engines["lora"].template is None


def test_a_lora_needs_a_base_of_its_kind(files: dict[str, Path], tmp_path: Path) -> None:
    """Not the first GGUF file that happens to be loaded, but the base."""
    from itx.models.llama.load import LlamaLoader

    loader = LlamaLoader(Options(threads=1), lambda *told: None)
    loader.load(refer(files["full"], "full"))
    with pytest.raises(WeightsError, match="the base is no GGUF file"):
        loader.load(refer(files["lora"], "lora"))


@pytest.mark.parametrize("name", ["base", "lora"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sequences_in_one_context_are_as_alone(
    engines: dict[str, Engine], name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contexts of several lengths, chunks of several sizes, some leaving on the way; a context that has to grow."""
    monkeypatch.setattr(llama_batch, "FIRST_SIZE", 32)
    engine = engines[name]
    source = random.Random(seed)
    lengths = [source.randint(1, 40) for _ in range(5)]
    ids = [[source.randrange(3, engine.vocab_size) for _ in range(length + 60)] for length in lengths]
    expected = [feed(engine, sequence, [len(sequence)]) for sequence in ids]
    batch = engine.batch(len(ids))
    there, seen = list(range(len(ids))), [0] * len(ids)
    for step in range(8):
        size = source.randint(1, 7)
        counts = [lengths[place] if step == 0 else size for place in there]
        keep = [source.randint(1, count) for count in counts]
        fed = [ids[place][seen[place] : seen[place] + count] for place, count in zip(there, counts, strict=True)]
        rows = engine.arithmetic.export(batch.extend(fed, keep))
        assert len(rows) == sum(keep)
        for place, count, kept in zip(there, counts, keep, strict=True):
            seen[place] += count
            own, rows = rows[:kept], rows[kept:]
            assert np.abs(own - expected[place][seen[place] - kept : seen[place]]).max() < 2e-4
        if step in {2, 5}:
            going = sorted(source.sample(range(len(there)), len(there) - 1))
            batch.select(going)
            there = [there[place] for place in going]


def test_a_sequence_in_a_batch_ends_at_the_window(engines: dict[str, Engine]) -> None:
    engine = engines["base"]
    assert engine.window is not None
    batch = engine.batch(2)
    batch.extend([[5] * (engine.window - 1), [6] * 3], [1, 1])
    batch.extend([[5], [6]], [1, 1])
    with pytest.raises(WindowError):
        batch.extend([[5], [6]], [1, 1])
    with pytest.raises(MismatchError):
        engine.batch(1).extend([[engine.vocab_size]], [1])
