"""Gemma 3 270M in Q4_K_M through llama.cpp: itx's figures are llama.cpp's own logits, reduced in float64."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from transformers import AutoTokenizer

from itx.models.checks import PROBES
from itx.models.llama.load import LlamaLoader
from itx.models.options import Options
from itx.models.reference import parse_reference
from itx.records import Prompt, Response, Run, Trace
from tests.real.conftest import SAMPLE, Trio, hold_lock
from tests.reference import oracle
from tests.reference.asking import compare
from tests.reference.test_noise_floor import gather
from tests.support.ggufs import normalise

pytestmark = pytest.mark.real
library: Any = pytest.importorskip("llama_cpp")

LINES = [json.loads(line) for line in (SAMPLE / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
ASKED = [Prompt(id=line["id"], prompt=line["prompt"]) for line in LINES[:2]]
LONG = Prompt(id="long", prompt=" ".join(line["prompt"] + " " + line["reference"] for line in LINES[:11]))
WINDOW = 512
BATCH = 64
TEMPLATE = str(SAMPLE / "template.jinja")


@pytest.fixture(scope="module")
def base(gemma_base: Path) -> Path:
    (path,) = (gemma_base.parent / "gguf").glob("*.gguf")
    return path


@pytest.fixture(scope="module")
def tuned(gemma_trio: Trio, base: Path) -> dict[str, Path | str]:
    """The trio's LoRA, and its full tuning in Q8_0: made anew when the script changes."""
    script = SAMPLE / "quantise.py"
    folder = gemma_trio.lora.parent / f"gguf-{sha256(script.read_bytes()).hexdigest()[:12]}"
    with hold_lock(folder.parent / "gguf.lock"):
        if not (folder / "ready").exists():
            words = ("--base", base, "--made", gemma_trio.lora.parent, "--out", folder)
            done = subprocess.run(
                [sys.executable, str(script), *map(str, words)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr[-4000:]
            (folder / "ready").touch()
    return {"lora": folder / "lora.gguf", "full": folder / "full.gguf"}


class Raw:
    """llama.cpp without itx: one model, one context, and logits copied row by row."""

    def __init__(self, path: Path, lora: Path | None = None) -> None:
        library.llama_backend_init()
        settings = library.llama_model_default_params()
        settings.n_gpu_layers = 0
        settings.use_extra_bufts = b"AMX_INT8 = 1" not in library.llama_print_system_info()
        self._model = library.llama_model_load_from_file(os.fsencode(path), settings)
        assert self._model
        wanted = library.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch, wanted.n_seq_max = 1024, BATCH, BATCH, 1
        wanted.n_threads = wanted.n_threads_batch = 1
        wanted.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        wanted.type_k = wanted.type_v = 0
        wanted.swa_full = False
        self._context = library.llama_init_from_model(self._model, wanted)
        assert self._context
        self._batch = library.llama_batch_init(BATCH, 0, 1)
        self._columns = library.llama_vocab_n_tokens(library.llama_model_get_vocab(self._model))
        if lora is not None:
            adapter = library.llama_adapter_lora_init(self._model, os.fsencode(lora))
            adapters = (library.llama_adapter_lora_p_ctypes * 1)(adapter)
            scales = (library.ctypes.c_float * 1)(1.0)
            assert library.llama_set_adapters_lora(self._context, adapters, 1, scales) == 0

    def close(self) -> None:
        library.llama_batch_free(self._batch)
        library.llama_free(self._context)
        library.llama_model_free(self._model)

    def read(self, steps: Sequence[tuple[Sequence[int], int]]) -> NDArray[np.float32]:
        """Forget everything, feed each step's ids, and return the logits behind the last ``keep`` of each, in order."""
        library.llama_memory_clear(library.llama_get_memory(self._context), True)
        rows, used = [], 0
        for ids, keep in steps:
            first = len(ids) - keep
            for start in range(0, len(ids), BATCH):
                part = ids[start : start + BATCH]
                self._batch.n_tokens = len(part)
                for place, token in enumerate(part):
                    self._batch.token[place] = token
                    self._batch.pos[place] = used + place
                    self._batch.n_seq_id[place] = 1
                    self._batch.seq_id[place][0] = 0
                    self._batch.logits[place] = start + place >= first
                assert library.llama_decode(self._context, self._batch) == 0
                used += len(part)
                for place in range(len(part)):
                    if start + place >= first:
                        row = library.llama_get_logits_ith(self._context, place)
                        rows.append(np.ctypeslib.as_array(row, (self._columns,)).copy())
        return np.stack(rows)


def write_steps(context: list[int], ids: list[int]) -> Iterator[tuple[list[int], int]]:
    """How an author is fed: its context, then what it wrote, one by one."""
    yield context, 1
    for token in ids[:-1]:
        yield [token], 1


def score_steps(context: list[int], ids: list[int], chunk: int) -> Iterator[tuple[list[int], int]]:
    """How a scorer is fed: in chunks, each without the last id of it and with the last of the one before."""
    for start in range(0, len(ids), chunk):
        stop = min(start + chunk, len(ids))
        yield (context + ids[: stop - 1] if start == 0 else ids[start - 1 : stop - 1]), stop - start


def check(trace: Trace, response: Response, chunk: int, models: dict[str, Raw]) -> float:
    """Assert that the figures of all scorers are llama.cpp's; return the largest distance of a divergence."""
    ids = response.ids
    theirs = models[response.author].read(list(write_steps(trace.contexts[response.author].ids, ids)))
    assert [int(row.argmax()) for row in theirs] == ids, "greedy"
    author = normalise(theirs)
    worst = 0.0
    for scorer, score in response.scores.items():
        mine = models[scorer].read(list(score_steps(trace.contexts[scorer].ids, ids, chunk)))
        expected = oracle.figures(author, normalise(mine), ids)
        emitted = mine[np.arange(len(ids)), ids][:, None]
        assert score.rank == (1 + (mine > emitted).sum(axis=1)).tolist()
        assert score.ties == ((mine == emitted).sum(axis=1) - 1).tolist()
        assert np.abs(np.asarray(score.logp) - expected.scorer_logp).max() < 1e-5
        assert np.abs(np.asarray(response.logp) - expected.author_logp).max() < 1e-5
        for name in ("kl_author_scorer", "kl_scorer_author", "js"):
            distance = np.abs(np.asarray(getattr(score, name)) - getattr(expected, name)).max()
            assert distance < 1e-5, name
            oracle.check_divergence(name, getattr(score, name), getattr(expected, name))
            worst = max(worst, float(distance))
    return worst


def ask(base: Path, tuned: dict[str, Path | str], prompts: Sequence[Prompt], **wanted: Any) -> tuple[Run, list[Trace]]:
    return compare(base, tuned, prompts, threads=1, chat_template=TEMPLATE, **wanted)


def test_figures_are_llama_cpps_own_logits_in_float64(
    base: Path, tuned: dict[str, Path | str], record_property: pytest.RecordProperty
) -> None:
    """With a LoRA and with a Q8_0 file; within the sliding window of 512 and past it."""
    run, traces = ask(base, tuned, ASKED[:1], length=20)
    assert [model.quantization for model in run.models] == ["Q4_K_M", "Q4_K_M", "Q8_0"]
    _, past = ask(base, tuned, [LONG], length=20, authors="lora")
    assert len(past[0].contexts["base"].ids) > WINDOW + 8
    models = {
        "base": Raw(base),
        "lora": Raw(base, Path(tuned["lora"])),
        "full": Raw(Path(tuned["full"])),
    }
    worst, compared = 0.0, 0
    for trace in [*traces, *past]:
        assert trace.error is None
        for response in trace.responses:
            worst = max(worst, check(trace, response, run.engine.chunk, models))
            compared += len(response.ids) * len(response.scores)
    for model in models.values():
        model.close()
    assert compared > 100
    record_property("largest_distance_of_a_divergence", worst)
    sys.stdout.write(f"of {compared} positions no divergence lies further than {worst:.1e} from llama.cpp's own\n")


def test_chunks_of_one_are_the_authors_own_rows(base: Path, tmp_path: Path) -> None:
    """The base against itself, one by one as it is written: the very same numbers, past the window as well."""
    same = tmp_path / "same.gguf"
    same.symlink_to(base)
    _, traces = ask(base, {"same": same}, [ASKED[1], LONG], length=16, chunk=1, authors="tuned")
    assert set(gather(traces, "rank")) == {1}
    for field in ("kl_author_scorer", "kl_scorer_author", "js"):
        assert set(gather(traces, field)) == {0.0}


def test_the_noise_of_chunks_is_small_and_said(
    base: Path, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    same = tmp_path / "same.gguf"
    same.symlink_to(base)
    run, traces = ask(base, {"same": same}, ASKED, length=32, authors="tuned")
    kl, ranks = gather(traces, "kl_author_scorer"), gather(traces, "rank")
    mean, unshifted = float(np.mean(kl)), float(np.mean(np.asarray(ranks) == 1))
    record_property("q4_kl_mean", mean)
    sys.stdout.write(
        f"Q4_K_M against itself in chunks of {run.engine.chunk}: mean KL {mean:.1e}, {unshifted:.1%} unshifted\n"
    )
    assert 0 < mean < 0.05
    assert unshifted > 0.9
    (floor,) = run.floors
    assert (floor.dtype, floor.positions > 16) == ("Q4_K_M", True)
    assert 0 < floor.kl_mean < 0.05


def test_the_distance_from_the_dequantised_weights(
    gemma_base: Path, base: Path, record_property: pytest.RecordProperty
) -> None:
    """llama.cpp rounds the inputs of its products to eight bits, and float64 does not: what that costs, in nats."""
    _, traces = ask(base, {"same": base}, ASKED, length=32, authors="tuned")
    raw, model = Raw(base), oracle.load(gemma_base)
    kls: list[float] = []
    same: list[bool] = []
    for trace in traces:
        context, ids = trace.contexts["base"].ids, trace.responses[0].ids
        found = normalise(raw.read(list(score_steps(context, ids, 8))))
        exact = oracle.log_probs(model, context, ids)
        kls += (np.exp(exact) * (exact - found)).sum(axis=1).tolist()
        same += (exact.argmax(axis=1) == found.argmax(axis=1)).tolist()
    raw.close()
    mean = float(np.mean(kls))
    record_property("q4_kl_from_float64", mean)
    sys.stdout.write(
        f"Q4_K_M from float64 on its own weights: mean KL {mean:.1e}, {np.mean(same):.1%} the same first\n"
    )
    assert min(kls) >= 0
    assert mean < 0.1
    assert np.mean(same) > 0.8


def test_text_has_the_ids_of_the_folders_tokenizer(gemma_base: Path, base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(gemma_base)
    engine = LlamaLoader(Options(threads=1), lambda *told: None).load(parse_reference(str(base), "base", {}))
    vocabulary = engine.vocabulary
    texts = [*PROBES, *(line["prompt"] for line in LINES), *(line["reference"] for line in LINES)]
    for text in texts:
        ids = vocabulary.encode(text)
        assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]
        assert b"".join(vocabulary.spell(token) for token in ids).decode() == text
    assert (vocabulary.bos, vocabulary.adds_bos) == (tokenizer.bos_token_id, True)
    assert tokenizer.eos_token_id in engine.eos
    assert vocabulary.variables["bos_token"] == tokenizer.bos_token
    assert (engine.window, engine.vocab_size, engine.quantization) == (32_768, 262_144, "Q4_K_M")


@pytest.mark.parametrize("turned", [False, True], ids=["torch base", "GGUF base"])
def test_a_folder_and_a_file_are_compared(gemma_base: Path, base: Path, turned: bool) -> None:
    """The same weights by two engines: near, but not the same numbers."""
    first, second = (base, gemma_base) if turned else (gemma_base, base)
    run, traces = ask(first, {"other": second}, ASKED[:1], length=16)
    assert [model.engine for model in run.models] == (["llama", "torch"] if turned else ["torch", "llama"])
    assert any("what quantisation loses counts as shift" in warning for warning in run.warnings)
    assert traces[0].contexts["base"].ids == traces[0].contexts["other"].ids
    for field in ("kl_author_scorer", "kl_scorer_author", "js", "logp", "entropy"):
        values = np.asarray(gather(traces, field))
        assert len(values) == sum(len(response.ids) for response in traces[0].responses)
        assert np.isfinite(values).all()
    assert 0 < np.mean(gather(traces, "kl_author_scorer")) < 0.2
    assert np.mean(np.asarray(gather(traces, "rank")) == 1) > 0.7
