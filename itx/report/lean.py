"""Reading a run for its figures alone: alternatives, contexts and pieces, most of a file's bytes, are passed over.

A lean trace is a ``Trace`` whose lists of alternatives hold as many entries as ever, so that what ``itx open`` checks
of a trace is checked here, too; but an entry holds no more than the author's first choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import SEEK_END, FileIO
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import msgspec

from itx.errors import RunError
from itx.records import Response, Run, Score, Trace
from itx.runs.check import LARGEST, check_trace
from itx.runs.lines import TRACES, Head, decode, refuse_line
from itx.runs.recording import Recording

_CHUNK = 1 << 23
_HEAD_SIZE = 1 << 12
_ID = re.compile(rb'{"prompt_id":("(?:[^"\\]|\\.)*")')
_HEAD = msgspec.json.Decoder(Head)


class _Passed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A list of which nothing is kept."""


class _PassedObject(msgspec.Struct, frozen=True, gc=False):
    """An object of which nothing is kept."""


class _Best(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An alternative of which the id is kept."""

    token: int


class _First(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Alternatives of which the first is kept."""

    best: _Best | None = None


class _LazyPieces(dict[int, str]):
    """The pieces of a trace, decoded when one is asked for."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self._raw: bytes | None = raw

    def _read(self) -> None:
        if self._raw is not None:
            self.update(_PIECES.decode(self._raw))
            self._raw = None

    def get(self, token: int, other: Any = None) -> Any:
        self._read()
        return super().get(token, other)

    def __getitem__(self, token: int) -> str:
        self._read()
        return super().__getitem__(token)

    def __contains__(self, token: object) -> bool:
        self._read()
        return super().__contains__(token)


def _hold(kind: Any, *of: Any) -> Any:
    """Return the type of a list or a dictionary of a type that is made at run time."""
    return kind[of]


_PIECES = msgspec.json.Decoder(dict[int, str])
# Made at run time: to a type checker a lean trace is a trace.
# What ``check_trace`` asks of figures one by one is asked while they are decoded.
_Figure = Annotated[float, msgspec.Meta(gt=-LARGEST, lt=LARGEST)]
_FIGURES = list[_Figure | None]
_LEAN_SCORE = msgspec.defstruct(
    "_LeanScore",
    [
        *((name, _FIGURES) for name in ("logp", "entropy", "kl_author_scorer", "kl_scorer_author", "js")),
        ("rank", list[Annotated[int, msgspec.Meta(ge=1, lt=int(LARGEST))] | None]),
        ("ties", list[Annotated[int, msgspec.Meta(ge=0, lt=int(LARGEST))] | None]),
        ("top", list[_Passed]),
    ],
    bases=(Score,),
    frozen=True,
    kw_only=True,
    omit_defaults=True,
)
_LEAN_RESPONSE = msgspec.defstruct(
    "_LeanResponse",
    [
        ("ids", list[Annotated[int, msgspec.Meta(ge=0)]]),
        ("logp", list[_Figure], []),
        ("entropy", list[_Figure], []),
        ("top", list[_First], []),
        ("scores", _hold(dict, str, _LEAN_SCORE), {}),
    ],
    bases=(Response,),
    frozen=True,
    kw_only=True,
)
_LEAN_TRACE = msgspec.defstruct(
    "_LeanTrace",
    [
        ("contexts", dict[str, _PassedObject], {}),
        ("responses", _hold(list, _LEAN_RESPONSE), []),
        ("pieces", msgspec.Raw, msgspec.Raw(b"{}")),
        ("own_pieces", dict[str, msgspec.Raw], {}),
        ("messages", list[_PassedObject], []),
    ],
    bases=(Trace,),
    frozen=True,
    kw_only=True,
)
_DECODER = msgspec.json.Decoder(_LEAN_TRACE)


def read_first_choices(response: Response) -> list[int]:
    """Return the author's first choice at each position, -1 where it is not known."""
    if response.top and isinstance(response.top[0], _First):
        lean = cast(list[_First], response.top)
        return [-1 if first.best is None else first.best.token for first in lean]
    return [top[0][0] if top else -1 for top in response.top]


def read_lean(recording: Recording) -> Iterator[Trace]:
    """Yield every prompt's trace without what figures do not need, in the order of ``entries``, one at a time.

    It needs no scan of the recording, and does none. Raises RunError for a line that cannot be used.
    """
    return read_lines(recording.folder, recording.run, list_lines(recording.folder / TRACES))


def read_lines(folder: Path, run: Run, lines: Sequence[Line]) -> Iterator[Trace]:
    """Yield the traces of some lines, as ``read_lean`` does."""
    buffer = bytearray()
    for line in lines:
        if len(buffer) < line.size:
            buffer = bytearray(2 * line.size)
        view = memoryview(buffer)[: line.size]
        try:
            with (folder / TRACES).open("rb", buffering=0) as file:
                file.seek(line.offset)
                _fill(file, view)
            yield check_trace(_detach(_decode(view)), run, bounded=True)
        except ValueError as error:
            raise refuse_line(folder, line.number, str(error)) from error
        except OSError as error:
            raise RunError(f"{folder / TRACES} cannot be read: {error.strerror}.") from error


def _decode(view: memoryview) -> Any:
    # The decoder reads any buffer; a copy of each line would cost as much as reading it.
    return decode(_DECODER, cast(bytes, view))


def _fill(file: FileIO, view: memoryview) -> None:
    while view and (count := file.readinto(view)):
        view = view[count:]


def is_complete(recording: Recording) -> bool:
    """Return False where the file ends within a line. Raises RunError where it cannot be read."""
    path = recording.folder / TRACES
    try:
        with path.open("rb") as file:
            size = file.seek(0, SEEK_END)
            file.seek(max(0, size - 1))
            return file.read(1) in {b"", b"\n"}
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error


def _detach(trace: Any) -> Trace:
    """Give a trace pieces of its own: the line that it was decoded from is overwritten by the next."""
    msgspec.structs.force_setattr(trace, "pieces", _LazyPieces(bytes(trace.pieces)))
    own = {name: _LazyPieces(bytes(raw)) for name, raw in trace.own_pieces.items()}
    msgspec.structs.force_setattr(trace, "own_pieces", own)
    return cast(Trace, trace)


class Line(NamedTuple):
    """A line of ``traces.jsonl``, counted from 1, and its bytes in the file."""

    number: int
    offset: int
    size: int


def list_lines(path: Path) -> list[Line]:
    """Return the line of each prompt, the last where it was redone, in the order in which prompts first occur.

    A last line that is cut short is left out. The prompt's id is read from the line's start where it is there, as it is
    in what itx writes. Raises RunError for a line that has none.
    """
    lines: dict[str, Line] = {}
    buffer = bytearray(_CHUNK)
    number = start = offset = 0
    head = b""
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                place = 0
                while True:
                    end = buffer.find(b"\n", place, count)
                    head += buffer[place : min(count if end < 0 else end, place + _HEAD_SIZE - len(head))]
                    if end < 0:
                        break
                    number += 1
                    line = Line(number, start, offset + end + 1 - start)
                    prompt = _read_id(head)
                    lines[_decode_id(path, line) if prompt is None else prompt] = line
                    place, start, head = end + 1, offset + end + 1, b""
                offset += count
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    return list(lines.values())


def _decode_id(path: Path, line: Line) -> str:
    """Return the id of a line that does not begin with it. Raises RunError, and OSError."""
    with path.open("rb") as file:
        file.seek(line.offset)
        try:
            return decode(_HEAD, file.read(line.size)).prompt_id
        except ValueError as error:
            raise refuse_line(path.parent, line.number, str(error)) from error


def _read_id(head: bytes) -> str | None:
    """Return the prompt's id where a line begins with it."""
    found = _ID.match(head)
    try:
        return None if found is None else msgspec.json.decode(found.group(1), type=str)
    except msgspec.DecodeError:
        return None
