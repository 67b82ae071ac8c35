"""What an object of tuning data means: which text is the instruction, which the response, and which was trained.

The shapes: Alpaca and its variants (``instruction/input/output``, ``prompt/response``, ``question/answer``, …),
ShareGPT's ``conversations``, OpenAI's and TRL's ``messages``, ``prompt/completion``, preference pairs
(``chosen/rejected``), judged answers (KTO: a ``label``), and plain ``text``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from itx.data.columns import Fields
from itx.data.messages import is_conversation, read_conversation, read_text, render_json, unpack
from itx.data.row import Role, Turn

Shape = Literal["preference", "conversation", "pair", "text"]
SHAPES = (
    "instruction/input/output or prompt/response or question/answer, conversations, messages, prompt/completion, "
    "chosen/rejected, text"
)

_DIALOGUE = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


def find_shape(fields: Fields) -> Shape | None:
    """Return the shape that an object has, None where it has none that itx knows."""
    if isinstance(fields.get("chosen"), str | Mapping | Sequence):
        return "preference"
    column = fields.find("messages")
    if column and is_conversation(fields.value(column)):
        return "conversation"
    response = fields.find("response")
    if response and fields.find("instruction", besides=response):
        return "pair"
    if fields.find("text"):
        return "text"
    # An answer alone: to an empty prompt, or to one that is null.
    return "pair" if response else None


def read_turns(fields: Fields, shape: Shape) -> list[Turn]:
    """Return the turns of an object, in order. Raises ValueError, saying why, where it does not fit the shape."""
    return _READERS[shape](fields)


def _read_preference(fields: Fields) -> list[Turn]:
    chosen = _read_answer(fields, "chosen")
    rejected = _read_answer(fields, "rejected") if fields.find("rejected") else []
    context: list[Turn] = []
    if not any(turn.role == "instruction" for turn in chosen):
        context = _read_context(fields)
    elif not any(turn.role == "system" for turn in chosen):
        context = _read_preface(fields)
    shared = _count_shared(chosen, rejected)
    return [
        *_untrain([*context, *chosen[:shared]]),
        *chosen[shared:],
        *(_reject(turn) for turn in rejected[min(shared, len(rejected)) :] if turn.role == "response"),
    ]


def _count_shared(chosen: Sequence[Turn], rejected: Sequence[Turn]) -> int:
    """Return how many first turns are prompt: those of both, or without a second those up to the last question."""
    if not rejected:
        return _find_last_answer(chosen)
    shared = 0
    for one, other in zip(chosen, rejected, strict=False):
        if (one.role, one.text) != (other.role, other.text):
            break
        shared += 1
    last = max((place for place, turn in enumerate(chosen) if turn.role == "response"), default=0)
    return min(shared, last)


def _read_context(fields: Fields) -> list[Turn]:
    """Return what stands before the answers: a prompt, a conversation so far, or none."""
    column = fields.find("messages")
    if column and is_conversation(fields.value(column)):
        return [*_read_preface(fields), *read_conversation(fields.value(column), column)]
    return [*_read_preface(fields), *_read_history(fields), *_read_instruction(fields)]


def _read_preface(fields: Fields) -> list[Turn]:
    turns: list[Turn] = []
    column = fields.find("system")
    if column:
        turns += _make("system", read_text(fields.value(column), column))
    tools = fields.get("tools")
    if tools is not None and unpack(tools):
        turns += _make("tool", tools if isinstance(tools, str) else render_json(tools))
    return turns


def _make(role: Role, text: str) -> list[Turn]:
    return [Turn(role=role, text=read_text(text, role))] if text.strip() else []


def _read_history(fields: Fields) -> list[Turn]:
    history = unpack(fields.get("history"))
    if is_conversation(history):
        return read_conversation(history, "history")
    turns: list[Turn] = []
    for exchange in history if isinstance(history, Sequence) and not isinstance(history, str) else ():
        if not isinstance(exchange, Sequence) or isinstance(exchange, str) or len(exchange) != 2:
            raise ValueError("the history is no list of pairs")
        turns.append(Turn(role="instruction", text=read_text(exchange[0], "history")))
        turns.append(Turn(role="response", text=read_text(exchange[1], "history"), trained=True))
    return turns


def _read_instruction(fields: Fields, besides: str | None = None) -> list[Turn]:
    column = fields.find("instruction", besides=besides)
    if column is None:
        return []
    value = fields.value(column)
    if _is_listed(value):
        return read_conversation(value, column)
    parts = [read_text(value, column)]
    added = fields.find("input")
    if added and added not in (column, besides):
        parts.append(read_text(fields.value(added), added))
    return [Turn(role="instruction", text="\n\n".join([part for part in parts if part.strip()] or parts[:1]))]


def _is_listed(value: object) -> bool:
    return is_conversation(value) or isinstance(value, Mapping | list | tuple)


def _read_answer(fields: Fields, meaning: Literal["response", "chosen", "rejected"]) -> list[Turn]:
    column = fields.find(meaning)
    if column is None:
        raise ValueError(f"it has no {meaning}")
    value = fields.value(column)
    if _is_listed(value):
        return read_conversation(value, column)
    text = read_text(value, column)
    if meaning != "response" and not fields.find("instruction") and text.lstrip().startswith("Human:"):
        return _split_dialogue(text)
    return [Turn(role="response", text=text, trained=True)]


def _split_dialogue(text: str) -> list[Turn]:
    """Cut a transcript with ``Human:`` and ``Assistant:`` into turns, as the hh-rlhf pairs are written."""
    _, *pieces = _DIALOGUE.split(text.strip())
    roles: dict[str, Role] = {"Human": "instruction", "Assistant": "response"}
    return [
        Turn(role=roles[speaker], text=said, trained=speaker == "Assistant")
        for speaker, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]


def _read_conversation(fields: Fields) -> list[Turn]:
    column = fields.find("messages")
    if column is None:
        raise ValueError("it has no messages")
    preface = _read_preface(fields)
    turns = read_conversation(fields.value(column), column)
    if preface and preface[0] == turns[0]:
        preface = preface[1:]
    return _judge(fields, [*preface, *turns])


def _read_pair(fields: Fields) -> list[Turn]:
    response = fields.find("response")
    if response is None:
        raise ValueError("it has no response")
    asked = _read_instruction(fields, besides=response)
    # The turns of a prompt are context, the answers among them too: a completion alone is what was trained.
    context = _untrain(asked)
    return _judge(fields, [*_read_preface(fields), *_read_history(fields), *context, *_read_answer(fields, "response")])


def _read_plain(fields: Fields) -> list[Turn]:
    column = fields.find("text")
    if column is None:
        raise ValueError("it has no text")
    return [Turn(role="response", text=read_text(fields.value(column), column), trained=True)]


def _judge(fields: Fields, turns: list[Turn]) -> list[Turn]:
    """Apply a label, where there is one: true, and only the last answer was trained; false, and it was rejected."""
    label = fields.get("label")
    if isinstance(label, str):
        label = {"true": True, "false": False}.get(label.strip().lower())
    if not isinstance(label, bool):
        return turns
    last = _find_last_answer(turns)
    answer = turns[last:] if label else [_reject(turn) if turn.role == "response" else turn for turn in turns[last:]]
    return [*_untrain(turns[:last]), *answer]


def _find_last_answer(turns: Sequence[Turn]) -> int:
    asked = [place for place, turn in enumerate(turns) if turn.role == "instruction"]
    return asked[-1] + 1 if asked else 0


def _untrain(turns: Sequence[Turn]) -> list[Turn]:
    return [Turn(role=turn.role, text=turn.text) for turn in turns]


def _reject(turn: Turn) -> Turn:
    return Turn(role="rejected", text=turn.text)


_READERS: Mapping[Shape, Callable[[Fields], list[Turn]]] = {
    "preference": _read_preference,
    "conversation": _read_conversation,
    "pair": _read_pair,
    "text": _read_plain,
}
