"""How many sequences the engines of a run advance together, and how many rows of logits that leaves each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from itx.models.contract import Engine
from itx.records import EXACT_DTYPES

_BOUND, _BOUND_ROUNDED = 1e-4, 0.05
"""Nats that logits may move by in a batch; padding that is taken for text moves them by far more."""


def choose_batch(
    engines: Sequence[Engine], wanted: int, contexts: Mapping[str, Sequence[int]], tell: Callable[[str], None]
) -> int:
    """Return how many prompts the engines decode together, ``wanted`` at most; ``tell`` why, where it is fewer.

    ``contexts`` has a short context by model, in ids of its own: an engine that answers it otherwise beside a longer
    one decodes one prompt at a time. Raises MemoryExhaustedError.
    """
    if wanted <= 1:
        return 1
    found = wanted
    for engine in engines:
        most, why = engine.together, f"the engine {engine.kind} can do no more"
        if most != 1 and _measure_padding(engine, contexts[engine.name]) > (
            _BOUND if is_exact(engine) else _BOUND_ROUNDED
        ):
            most, why = 1, "beside a longer prompt its answers are others"
        if most is not None and most < wanted:
            together = "one prompt at a time" if most == 1 else f"{most} prompts at a time"
            tell(f"{engine.name} decodes {together} and not {wanted}: {why}")
            found = min(found, most)
    return found


def choose_chunk(engines: Sequence[Engine], batch: int) -> int:
    """Return by how many positions scorers are extended at once, so that a batch's rows fit every engine's block."""
    chunk = min(engine.chunk for engine in engines)
    return chunk if batch == 1 else min(chunk, choose_given_chunk(engines, batch))


def choose_given_chunk(engines: Sequence[Engine], batch: int) -> int:
    """Return the same for given responses: as many as fit, since nothing is to be shown before."""
    return max(1, min(engine.block for engine in engines) // batch)


def is_exact(engine: Engine) -> bool:
    """Return whether an engine's figures are the same in every batch, to the digits that are recorded."""
    return engine.dtype in EXACT_DTYPES and engine.quantization is None


def _measure_padding(engine: Engine, ids: Sequence[int]) -> float:
    """Return the largest KL, in nats, of what follows a context and one that is longer by an id from each alone."""
    arithmetic = engine.arithmetic
    texts = [[*ids], [*ids, ids[-1]]]
    batch = engine.batch(2)
    together = arithmetic.split(batch.extend(texts, [1, 1]))
    together += arithmetic.split(batch.extend([[text[-1]] for text in texts], [1, 1]))
    streams = [engine.stream() for _ in texts]
    alone = [stream.extend(text) for stream, text in zip(streams, texts, strict=True)]
    alone += [stream.extend([text[-1]]) for stream, text in zip(streams, texts, strict=True)]
    tokens = [ids[-1]] * len(alone)
    figures = arithmetic.reduce(arithmetic.stack(alone), [arithmetic.stack(together)], tokens, engine.vocab_size)
    return max(value for value in figures.scores[0].kl_author_scorer if value is not None)
