"""The noise floor, measured: what a model scored against itself, by the same path as any other, differs by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from itx.compare.context import ContextMaker
from itx.compare.decoding import Chooser
from itx.compare.draft import Draft
from itx.compare.group import Group
from itx.compare.rounding import round_figure
from itx.models.contract import Engine
from itx.records import Context, Decoding, Floor, Prompt, Response

POSITIONS = 32
_PROMPTS = ("Hello", "Tell me about the river that runs through this town.", "Give me three tips.", "Why?", "Go on.")


def measure_floors(
    engines: Sequence[Engine], contexts: ContextMaker, chunk: int, tell: Callable[[str], None]
) -> list[Floor]:
    """Return a floor for each engine, dtype and quantisation but float32 and float64, of the first model that has it.

    Those two are left out: there rounding stays below what is recorded. Raises ItxError where a prompt of the
    measurement does, as any other prompt would.
    """
    floors: list[Floor] = []
    measured: set[tuple[str, str, str | None]] = set()
    for engine in engines:
        precision = (engine.kind, engine.dtype, engine.quantization)
        if precision in measured or precision[1:] in {("float32", None), ("float64", None)}:
            continue
        measured.add(precision)
        tell(f"measuring the noise floor of {engine.name} in {engine.quantization or engine.dtype}")
        floor = measure_distance(engine, engine, contexts, chunk)
        if floor is not None:
            floors.append(floor)
    return floors


def measure_distance(author: Engine, scorer: Engine, contexts: ContextMaker, chunk: int) -> Floor | None:
    """Return how far what ``author`` writes lies from ``scorer``, over about 32 positions: ``author``'s noise floor
    where both are one. Of one response, or of several where it soon ends them; None where the window has no room.

    Two engines of one name share a context. Raises ItxError where a prompt of the measurement does.
    """
    divergences: list[float] = []
    ranks: list[int] = []
    for text in _PROMPTS:
        made = contexts.make(Prompt(id="floor", prompt=text))
        response = _respond(author, scorer, made, chunk, POSITIONS - len(ranks))
        if response is not None:
            score = response.scores[scorer.name]
            divergences += [value for value in score.kl_author_scorer[: response.length] if value is not None]
            ranks += [rank for rank in score.rank[: response.length] if rank is not None]
        if len(ranks) >= POSITIONS:
            break
    if not ranks:
        return None
    return Floor(
        model=author.name,
        dtype=author.quantization or author.dtype,
        kl_mean=round_figure(sum(divergences) / len(divergences)),
        unshifted=round_figure(sum(rank == 1 for rank in ranks) / len(ranks)),
        positions=len(ranks),
        engine=author.kind,
        quantization=author.quantization,
    )


def _respond(
    author: Engine, scorer: Engine, contexts: Mapping[str, Context], chunk: int, limit: int
) -> Response | None:
    """Return the author's greedy response as scored by the scorer; None where a window has no room for one."""
    rooms = [engine.window - len(contexts[engine.name].ids) for engine in (author, scorer) if engine.window is not None]
    room = min([limit, *rooms])
    if room < 1:
        return None
    draft = Draft(
        author,
        [scorer],
        contexts,
        chunk=chunk,
        width=min(author.vocab_size, scorer.vocab_size),
        limit=room,
        chooser=Chooser(Decoding(), "floor", author.name),
    )
    group = Group([draft])
    while not group.done:
        for _ in group.step():
            pass
    return draft.response()
