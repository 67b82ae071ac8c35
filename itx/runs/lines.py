"""Lines of JSON from strangers: decoding one, and saying what is wrong with one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from itx.errors import RunError
from itx.records import Finish, Record

Shape = TypeVar("Shape")

TRACES = "traces.jsonl"
TORN = "traces.torn"
DESCRIPTION = "run.json"
MARKS = "marks.jsonl"
BORROW = "borrow.jsonl"
FACTS = "facts.jsonl"
VERIFY = "verify.jsonl"


class BrokenLine(Record, frozen=True, kw_only=True):
    """A line (or the row of a JSON array), counted from 1, that cannot be used, and why."""

    file: str
    line: int
    reason: str
    unit: Literal["line", "row"] = "line"

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.line}: {self.reason}"


class _ResponseHead(Record, frozen=True, kw_only=True):
    finish: Finish


class Head(Record, frozen=True, kw_only=True):
    """The part of a trace that a list of prompts needs; decoding it skips the figures at about 1 GB/s."""

    prompt_id: str
    prompt: str
    error: str | None = None
    responses: list[_ResponseHead] = []
    asked: str | None = None

    @property
    def cancelled(self) -> bool:
        """True where a response was stopped before its end."""
        return any(response.finish == "cancelled" for response in self.responses)


def decode(decoder: msgspec.json.Decoder[Shape], raw: bytes) -> Shape:
    """Decode one line. Raises ValueError with the reason in words for a reader of the file."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Which of the two bytes that are no UTF-8 raise depends on msgspec's version.
        if _is_utf8(raw):
            raise ValueError(f"not valid JSON ({error})") from error
        raise ValueError("not valid UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def refuse_line(folder: Path, line: int, reason: str) -> RunError:
    """Return the error for a line of ``traces.jsonl`` that cannot be read."""
    path = folder / TRACES
    return RunError(
        f"{path}, line {line}: {reason}.",
        f"The other lines are untouched. To drop this one and keep a copy: sed -i.bak {line}d {shlex.quote(str(path))}",
    )
