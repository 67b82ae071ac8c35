"""Which chat template the tuning used: the one under which the tuned model finds its own rows least surprising."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from itx.compare.context import ContextMaker
from itx.compare.rounding import round_figure
from itx.compare.template import ChatTemplate, list_builtins, read_template
from itx.data.row import Row
from itx.doctor.finding import Finding, TemplateLoss, passed, warned
from itx.errors import ItxError
from itx.models.contract import Engine
from itx.records import Message, Prompt, Record

ROWS = 32
_SEARCHED = 20_000
_LONGEST = 1500
"""Characters of a question: longer ones cost time and say no more about the template."""
_TOKENS = 48
"""Tokens of a response that are scored."""
_FIRST_ROUND = 8
_KEPT = 3
_ALIKE = 0.02
"""Nats a token by which two templates must differ for one to be the better."""


class Exchange(Record, frozen=True, kw_only=True):
    """What a row asks, and what it answers first."""

    messages: list[Message]
    answer: str


def read_exchange(row: Row) -> Exchange | None:
    """Return a row's first trained answer with all that comes before it; None where it has none of text alone."""
    messages: list[Message] = []
    for turn in row.turns:
        if turn.role in {"tool", "rejected"}:
            return None
        if turn.role == "response" and turn.trained:
            asked = any(message.role == "user" for message in messages)
            answer = turn.text.strip()
            return Exchange(messages=messages, answer=answer) if asked and answer else None
        if turn.role == "system":
            messages.append(Message(role="system", content=turn.text))
        else:
            messages.append(Message(role="user" if turn.role == "instruction" else "assistant", content=turn.text))
    return None


def choose_rows(rows: Iterable[Row], count: int = ROWS) -> list[Exchange]:
    """Return ``count`` exchanges drawn evenly from the first 20,000 rows; the same ones every time."""
    draw = random.Random(0)
    chosen: list[Exchange] = []
    seen = 0
    for number, row in enumerate(rows):
        if number >= _SEARCHED:
            break
        exchange = read_exchange(row)
        if exchange is None or sum(len(message.content) for message in exchange.messages) > _LONGEST:
            continue
        seen += 1
        if len(chosen) < count:
            chosen.append(exchange)
        elif (place := draw.randrange(seen)) < count:
            chosen[place] = exchange
    return chosen


def list_candidates(engine: Engine, used: ChatTemplate | None) -> dict[str, ChatTemplate]:
    """Return the built-in templates, the one in use and the model's own (under their sources' names), by name."""
    candidates = {name: read_template(name) for name in list_builtins()}
    own = ChatTemplate(engine.template, engine.reference) if engine.template else None
    for brought in (used, own):
        if brought is not None and all(brought.text != template.text for template in candidates.values()):
            candidates[brought.source] = brought
    return candidates


def measure_losses(
    engine: Engine, candidates: dict[str, ChatTemplate], exchanges: Sequence[Exchange], tell: Callable[[str], None]
) -> list[TemplateLoss]:
    """Return the loss under each template, best first. After eight rows only the best three are gone on with.

    A template that cannot render the rows is left out. Raises MemoryExhaustedError.
    """
    sums: dict[str, float] = dict.fromkeys(candidates, 0.0)
    tokens: dict[str, int] = dict.fromkeys(candidates, 0)
    used: dict[str, int] = dict.fromkeys(candidates, 0)
    going = list(candidates)
    for number, exchange in enumerate(exchanges):
        if number == _FIRST_ROUND:
            going = sorted(going, key=lambda name: sums[name])[:_KEPT]
        tell(f"scoring {len(exchanges)} rows by {engine.name} under each template")
        for name in list(going):
            try:
                loss, count = score_answer(engine, candidates[name], exchange)
            except ItxError:
                # It refuses these messages (a system message, say), so it is not what they were tuned with.
                going.remove(name)
                used[name] = 0
                sums.pop(name)
                continue
            sums[name] += loss
            tokens[name] += count
            used[name] += 1
    losses = [
        TemplateLoss(
            model=engine.name,
            template=name,
            loss=round_figure(sums[name] / tokens[name]),
            rows=used[name],
            tokens=tokens[name],
        )
        for name in sums
        if tokens[name]
    ]
    return sorted(losses, key=lambda each: (-each.rows, each.loss))


def score_answer(engine: Engine, template: ChatTemplate, exchange: Exchange) -> tuple[float, int]:
    """Return the summed −log p (nats) of an answer's first tokens behind its question, and their number.

    What exceeds the window is cut off. Raises TemplateError where the template refuses the messages.
    """
    vocabulary = engine.vocabulary
    prompt = Prompt(id="row", prompt=exchange.messages[-1].content, messages=exchange.messages)
    context = ContextMaker(engine, [engine], "same", template).make(prompt)[engine.name]
    whole = vocabulary.encode(context.text + exchange.answer)
    before = vocabulary.encode(context.text)
    ids = whole[len(before) :] if whole[: len(before)] == before else vocabulary.encode(exchange.answer)
    room = _TOKENS if engine.window is None else min(_TOKENS, engine.window - len(context.ids))
    ids = [token for token in ids[: max(0, room)] if token < engine.vocab_size]
    if not ids:
        return 0.0, 0
    stream = engine.stream()
    rows = stream.extend([*context.ids, *ids[:-1]], keep=len(ids))
    reduced = engine.arithmetic.reduce(rows, [], ids, engine.vocab_size)
    return -sum(reduced.own.logp), len(ids)


def judge_losses(engine: Engine, losses: Sequence[TemplateLoss], used: ChatTemplate | None) -> list[Finding]:
    """Warn where another template than the one in use fits the rows better."""
    if not losses:
        return []
    best = losses[0]
    name = None if used is None else _name_used(used)
    mine = next((each for each in losses if each.template == name), None)
    listed = ", ".join(f"{each.template} {each.loss:.3f}" for each in losses[:_KEPT])
    said = f"Loss in nats a token on {best.rows} rows: {listed}."
    remedy = f"If it was tuned so, pass --chat-template {best.template}"
    if used is None:
        return [warned("template-loss", engine.name, f"{said} {best.template} fits best.", remedy)]
    if mine is None or mine.rows < best.rows or mine.loss > best.loss + _ALIKE:
        own = "" if mine is None else f" ({mine.loss:.3f} on {mine.rows} rows)"
        reason = f"{said} {best.template} fits better than the template in use{own}."
        return [warned("template-loss", engine.name, reason, remedy)]
    return [passed("template-loss", engine.name, f"{said} The template in use fits best.")]


def _name_used(used: ChatTemplate) -> str:
    same = (name for name in list_builtins() if read_template(name).text == used.text)
    return next(same, used.source)
