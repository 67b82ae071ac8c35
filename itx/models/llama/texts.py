"""The texts of a GGUF array, left in the file: a vocabulary of 262,144 as Python's strings would take 30 MB."""

from __future__ import annotations

import mmap
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import overload


class Texts(Sequence[str]):
    """Texts one behind the other, each behind its length in bytes; what is no UTF-8 becomes U+FFFD."""

    def __init__(self, block: mmap.mmap, start: int, end: int, length: int) -> None:
        self._block = block
        self._start = start
        self._end = end
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(self._length))]
        if not -self._length <= place < self._length:
            raise IndexError(place)
        start = self._starts[place % self._length] + 8
        return self._block[start : self._starts[place % self._length + 1]].decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        return (text.decode("utf-8", "replace") for text in self.spell())

    def spell(self) -> Iterator[bytes]:
        """Yield the bytes of each."""
        read = struct.Struct("<Q").unpack_from
        # Copied once: slices of bytes are cheaper than a map's.
        block, at = self._block[self._start : self._end], 0
        for _ in range(self._length):
            start = at + 8
            at = start + read(block, at)[0]
            yield block[start:at]

    @cached_property
    def _starts(self) -> array[int]:
        """Where each begins in the file, and where the last ends."""
        read = struct.Struct("<Q").unpack_from
        starts, at = array("Q", [self._start]), self._start
        for _ in range(self._length):
            at += 8 + read(self._block, at)[0]
            starts.append(at)
        return starts


class Numbered(Mapping[int, str]):
    """Texts by their places."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def __getitem__(self, place: int) -> str:
        if not 0 <= place < len(self._texts):
            raise KeyError(place)
        return self._texts[place]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._texts)))

    def __len__(self) -> int:
        return len(self._texts)
