"""What one message of a conversation says, and who says it: OpenAI's and TRL's, ShareGPT's, LLaMA-Factory's."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence

from itx.data.row import Role, Turn

_SPEAKERS: dict[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "instruction"), "instruction"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "ai", "chatgpt", "function_call", "tool_call"), "response"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response", "tool_result"), "tool"),
    **dict.fromkeys(("ipython", "environment"), "tool"),
}
_ROLE = ("role", "from", "speaker")
_CONTENT = ("content", "value", "text")
_WEIGHT = ("loss_weight", "weight", "train", "training", "trainable")
_THOUGHT = ("reasoning_content", "reasoning", "thinking")
_PART = ("text", "value", "thinking", "reasoning", "refusal", "content")
_NO_TEXT = re.compile("image|video|audio|file")
_PRINTED = re.compile(r"\[\s*\{\s*'")
_LONGEST_NAME = 60
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_text(value: object, column: str) -> str:
    """Return the text of a value that is text or a number. Lone surrogates, which no encoding has, become U+FFFD.

    Raises ValueError for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{show(column)} holds {describe(value)}, where text is meant")
    return _SURROGATE.sub("\ufffd", value if isinstance(value, str) else json.dumps(value))


def show(name: object) -> str:
    """Return a name from a file as it may stand in a message: quoted, escaped and short."""
    text = str(name)
    text = text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"
    return json.dumps(text, ensure_ascii=not text.isprintable())


def describe(value: object) -> str:
    """Return in a word what kind of JSON value it is."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", str: "text", int: "a number", float: "a number"}
    return kinds.get(type(value), "an object" if isinstance(value, Mapping) else "a list")


def is_conversation(value: object) -> bool:
    """Whether it is a list of messages, or JSON (or what Python prints) of one."""
    listed = unpack(value)
    return isinstance(listed, Sequence) and not isinstance(listed, str) and bool(listed) and all(map(_is_turn, listed))


def unpack(value: object) -> object:
    """Return the list or object that stands as text in a column of a table; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    text = value.strip()
    try:
        # The data frames that people write to CSV have Python's notation, and not JSON's.
        return ast.literal_eval(text) if _PRINTED.match(text) else json.loads(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


def _is_turn(value: object) -> bool:
    return isinstance(value, Mapping) and _first(value, _ROLE) is not None


def read_conversation(value: object, column: str) -> list[Turn]:
    """Return the turns of a list of messages, of one message, or of an object that holds such a list.

    Responses are trained unless their weight is 0. Raises ValueError with the reason in words.
    """
    value = unpack(value)
    if isinstance(value, Mapping):
        value = value.get("messages") or [value]
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ValueError(
            f"{show(column)} holds {describe(value) if value else 'no messages'}, where messages are meant"
        )
    return [turn for message in value for turn in _read_message(message, column)]


def _read_message(message: object, column: str) -> list[Turn]:
    if not isinstance(message, Mapping):
        raise ValueError(f"{show(column)} holds {describe(message)} among its messages")
    speaker = _first(message, _ROLE)
    role = _SPEAKERS.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        raise ValueError(f"a message has the role {show(speaker)}, which itx does not know")
    weight = _first(message, _WEIGHT)
    trained = role == "response" if not isinstance(weight, int | float) else weight > 0
    texts = [_read_thought(message), _read_content(_first(message, _CONTENT), column), *_read_calls(message)]
    said = [text for text in texts if text] or [""]
    return [Turn(role=role, text=text, trained=trained) for text in said]


def _read_thought(message: Mapping[str, object]) -> str:
    thought = _first(message, _THOUGHT)
    return read_text(thought, "reasoning") if isinstance(thought, str) else ""


def _read_content(content: object, column: str) -> str:
    if content is None:
        return ""
    if isinstance(content, Mapping):
        content = [content]
    if isinstance(content, Sequence) and not isinstance(content, str):
        return "".join(_read_part(part, column) for part in content)
    return read_text(content, column)


def _read_part(part: object, column: str) -> str:
    if not isinstance(part, Mapping):
        return read_text(part, column)
    kind = str(part.get("type") or "text")
    if _NO_TEXT.search(kind):
        return ""
    value = _first(part, _PART)
    if value is None and "name" in part:
        return render_call(part)
    if value is None:
        raise ValueError(f"a part of type {show(kind)} holds no text")
    return read_text(value if isinstance(value, str) else render_json(value), column)


def _read_calls(message: Mapping[str, object]) -> list[str]:
    calls = unpack(message.get("tool_calls"))
    single = message.get("function_call")
    listed = calls if isinstance(calls, Sequence) and not isinstance(calls, str) else [calls] if calls else []
    return [render_call(call) for call in [*listed, *([single] if single else [])]]


def render_call(call: object) -> str:
    """Return a call as JSON of its name and its arguments, which may stand in it as text."""
    if not isinstance(call, Mapping):
        return read_text(call, "tool_calls")
    inner = call.get("function")
    function = inner if isinstance(inner, Mapping) else call
    if "name" not in function:
        raise ValueError("a tool call has no name")
    arguments = next((function[key] for key in ("arguments", "parameters", "input") if key in function), None)
    return render_json({"name": function["name"], "arguments": unpack(arguments)})


def render_json(value: object) -> str:
    """Return a value as JSON on one line, without the keys that a table fills with null."""
    return _SURROGATE.sub("\ufffd", json.dumps(_drop_nulls(value), ensure_ascii=False, default=str))


def _drop_nulls(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _drop_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_drop_nulls(inner) for inner in value]
    return value


def _first(fields: Mapping[str, object], names: tuple[str, ...]) -> object:
    return next((fields[name] for name in names if fields.get(name) is not None), None)
