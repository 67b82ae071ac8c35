"""Cutting a stream of JSON into its values without decoding it: where one ends, and where the next begins."""

from __future__ import annotations

import re
from typing import BinaryIO

CHUNK = 1 << 20
_LONGEST_WORD = len(b"-Infinity")
_LONGEST_KEY = 1 << 10

# Possessive, so that no input makes the search go back. A string may hold raw control characters: the decoder judges.
_STRING = rb'"(?>[^"\\]++|\\.)*+"'
_WORD = rb"true|false|null|NaN|-?Infinity"
# A number may be cut by the end of what was read: any run of its characters passes, and the decoder judges.
_FLAT = re.compile(rb"(?>[\s,:0-9.eE+\-]++|" + _STRING + rb"|" + _WORD + rb")*+", re.DOTALL)
_SCALAR = re.compile(_STRING + rb"|-?[0-9][0-9.eE+\-]*+|" + _WORD, re.DOTALL)
_BETWEEN = re.compile(rb"[\s,]*+")
_FIRST_KEY = re.compile(rb'\{\s*("(?:[^"\\]|\\.){0,%d}")\s*:' % _LONGEST_KEY, re.DOTALL)
_ANY_KEY = rb'"'


class Splitter:
    """A stream of JSON values with white space and commas between them.

    Memory is bounded by the longest value, which may have ``longest`` bytes; ``line`` is the line, from 1, that the
    next value begins in.
    """

    def __init__(self, stream: BinaryIO, longest: int) -> None:
        self.line = 1
        self._stream = stream
        self._longest = longest
        self._data = b""
        self._start = 0
        self._key = _ANY_KEY
        self._ended = False

    def find_next(self) -> bytes:
        """Go to where the next value begins and return its first byte; none at the end of the stream."""
        while True:
            match = _BETWEEN.match(self._data, self._start)
            self._advance(match.end() if match else self._start)
            if self._start < len(self._data) or not self._read():
                return self._data[self._start : self._start + 1]

    def skip(self, mark: bytes) -> None:
        """Pass over ``mark`` where it is what comes next."""
        self.find_next()
        while len(self._data) - self._start < len(mark) and self._read():
            pass
        if self._data.startswith(mark, self._start):
            self._advance(self._start + len(mark))

    def take(self) -> bytes:
        """Return the value that begins here and go behind it.

        Raises ValueError, going nowhere, where its end cannot be found.
        """
        try:
            end = self._find_end()
        finally:
            key = _FIRST_KEY.match(self._data, self._start)
            if key:
                self._key = key[1]
        raw = self._data[self._start : end]
        self._advance(end)
        return raw

    def resume(self, broken: bytes | None) -> None:
        """After a broken value, go on where an object begins with the same key as it (or as the last that had one).

        ``broken`` is what was taken, which may hold the beginning of its successor; None where nothing was.
        """
        pattern = re.compile(rb"\{\s*" + re.escape(self._key) + (b"" if self._key == _ANY_KEY else rb"\s*:"))
        if broken is not None:
            inner = pattern.search(broken, 1)
            if inner:
                self._data = broken[inner.start() :] + self._data[self._start :]
                self.line -= self._data.count(b"\n", 0, len(broken) - inner.start())
                self._start = 0
            return
        self._advance(min(self._start + 1, len(self._data)))
        while not (match := pattern.search(self._data, self._start)):
            self._advance(max(self._start, len(self._data) - len(self._key) - _LONGEST_KEY))
            if not self._read():
                self._advance(len(self._data))
                return
        self._advance(match.start())

    def _find_end(self) -> int:
        depth, position = 0, self._start
        if self._data[position] not in b"{[":
            return self._find_scalar_end()
        while True:
            match = _FLAT.match(self._data, position)
            position = match.end() if match else position
            byte = self._data[position : position + 1]
            if byte in (b"{", b"["):
                depth, position = depth + 1, position + 1
            elif byte in (b"}", b"]"):
                depth, position = depth - 1, position + 1
                if depth == 0:
                    return position
            elif not self._is_cut(position):
                line = self.line + self._data.count(b"\n", self._start, position)
                raise ValueError(f"not valid JSON: no value can stand where line {line} goes on")
            else:
                scanned = position - self._start
                if scanned > self._longest or len(self._data) - self._start > self._longest:
                    raise ValueError(f"longer than {self._longest} bytes")
                if not self._read():
                    raise ValueError("not valid JSON: it breaks off before its end")
                position = self._start + scanned

    def _find_scalar_end(self) -> int:
        while True:
            match = _SCALAR.match(self._data, self._start)
            if match and (match.end() < len(self._data) or self._ended):
                return match.end()
            if not self._is_cut(match.end() if match else self._start):
                raise ValueError("not valid JSON: no value begins here")
            if len(self._data) - self._start > self._longest:
                raise ValueError(f"longer than {self._longest} bytes")
            if not self._read() and not match:
                raise ValueError("not valid JSON: no value begins here")

    def _is_cut(self, position: int) -> bool:
        """Whether what stands at ``position`` may go on in the part of the stream that was not read yet."""
        rest = self._data[position : position + 1]
        return rest in (b"", b'"') or (not self._ended and len(self._data) - position < _LONGEST_WORD)

    def _read(self) -> bool:
        # As much again as is held: a long value is then scanned a bounded number of times.
        piece = self._stream.read(max(CHUNK, len(self._data) - self._start))
        self._ended = not piece
        self._data = self._data[self._start :] + piece
        self._start = 0
        return bool(piece)

    def _advance(self, position: int) -> None:
        self.line += self._data.count(b"\n", self._start, position)
        self._start = position
