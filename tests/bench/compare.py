"""A live comparison against its floor: generating with the tuned weights and one forward pass of the base."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench.arms import Measurement, alternate
from tests.bench.machine import cores


def measure(repeats: int) -> Measurement:
    """Return seconds of a comparison through itx, and of transformers' generate with one bare base forward."""
    import torch
    from transformers import AutoModelForCausalLM

    from tests.bench.weights import NAMED_135M, TOKENS, ask_itx, load_itx, write_base, write_full

    threads = cores()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        base_folder = write_base(Path(folder))
        full_folder = write_full(base_folder, Path(folder))
        comparer = load_itx(base_folder, full_folder, threads)
        base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32).eval()
        tuned = AutoModelForCausalLM.from_pretrained(full_folder, dtype=torch.float32).eval()
    # Without EOS `generate` has one criterion less to ask: the floor is as low as it can be. Ours must not meet it.
    tuned.generation_config.eos_token_id = None
    first = ask_itx(comparer)
    response = first.response("full")
    assert response is not None
    assert len(response.ids) == TOKENS, f"the response ended after {len(response.ids)} tokens"
    context = torch.tensor([first.contexts["full"].ids])

    def ours() -> float:
        start = time.perf_counter()
        trace = ask_itx(comparer)
        elapsed = time.perf_counter() - start
        assert trace.responses[0].ids == response.ids
        return elapsed

    def floor() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            whole = tuned.generate(
                context,
                attention_mask=torch.ones_like(context),
                max_new_tokens=TOKENS,
                do_sample=False,
                pad_token_id=0,
            )
            base(whole[:, :-1], logits_to_keep=TOKENS, use_cache=False)
        elapsed = time.perf_counter() - start
        assert whole[0, context.shape[1] :].tolist() == response.ids, "the two arms generated different tokens"
        return elapsed

    ours_seconds, floor_seconds = alternate(ours, floor, repeats)
    return Measurement(
        ours=ours_seconds,
        floor=floor_seconds,
        notes=[
            f"seconds; {NAMED_135M}; {context.shape[1]} + {TOKENS} tokens, {threads} threads, "
            f"chunk {comparer.run.engine.chunk}; both arms gave the same ids"
        ],
    )
