"""Reading tuning data: every row of a file, a folder or a data set, whatever shape and format it has."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from itx.data.columns import Columns, Fields, override_columns
from itx.data.entries import Entry
from itx.data.files import DataFile, find_files, read_entries
from itx.data.messages import describe, show
from itx.data.row import Row, Turn
from itx.data.shapes import SHAPES, Shape, find_shape, read_turns
from itx.errors import InputError
from itx.records import Record

_OVERRIDE = "Say which columns hold what: --columns instruction=NAME,response=NAME"
_SHOWN_NAMES = 12


class Broken(Record, frozen=True, kw_only=True):
    """A row that was skipped, and why. ``index`` is its number in the file, from 0; ``line`` the first of its lines,
    from 1, in a file that has lines."""

    file: str
    line: int | None
    index: int
    reason: str

    def __str__(self) -> str:
        place = f"row {self.index}" if self.line is None else f"line {self.line}"
        return f"{self.file}, {place}: {self.reason}"


def _pass_over(broken: Broken) -> None:
    """Do nothing about a broken row."""


def data_files(reference: str) -> list[Path]:
    """Return the files behind a reference, in the order in which they are read; none for a data set on the hub.

    Raises UsageError for what is not there, InputError for a folder without data.
    """
    return [file.path for file in find_files(reference) if file.path is not None]


def read_rows(
    reference: str,
    columns: Mapping[str, str] | None = None,
    on_broken: Callable[[Broken], None] = _pass_over,
) -> Iterator[Row]:
    """Yield the rows of tuning data in order; memory is bounded by the longest row, not by the files.

    ``columns`` names the columns that hold what itx would not find: any of ``instruction``, ``input``, ``response``,
    ``system`` (and ``messages``, ``chosen``, ``rejected``, ``text``, ``tools``, ``history``, ``label``); an empty name
    means no column. ``on_broken`` is told of each row that is skipped.

    Raises at the call: UsageError for what is not there or cannot be named so, InputError for a folder without data.
    Raises while reading: InputError for a file that is no data, and where no row at all can be used, but in a folder
    only if none of its files has any; MissingExtraError for a format whose package is not installed.
    """
    names = override_columns(columns)
    return _read_all(reference, find_files(reference), names, on_broken)


def _read_all(
    reference: str, files: Sequence[DataFile], columns: Columns, on_broken: Callable[[Broken], None]
) -> Iterator[Row]:
    failures: list[InputError] = []
    used = 0
    for file in files:
        try:
            for row in _read_file(file, columns, on_broken):
                used += 1
                yield row
        except InputError as error:
            if len(files) == 1:
                raise
            failures.append(error)
            on_broken(Broken(file=file.shown, line=None, index=0, reason=error.cause))
    if failures and not used:
        raise InputError(
            f"None of the {len(files)} files of {reference} has a row that can be used. {failures[0].cause}",
            failures[0].remedy,
        )


def _read_file(file: DataFile, columns: Columns, on_broken: Callable[[Broken], None]) -> Iterator[Row]:
    reader = _Reader(columns)
    used = 0
    first: Broken | None = None
    skipped = 0
    for entry in read_entries(file):
        try:
            turns = reader.read(entry)
        except ValueError as error:
            broken = Broken(file=file.shown, line=entry.line, index=entry.index, reason=str(error))
            first, skipped = first or broken, skipped + 1
            on_broken(broken)
        else:
            used += 1
            yield Row(id=f"{file.name}#{entry.index}", turns=turns)
    if used:
        return
    if first is None:
        raise InputError(f"{file.shown} holds no rows.", "Each row is one object, or one record of a table.")
    if reader.shapeless is not None:
        key = _find_rows(reader.shapeless) if skipped == 1 else None
        raise InputError(
            f"{file.shown} has no shape that itx knows: its rows have {_list_names(list(reader.shapeless))}. "
            f"itx knows {SHAPES}.",
            f"jq {shlex.quote(f'.[{json.dumps(key)}]')} {shlex.quote(file.shown)} > rows.json" if key else _OVERRIDE,
        )
    raise InputError(f"{file.shown}: none of its {skipped} rows can be used. The first is {first}.", _OVERRIDE)


def _find_rows(wrapper: Mapping[str, object]) -> str | None:
    """Return the key under which one object that is no row holds a list of rows."""
    for key, value in wrapper.items():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            return key
    return None


def _list_names(names: Sequence[str]) -> str:
    shown = ", ".join(map(show, names[:_SHOWN_NAMES])) or "no columns that can hold text"
    return f"{shown} and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else shown


class _Reader:
    """Reads the rows of one file: each by the shape of the first, or by its own where that does not fit."""

    def __init__(self, columns: Columns) -> None:
        self.shapeless: Mapping[str, object] | None = None
        """The first object that has no known shape."""
        self._columns = columns
        self._shape: Shape | None = None

    def read(self, entry: Entry) -> list[Turn]:
        """Return the turns of a row. Raises ValueError with the reason why it has none."""
        if entry.fault is not None:
            raise ValueError(entry.fault)
        if not isinstance(entry.value, Mapping):
            raise ValueError(f"it is {describe(entry.value)}, and no object")
        fields = Fields(entry.value, self._columns)
        reason: ValueError | None = None
        if self._shape is not None:
            try:
                return read_turns(fields, self._shape)
            except ValueError as error:
                reason = error
        shape = find_shape(fields)
        if shape is None:
            self.shapeless = self.shapeless or entry.value
            raise ValueError(f"no shape that itx knows: it has {_list_names(fields.names)}")
        if shape == self._shape and reason is not None:
            raise reason
        turns = read_turns(fields, shape)
        self._shape = self._shape or shape
        return turns
