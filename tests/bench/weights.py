"""Random weights of a real model's shape, written once a measurement, and how both sides are asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itx.compare.comparison import Comparison
from itx.compare.events import Comparer, Emitted, Finished, Loading
from itx.compare.load import load_comparison
from itx.compare.request import Request
from itx.records import Decoding, Prompt, Trace
from tests.support.llamas import SHAPE_135M, Shape, build_wide_tokenizer, write_adapter, write_llama, write_tuned

TOKENS = 128
QUESTION = "Tell me about the battle of Waterloo, who fought in it, and how it ended."
NAMED_135M = "hidden 576, 30 layers, 9 heads, 3 kv heads, intermediate 1,536, V 49,152, tied, random float32"


def write_base(folder: Path, shape: Shape = SHAPE_135M) -> Path:
    """Write a base of this shape with a tokenizer as wide as its vocabulary."""
    return write_llama(folder / "base", shape=shape, tokenizer=build_wide_tokenizer(shape.vocabulary or 400))


def write_full(base: Path, folder: Path) -> Path:
    """Write a full tuning of the base: another set of weights of its size."""
    return write_tuned(base, folder / "full", strength=0.05)


def write_tuned_three(base: Path, folder: Path) -> list[Path]:
    """Write three full tunings of the base."""
    return [write_tuned(base, folder / f"full{seed}", seed=seed, strength=0.05) for seed in (1, 2, 3)]


def write_lora(base: Path, folder: Path) -> Path:
    """Write an adapter of rank 8 on all linear layers of the base."""
    return write_adapter(base, folder / "lora", rank=8, strength=0.02)


def ignore(step: Loading) -> None:
    """Drop what loading tells."""
    del step


def load_itx(
    base: Path, tuned: Path | Sequence[Path], threads: int, tokens: int = TOKENS, batch: int = 1
) -> Comparison:
    """Load the comparison as ``itx run --authors tuned`` on a CPU in float32 does; one tuned model is ``full``."""
    names = [f"full={tuned}"] if isinstance(tuned, Path) else [f"full{n}={each}" for n, each in enumerate(tuned, 1)]
    return load_comparison(
        Request(
            base=str(base),
            tuned=names,
            command=["itx", "run"],
            decoding=Decoding(max_new_tokens=tokens),
            authors="tuned",
            devices={"": "cpu"},
            dtype="float32",
            threads=threads,
            batch_size=batch,
        ),
        ignore,
    )


def ask_itx(comparer: Comparer, prompt: Prompt | None = None) -> Trace:
    """Run one prompt to its end, every event taken and dropped, and return the trace."""
    trace: Trace | None = None
    emitted = 0
    for event in comparer.compare(prompt or Prompt(id="1", prompt=QUESTION), lambda: False):
        if isinstance(event, Emitted):
            emitted += 1
        elif isinstance(event, Finished):
            trace = event.trace
    if trace is None or trace.error is not None:
        raise RuntimeError(f"the comparison failed: {trace and trace.error}")
    return trace
