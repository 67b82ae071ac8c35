"""The rows of a text file, one by one: lines of JSON, JSON values one after another or in an array, and tables.

Nothing is held but the row at hand and one piece of the file, so that memory is bounded by the longest row.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from itx.data.splitting import Splitter
from itx.records import Record

LONGEST_ROW = 1 << 28
"""Bytes of a row; what is longer is broken. Without a bound one lost quote would draw the whole file into memory."""
LONGEST_FIELD = 1 << 24
"""Characters of a field of a table: the csv module holds four bytes for each."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_LENIENT = json.JSONDecoder(strict=False)
_ESCAPED = re.compile("[\udc80-\udcff]")
_DELIMITERS = ",;\t|"


class Entry(Record, frozen=True, kw_only=True):
    """A row as the file has it: its number from 0, its first line from 1 (where there are lines), what it says.

    ``fault`` says why it cannot be used; then there is no ``value``.
    """

    index: int
    line: int | None = None
    value: object = None
    fault: str | None = None


def decode_json(raw: bytes) -> object:
    """Return what JSON says. Lone surrogates, control characters within strings and NaN are let pass.

    Raises ValueError with the reason in words for a reader of the file.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # The fast decoder refuses what people's files have; the slow one decides, and says what is wrong.
        pass
    try:
        return _LENIENT.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise ValueError("not valid UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON ({error.msg} at character {error.pos})") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_lines(stream: BinaryIO) -> Iterator[Entry]:
    """Yield one entry for each line that is not blank."""
    index = number = 0
    while raw := stream.readline(LONGEST_ROW + 1):
        number += 1
        value, fault = None, None
        if len(raw) > LONGEST_ROW:
            fault = f"longer than {LONGEST_ROW} bytes"
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(LONGEST_ROW)
        else:
            raw = raw.removeprefix(BYTE_ORDER_MARK if number == 1 else b"").strip()
            if not raw:
                continue
            try:
                value = decode_json(raw)
            except ValueError as error:
                fault = str(error)
        yield Entry(index=index, line=number, value=value, fault=fault)
        index += 1


def read_values(stream: BinaryIO, *, in_array: bool) -> Iterator[Entry]:
    """Yield the elements of a JSON array, or JSON values one after another, across lines.

    After a broken one, reading goes on at the next object that begins with the same key.
    """
    splitter = Splitter(stream, LONGEST_ROW)
    splitter.skip(BYTE_ORDER_MARK)
    if in_array:
        splitter.skip(b"[")
    index, fault = 0, None
    while (byte := splitter.find_next()) and not (in_array and byte == b"]"):
        line = splitter.line
        raw, value, fault = None, None, None
        try:
            raw = splitter.take()
            value = decode_json(raw)
        except ValueError as error:
            fault = str(error)
            splitter.resume(raw)
        yield Entry(index=index, line=line, value=value, fault=fault)
        index += 1
    if not in_array:
        return
    if byte:
        splitter.skip(b"]")
        if splitter.find_next():
            yield Entry(index=index, line=splitter.line, fault="there is text after the end of the array")
    elif fault is None:
        yield Entry(index=index, line=splitter.line, fault="the array breaks off here: its closing ] is missing")


class _Lines:
    """Lines of text that can be given back: those of a record that turned out broken are read anew, but its first."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._again: list[str] = []
        self._record: list[str] = []
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._text)
        self._record.append(line)
        self.number += 1
        return line

    def peek(self) -> str:
        """Return the next line without passing over it; an empty one at the end."""
        if not self._again:
            self._again.append(next(self._text, ""))
        return self._again[-1]

    def begin(self) -> int:
        """Begin a record and return the number of its first line, from 1."""
        self._record.clear()
        return self.number + 1

    def give_back(self) -> None:
        """Have all lines of the record but the first read again."""
        again = self._record[1:]
        self._again.extend(reversed(again))
        self.number -= len(again)
        self._record.clear()


def read_table(stream: BinaryIO, delimiter: str | None = None) -> Iterator[Entry]:
    """Yield the records of a table whose first line names the columns, blank lines left out.

    Without ``delimiter`` it is the one of comma, semicolon, tab and bar that the first line has most of.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    # Bytes that are no UTF-8 become lone surrogates: one broken row, and not the end of the reading.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines = _Lines(text)
    header: list[str] = []
    if delimiter is None:
        delimiter = max(_DELIMITERS, key=lines.peek().count)
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    index = 0
    while True:
        line = lines.begin()
        fault = None
        fields: list[str] = []
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            fault = f"not a valid record ({error})"
            lines.give_back()
        if fault is None and not fields:
            continue
        if fault is None and any(_ESCAPED.search(field) for field in fields):
            fault = "not valid UTF-8"
        if not header and fault is None:
            header = fields
            continue
        if fault is None and len(fields) != len(header):
            fault = f"{len(fields)} fields, where the first line names {len(header)}"
        value = None if fault else dict(zip(header, fields, strict=True))
        yield Entry(index=index, line=line, value=value, fault=fault)
        index += 1
