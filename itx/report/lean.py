"""Reading a run for its figures alone: alternatives, contexts and pieces, most of a file's bytes, are passed over.

A lean trace is a ``Trace`` whose lists of alternatives hold as many entries as ever, so that what ``itx open`` checks
of a trace is checked here, too; but an entry holds no more than the author's first choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from itx.records import Response, Score, Trace
from itx.runs.check import check_trace
from itx.runs.lines import decode, refuse_line
from itx.runs.recording import Recording


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

    def __init__(self, raw: msgspec.Raw) -> None:
        super().__init__()
        self._raw: msgspec.Raw | None = raw

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


def _read_pieces(trace: Any, model: str) -> dict[int, str]:
    raw = trace.own_pieces.get(model, trace.pieces)
    return _LazyPieces(raw) if isinstance(raw, msgspec.Raw) else raw


def _hold(kind: Any, *of: Any) -> Any:
    """Return the type of a list or a dictionary of a type that is made at run time."""
    return kind[of]


_PIECES = msgspec.json.Decoder(dict[int, str])
# Made at run time: to a type checker a lean trace is a trace.
_LEAN_SCORE = msgspec.defstruct(
    "_LeanScore", [("top", list[_Passed])], bases=(Score,), frozen=True, kw_only=True, omit_defaults=True
)
_LEAN_RESPONSE = msgspec.defstruct(
    "_LeanResponse",
    [("top", list[_First], []), ("scores", _hold(dict, str, _LEAN_SCORE), {})],
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
    namespace={"read_pieces": _read_pieces},
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

    Raises RunError for a line that cannot be used.
    """
    for entry, line in recording.lines():
        try:
            trace = cast(Trace, decode(_DECODER, line))
            yield check_trace(trace, recording.run)
        except ValueError as error:
            raise refuse_line(recording.folder, entry.line, str(error)) from error
