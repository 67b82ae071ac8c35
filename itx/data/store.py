"""Rows on disk: a file of lines of JSON and the places where they begin, memory-mapped, so that any row is one read."""

from __future__ import annotations

import json
import mmap
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import msgspec
import numpy as np

from itx.data.row import Row

ROWS = "rows.jsonl"
PLACES = "places.npy"
NUMBERS = "numbers.npy"
FILES = "files.json"

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Row)


class _File(msgspec.Struct, frozen=True):
    """Rows from ``start`` to ``end`` (exclusive) of the store are rows of the file ``name``, in the file's order."""

    name: str
    start: int
    end: int


class RowWriter:
    """Writes a store into ``folder``, row by row; ``close`` finishes it. Memory: 16 bytes a row."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = (folder / ROWS).open("wb")
        self._places = array("Q", [0])
        self._numbers = array("q")
        self._files: list[_File] = []

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def size(self) -> int:
        """Bytes of the rows so far."""
        return self._places[-1]

    def append(self, row: Row) -> None:
        """Write one row after those before it. Raises ValueError for an id that is not ``FILE#INDEX``."""
        name, number = split_id(row.id)
        line = _encode(row) + b"\n"
        self._rows.write(line)
        self._places.append(self._places[-1] + len(line))
        if not self._files or self._files[-1].name != name or number <= self._numbers[-1]:
            self._files.append(_File(name, len(self), len(self)))
        self._numbers.append(number)
        self._files[-1] = _File(name, self._files[-1].start, len(self))

    def close(self) -> None:
        """Write what is left."""
        self._rows.close()
        np.save(self._folder / PLACES, np.frombuffer(self._places, dtype=np.uint64))
        np.save(self._folder / NUMBERS, np.array(self._numbers, dtype=np.int64))
        # A name may hold any byte that the system allows: as escapes, JSON keeps it.
        files = [[file.name, file.start, file.end] for file in self._files]
        (self._folder / FILES).write_text(json.dumps(files), encoding="ascii")


class RowStore(Sequence[Row]):
    """The rows of an index, by their number from 0 in the order they were read.

    Raises OSError or ValueError where ``folder`` holds no whole store.
    """

    def __init__(self, folder: Path) -> None:
        self._places = np.load(folder / PLACES, mmap_mode="r", allow_pickle=False)
        self._numbers = np.load(folder / NUMBERS, mmap_mode="r", allow_pickle=False)
        self._files = [_File(*entry) for entry in json.loads((folder / FILES).read_bytes())]
        self._data: mmap.mmap | bytes = b""
        with (folder / ROWS).open("rb") as file:
            if file.seek(0, 2):
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._places) != len(self._numbers) + 1 or self._places[-1] != len(self._data):
            raise ValueError(f"{folder} holds no whole store of rows")

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, number: int) -> Row: ...
    @overload
    def __getitem__(self, number: slice) -> list[Row]: ...
    def __getitem__(self, number: int | slice) -> Row | list[Row]:
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"the store has no row {number}")
        number = int(number) % len(self)
        return _decode(self._data[int(self._places[number]) : int(self._places[number + 1])])

    def __iter__(self) -> Iterator[Row]:
        return (self[number] for number in range(len(self)))

    def id(self, number: int) -> str:
        """Return the id of a row without reading it. Raises IndexError where there is no such row."""
        for file in self._files:
            if file.start <= number < file.end:
                return f"{file.name}#{self._numbers[number]}"
        raise IndexError(f"the store has no row {number}")

    def number(self, row_id: str) -> int:
        """Return the number of the first row with this id. Raises KeyError where there is none."""
        try:
            name, wanted = split_id(row_id)
        except ValueError:
            raise KeyError(row_id) from None
        for file in self._files:
            if file.name == name:
                place = file.start + int(np.searchsorted(self._numbers[file.start : file.end], wanted))
                if place < file.end and self._numbers[place] == wanted:
                    return place
        raise KeyError(row_id)


def split_id(row_id: str) -> tuple[str, int]:
    """Return file name and number of an id ``FILE#INDEX``. Raises ValueError for anything else."""
    name, sign, index = row_id.rpartition("#")
    if not (sign and index.isascii() and index.isdigit()):
        raise ValueError(f"{row_id!r} is no FILE#INDEX")
    return name, int(index)


def _encode(row: Row) -> bytes:
    try:
        return _encoder.encode(row)
    except UnicodeEncodeError:
        # A lone surrogate, which JSON's escapes can hold and UTF-8 cannot.
        return json.dumps(msgspec.to_builtins(row)).encode("ascii")


def _decode(line: bytes) -> Row:
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.convert(json.loads(line), Row)
