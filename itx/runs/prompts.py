"""Reading what to ask: prompt files, given responses, and the prompts of a dataset file.

A file is JSONL (``.jsonl``, ``.ndjson``, ``.json``), a JSON array (``.json``) or one prompt a line (``.txt``), in
UTF-8. A row has ``prompt`` or ``messages``, or ``instruction`` with an optional ``input`` (Alpaca's fields, whose
``output`` then is the reference). A line that cannot be used is told with its number, and the others are read.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from itx.errors import InputError, UsageError
from itx.records import GivenResponse, Message, Prompt, Record
from itx.runs.lines import BrokenLine, decode

_ROLES = {"system", "developer", "user", "assistant", "tool"}
_KINDS = ".jsonl, .ndjson, .json or .txt"


class _Part(Record, frozen=True, kw_only=True):
    type: str = "text"
    text: str | None = None


class GivenTurn(Record, frozen=True, kw_only=True):
    """A turn as files have it: its content is text, or a list of parts."""

    role: str
    content: str | list[_Part]


class _Row(Record, frozen=True, kw_only=True):
    id: str | int | None = None
    prompt: str | None = None
    messages: list[GivenTurn] | None = None
    instruction: str | None = None
    input: str | None = None
    output: str | None = None
    reference: str | None = None
    author: str | None = None
    response: str | None = None
    response_ids: list[int] | None = None


class Line(Record, frozen=True, kw_only=True):
    """One non-empty line or array row, numbered from 1."""

    number: int
    unit: Literal["line", "row"]
    raw: bytes


_ROW = msgspec.json.Decoder(_Row)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


def read_prompts(path: Path, limit: int | None = None) -> tuple[list[Prompt], list[BrokenLine]]:
    """Return the first ``limit`` usable prompts (all without a limit) and the lines found broken on the way.

    A prompt without an id gets the number of its line. Raises UsageError for a file that is missing or of an unknown
    kind, InputError for one that is no text or no JSON array as a whole.
    """
    prompts: dict[str, Prompt] = {}
    places: dict[str, Line] = {}
    broken: list[BrokenLine] = []
    for line in read_lines(path):
        if limit is not None and len(prompts) >= limit:
            break
        try:
            prompt = _make_plain_prompt(line) if _is_plain(path) else _make_prompt(line, decode(_ROW, line.raw))
            if prompt.id in places:
                raise ValueError(f"the id {prompt.id!r} is taken by {line.unit} {places[prompt.id].number}")
        except ValueError as error:
            broken.append(tell_broken(path, line, error))
        else:
            prompts[prompt.id] = prompt
            places[prompt.id] = line
    return list(prompts.values()), broken


def read_responses(path: Path, limit: int | None = None) -> tuple[list[Prompt], list[BrokenLine]]:
    """Return prompts with ``given`` responses, and the broken lines; errors and ``limit`` as in ``read_prompts``.

    A row has ``response`` (text) or ``response_ids``, and optionally ``author``. Rows with the same id are responses of
    different authors to the same prompt.
    """
    if _is_plain(path):
        raise UsageError(f"{path} is plain text; responses come as JSONL.", 'One a line: {"prompt": …, "response": …}')
    prompts: dict[str, Prompt] = {}
    broken: list[BrokenLine] = []
    for line in read_lines(path):
        try:
            row = decode(_ROW, line.raw)
            prompt = _make_prompt(line, row)
            given = _make_given(row)
            if prompt.id not in prompts and limit is not None and len(prompts) >= limit:
                continue
            prompts[prompt.id] = _join(prompts.get(prompt.id), prompt, given)
        except ValueError as error:
            broken.append(tell_broken(path, line, error))
    return list(prompts.values()), broken


def _is_plain(path: Path) -> bool:
    return path.suffix.lower() == ".txt"


def tell_broken(path: Path, line: Line, error: ValueError) -> BrokenLine:
    """Return what is said of a line that cannot be used."""
    return BrokenLine(file=str(path), line=line.number, reason=str(error), unit=line.unit)


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the non-empty lines, or the rows of a JSON array. Raises UsageError, InputError as ``read_prompts``."""
    kind = path.suffix.lower()
    if kind not in {".jsonl", ".ndjson", ".json", ".txt"}:
        raise UsageError(f"{path} is of no kind that itx reads ({_KINDS}).", "Convert it, or rename it.")
    try:
        if not path.is_file():
            state = "is not a file" if path.exists() else "does not exist"
            raise UsageError(f"{path} {state}.", f"Name a file: {_KINDS}.")
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", f"ls -l {shlex.quote(str(path))}") from error
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            f"{path} is UTF-16; itx reads UTF-8.", f"iconv -f UTF-16 -t UTF-8 {shlex.quote(str(path))} > new{kind}"
        )
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if kind == ".json" and raw.lstrip().startswith(b"["):
        yield from _split_array(path, raw)
        return
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line.strip():
            yield Line(number=number, unit="line", raw=line.strip())


