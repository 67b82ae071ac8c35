"""Sixteen prompts decoded together against transformers' batched ``generate`` and one batched pass of the base."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from itx.compare.comparison import Comparison
from itx.compare.events import Again, Finished
from itx.records import Prompt, Trace
from tests.bench.arms import Measurement, alternate
from tests.bench.machine import cores

BATCH = 16


def make_prompts() -> list[Prompt]:
    """Return sixteen questions, from a short one to one about ten times as long."""
    from tests.bench.weights import QUESTION

    words = QUESTION.split()
    return [Prompt(id=str(number), prompt=" ".join((words * 4)[: 4 + 3 * number])) for number in range(BATCH)]


def ask_together(comparison: Comparison, prompts: list[Prompt]) -> list[Trace]:
    """Run the prompts to their ends, every event taken and dropped, and return the traces."""
    traces = []
    for told in comparison.compare_together(prompts, lambda: False):
        if isinstance(told.event, Again):
            raise RuntimeError(f"the batch failed: {told.event.reason}")
        if isinstance(told.event, Finished):
            traces.append(told.event.trace)
    return traces


def measure(repeats: int) -> Measurement:
    """Return seconds of both arms; figures of every prompt are compared with those of asking it alone, once."""
    import torch
    from transformers import AutoModelForCausalLM

    from tests.bench.weights import NAMED_135M, TOKENS, ask_itx, load_itx, write_base, write_full

    threads = cores()
    torch.set_num_threads(threads)
    prompts = make_prompts()
    with tempfile.TemporaryDirectory() as folder:
        base_folder = write_base(Path(folder))
        full_folder = write_full(base_folder, Path(folder))
        comparison = load_itx(base_folder, full_folder, threads, batch=BATCH)
        base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32).eval()
        tuned = AutoModelForCausalLM.from_pretrained(full_folder, dtype=torch.float32).eval()
    # Without EOS `generate` has one criterion less to ask: the floor is as low as it can be. Ours must not meet it.
    tuned.generation_config.eos_token_id = None
    first = ask_together(comparison, prompts)
    alone = [ask_itx(comparison, prompt) for prompt in prompts]
    worst = max(compare_figures(one, other) for one, other in zip(first, alone, strict=True))
    ids = [trace.responses[0].ids for trace in first]
    assert all(len(each) == TOKENS for each in ids), "a response ended early"
    contexts = [trace.contexts["full"].ids for trace in first]
    longest = max(map(len, contexts))
    given = torch.tensor([[0] * (longest - len(context)) + context for context in contexts])
    mask = torch.tensor([[0] * (longest - len(context)) + [1] * len(context) for context in contexts])
    whole_mask = torch.cat([mask, torch.ones((BATCH, TOKENS - 1), dtype=mask.dtype)], dim=1)

    def ours() -> float:
        start = time.perf_counter()
        traces = ask_together(comparison, prompts)
        elapsed = time.perf_counter() - start
        assert [trace.responses[0].ids for trace in traces] == ids
        return elapsed

    def floor() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            whole = tuned.generate(given, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False, pad_token_id=0)
            places = (whole_mask.cumsum(dim=1) - 1).clamp(min=0)
            base(
                whole[:, :-1],
                attention_mask=whole_mask,
                position_ids=places,
                logits_to_keep=TOKENS,
                use_cache=False,
            )
        elapsed = time.perf_counter() - start
        assert whole[:, longest:].tolist() == ids, "the two arms generated different tokens"
        return elapsed

    ours_seconds, floor_seconds = alternate(ours, floor, repeats)
    return Measurement(
        ours=ours_seconds,
        floor=floor_seconds,
        notes=[
            f"seconds; {NAMED_135M}; {BATCH} prompts of {min(map(len, contexts))} to {longest} ids + {TOKENS} tokens, "
            f"{threads} threads, chunk {comparison.run.engine.chunk}; both arms gave the same ids",
            f"figures against one prompt at a time: ranks equal, divergences at most {worst:.2g} of the bound apart "
            "(1e-4 of themselves or 1e-6 nats)",
        ],
    )


def compare_figures(one: Trace, other: Trace) -> float:
    """Return how far two traces' divergences are apart, in bounds; asserts that ids and ranks agree."""
    apart = 0.0
    for first, second in zip(one.responses, other.responses, strict=True):
        assert first.ids == second.ids, "together the response is another one"
        for name, score in first.scores.items():
            assert score.rank == second.scores[name].rank, "together ranks are others"
            for column in ("kl_author_scorer", "kl_scorer_author", "js"):
                pairs = zip(getattr(score, column), getattr(second.scores[name], column), strict=True)
                apart = max([apart, *(abs(a - b) / max(1e-6, 1e-4 * abs(b)) for a, b in pairs)])
    return apart
