"""The reduction of a scored chunk against log_softmax of the same rows, on one thread."""

from __future__ import annotations

import time

from tests.bench.arms import Measurement, alternate

CHUNK = 32
ROUNDS = 4
"""Rounds of the short arm a sample, so that both last some ten milliseconds."""


def measure(repeats: int, vocabulary: int) -> Measurement:
    """Return milliseconds a position: itx's reduction of a chunk, and torch's log_softmax of both rows in turn."""
    import torch

    from itx.models.torch.reduction import reduce_rows

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    author = torch.randn(CHUNK, vocabulary, generator=generator) * 3
    scorer = author * 0.9 + torch.randn(CHUNK, vocabulary, generator=generator)
    ids = author.argmax(dim=1).tolist()

    def reduce() -> float:
        start = time.perf_counter()
        reduce_rows(author, [scorer], ids, vocabulary)
        return (time.perf_counter() - start) * 1000 / CHUNK

    def soften() -> float:
        with torch.inference_mode():
            start = time.perf_counter()
            for row in list(range(CHUNK)) * ROUNDS:
                torch.log_softmax(author[row], dim=-1)
                torch.log_softmax(scorer[row], dim=-1)
            return (time.perf_counter() - start) * 1000 / CHUNK / ROUNDS

    ours, floor = alternate(reduce, soften, max(repeats, 15), warm=2)
    return Measurement(
        ours=ours,
        floor=floor,
        notes=[f"milliseconds a position, chunk of {CHUNK}, V = {vocabulary:,}, float32, 1 thread"],
    )