def _split_array(path: Path, raw: bytes) -> Iterator[Line]:
    try:
        rows = decode(_ARRAY, raw)
    except ValueError as error:
        raise InputError(
            f"{path}: {error}.", "It starts as a JSON array: close it, or write one object a line."
        ) from error
    for number, row in enumerate(rows, start=1):
        yield Line(number=number, unit="row", raw=bytes(row))


def _make_plain_prompt(line: Line) -> Prompt:
    try:
        text = line.raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError("not valid UTF-8") from error
    if not text.strip():
        raise ValueError("the prompt is empty")
    return Prompt(id=str(line.number), prompt=text)


def _make_prompt(line: Line, row: _Row) -> Prompt:
    prompt_id = str(line.number if row.id is None else row.id)
    if not prompt_id.strip():
        raise ValueError("the id is empty")
    reference, messages = row.reference, list[Message]()
    if row.messages is not None:
        messages = [read_turn(turn) for turn in row.messages]
        if messages and messages[-1].role == "assistant":
            # A training row: its last answer is what the tuning taught, not what is asked.
            answer = messages.pop().content
            reference = answer if reference is None else reference
        if not messages or messages[-1].role != "user":
            raise ValueError("the messages do not end with a user's turn")
        text = messages[-1].content
    elif row.prompt is not None:
        text = row.prompt
    elif row.instruction is not None:
        text = f"{row.instruction}\n\n{row.input}" if row.input and row.input.strip() else row.instruction
        reference = row.output if reference is None else reference
    else:
        raise ValueError("it has none of prompt, messages, instruction")
    if not text.strip():
        raise ValueError("the prompt is empty")
    return Prompt(id=prompt_id, prompt=text, messages=messages, reference=reference)


def read_turn(turn: GivenTurn) -> Message:
    """Return a turn as a message. Raises ValueError for an unknown role, or a part that is no text."""
    if turn.role not in _ROLES:
        raise ValueError(f"the role {turn.role!r} is none of {', '.join(sorted(_ROLES))}")
    if isinstance(turn.content, str):
        return Message(role=turn.role, content=turn.content)
    texts: list[str] = []
    for part in turn.content:
        if part.type != "text" or part.text is None:
            raise ValueError(f"a part of type {part.type!r}, where itx reads text only")
        texts.append(part.text)
    return Message(role=turn.role, content="".join(texts))


def _make_given(row: _Row) -> GivenResponse:
    if (row.response is None) == (row.response_ids is None):
        raise ValueError("it needs either response or response_ids")
    if row.response_ids is not None and any(token < 0 for token in row.response_ids):
        raise ValueError("a negative token id in response_ids")
    # A blank author says as little as none: the first tuned model's.
    author = row.author if row.author and row.author.strip() else None
    return GivenResponse(author=author, text=row.response, ids=row.response_ids)


def _join(known: Prompt | None, prompt: Prompt, given: GivenResponse) -> Prompt:
    if known is None:
        return msgspec.structs.replace(prompt, given=[given])
    if (known.prompt, known.messages) != (prompt.prompt, prompt.messages):
        raise ValueError(f"the id {prompt.id!r} was used for another prompt")
    if any(earlier.author == given.author for earlier in known.given):
        raise ValueError(f"a second response of the same author to the id {prompt.id!r}")
    return msgspec.structs.replace(known, given=[*known.given, given])
