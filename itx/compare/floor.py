"""The noise floor, measured: what a model scored against itself, by the same path as any other, differs by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from itx.compare.context import ContextMaker
from itx.compare.decoding import Chooser
from itx.compare.rounding import round_figure
from itx.compare.writing import Writing
from itx.models.contract import Engine
from itx.records import Context, Decoding, Floor, Prompt, Response

POSITIONS = 32
_PROMPTS = ("Hello", "Tell me about the river that runs through this town.", "Give me three tips.", "Why?", "Go on.")


def measure_floors(
    engines: Sequence[Engine], contexts: ContextMaker, chunk: int, tell: Callable[[str], None]
) -> list[Floor]:
    """Return a floor for each dtype and quantisation but float32 and float64, of the first engine that has it.

    Those two are left out: there rounding stays below what is recorded. Raises ItxError where a prompt of the
    measurement does, as any other prompt would.
    """
    floors: list[Floor] = []
    measured: set[tuple[str, str | None]] = {("float32", None), ("float64", None)}
    for engine in engines:
        precision = (engine.dtype, engine.quantization)
        if precision in measured:
            continue
        measured.add(precision)
        tell(f"measuring the noise floor of {engine.name} in {engine.quantization or engine.dtype}")
        floor = _measure(engine, contexts, chunk)
        if floor is not None:
            floors.append(floor)
    return floors


def _measure(engine: Engine, contexts: ContextMaker, chunk: int) -> Floor | None:
    """Return the engine's floor over about 32 positions: of one response, or of several where it soon ends them."""
    divergences: list[float] = []
    ranks: list[int] = []
    for text in _PROMPTS:
        context = contexts.make(Prompt(id="floor", prompt=text))[engine.name]
        response = _respond(engine, context, chunk, POSITIONS - len(ranks))
        if response is not None:
            score = response.scores[engine.name]
            divergences += score.kl_author_scorer[: response.length]
            ranks += score.rank[: response.length]
        if len(ranks) >= POSITIONS:
            break
    if not ranks:
        return None
    return Floor(
        model=engine.name,
        dtype=engine.quantization or engine.dtype,
        kl_mean=round_figure(sum(divergences) / len(divergences)),
        unshifted=round_figure(sum(rank == 1 for rank in ranks) / len(ranks)),
        positions=len(ranks),
    )


def _respond(engine: Engine, context: Context, chunk: int, limit: int) -> Response | None:
    """Return the engine's greedy response, scored by itself; None where its window has no room for one."""
    room = limit if engine.window is None else min(limit, engine.window - len(context.ids))
    if room < 1:
        return None
    writing = Writing(
        engine,
        [engine],
        {engine.name: context},
        chunk=chunk,
        width=engine.vocab_size,
        limit=room,
        chooser=Chooser(Decoding(), "floor", engine.name),
        name_ids=lambda tops, ids: {},
    )
    while writing.finish is None:
        for _ in writing.step():
            pass
    return writing.response()
