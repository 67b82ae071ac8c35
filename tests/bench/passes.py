"""One full pass a token without a cache, the way published token-shift code works, against scoring through itx."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench.arms import Measurement, alternate
from tests.bench.machine import cores
from tests.support.llamas import Shape

SHAPE = Shape(
    hidden=384,
    layers=12,
    heads=6,
    kv_heads=2,
    intermediate=1024,
    window=1024,
    vocabulary=16_384,
    tied=True,
    spread=0.02,
)
NAMED = "hidden 384, 12 layers, 6 heads, 2 kv heads, intermediate 1,024, V 16,384, tied, random float32 (about 23M)"


def measure(repeats: int) -> Measurement:
    """Return seconds to score 128 given tokens with both models: through itx, and one full pass a token and model."""
    import torch
    from transformers import AutoModelForCausalLM

    from itx.records import GivenResponse, Prompt
    from tests.bench.weights import QUESTION, TOKENS, ask_itx, load_itx, write_base, write_full

    threads = cores()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        base_folder = write_base(Path(folder), SHAPE)
        full_folder = write_full(base_folder, Path(folder))
        comparer = load_itx(base_folder, full_folder, threads)
        models = [
            AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
            for path in (base_folder, full_folder)
        ]
    ids = [1000 + 37 * number % 9000 for number in range(TOKENS)]
    prompt = Prompt(id="1", prompt=QUESTION, given=[GivenResponse(ids=ids)])
    context = ask_itx(comparer, prompt).contexts["full"].ids

    def ours() -> float:
        start = time.perf_counter()
        trace = ask_itx(comparer, prompt)
        elapsed = time.perf_counter() - start
        assert trace.responses[0].ids == ids
        return elapsed

    def full_passes() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for position in range(TOKENS):
                seen = torch.tensor([context + ids[:position]])
                first, second = (
                    torch.log_softmax(model(seen, use_cache=False, logits_to_keep=1).logits[0, -1], dim=-1)
                    for model in models
                )
                (first.exp() * (first - second)).sum().item()
        return time.perf_counter() - start

    slow, fast = alternate(full_passes, ours, repeats)
    return Measurement(
        ours=slow,
        floor=fast,
        notes=[
            f"seconds; 'ours' here is the slow arm, the other one itx; {NAMED}; "
            f"{len(context)} + {TOKENS} tokens, {threads} threads"
        ],
    )
