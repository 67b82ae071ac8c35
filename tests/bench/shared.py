"""One response read by three tunings against the three bare forward passes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench.arms import Measurement, alternate
from tests.bench.machine import cores


def measure(repeats: int) -> Measurement:
    """Return seconds of scoring a given response of base by three tunings, and of three bare passes.

    itx also reads the response with base, whose distributions the tunings are compared with: a bare pass of base,
    timed in the same turn, is taken off. What itx does beyond a bare pass of base counts as the tunings'.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from itx.records import GivenResponse, Prompt
    from tests.bench.weights import NAMED_135M, QUESTION, TOKENS, ask_itx, load_itx, write_base, write_tuned_three

    threads = cores()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        base_folder = write_base(Path(folder))
        folders = write_tuned_three(base_folder, Path(folder))
        comparison = load_itx(base_folder, folders, threads)
        models = [
            AutoModelForCausalLM.from_pretrained(each, dtype=torch.float32).eval() for each in (base_folder, *folders)
        ]
    first = ask_itx(comparison)
    ids = first.responses[0].ids
    assert len(ids) == TOKENS, "the response ended early"
    prompt = Prompt(id="1", prompt=QUESTION, given=[GivenResponse(author="base", ids=ids)])
    whole = torch.tensor([[*first.contexts["base"].ids, *ids[:-1]]])

    def read(chosen: list[torch.nn.Module]) -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for model in chosen:
                model(whole, logits_to_keep=TOKENS, use_cache=False)
        return time.perf_counter() - start

    def ours() -> float:
        start = time.perf_counter()
        trace = ask_itx(comparison, prompt)
        elapsed = time.perf_counter() - start
        assert len(trace.responses[0].scores) == 3
        return elapsed - read(models[:1])

    def floor() -> float:
        return read(models[1:])

    ours_seconds, floor_seconds = alternate(ours, floor, repeats)
    return Measurement(
        ours=ours_seconds,
        floor=floor_seconds,
        notes=[
            f"seconds; {NAMED_135M}; {whole.shape[1] - TOKENS + 1} + {TOKENS} tokens, {threads} threads, "
            f"chunk {comparison.run.engine.given_chunk}; a bare pass of base is taken off ours"
        ],
    )
