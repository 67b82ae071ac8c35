"""What a word tells: its frequency over the responses of all rows, and whether it is of content."""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

_MAGIC = b"itx words 1\n\0\0\0\0"
_HEADER = struct.Struct("<16sQQQ")


class Information:
    """Bits of words: −log₂ p(word), p = max(count, 1) / total, from the counts over all rows' responses.

    A word never counted so tells as much as one counted once. ``total`` is the number of words counted. The words lie
    sorted in one block, mapped from the file where there is one, so that opening reads nothing.
    """

    def __init__(self, block: bytes | mmap.mmap) -> None:
        """Read the header of ``block``. Raises ValueError where it is no whole list of words."""
        if len(block) < _HEADER.size:
            raise ValueError("the word counts are cut short")
        magic, self.total, self._length, size = _HEADER.unpack(block[: _HEADER.size])
        self._words = _HEADER.size + 8 * (2 * self._length + 1)
        if magic != _MAGIC or len(block) != self._words + size:
            raise ValueError("the word counts are cut short or of another kind")
        self._block = block
        self._known: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many different words were counted."""
        return int(self._length)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int]) -> Information:
        """Return the information of words counted so often; each count is at least 1."""
        pairs = sorted((_encode(word), count) for word, count in counts.items())
        ends = [0]
        for word, _ in pairs:
            ends.append(ends[-1] + len(word))
        figures = struct.pack(f"<{2 * len(pairs) + 1}Q", *(count for _, count in pairs), *ends)
        header = _HEADER.pack(_MAGIC, sum(counts.values()), len(pairs), ends[-1])
        return cls(b"".join((header, figures, *(word for word, _ in pairs))))

    @classmethod
    def load(cls, path: Path) -> Information:
        """Map the file that ``save`` wrote. Raises ValueError where it is cut short or another, OSError as reading."""
        with path.open("rb") as file:
            try:
                return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Write the counts to ``path``. Raises OSError."""
        path.write_bytes(self._block[:])

    def count(self, word: str) -> int:
        """Return how often the word was counted."""
        key = _encode(word)
        low, high = 0, int(self._length)
        while low < high:
            middle = (low + high) // 2
            if self._word(middle) < key:
                low = middle + 1
            else:
                high = middle
        return self._figure(low) if low < self._length and self._word(low) == key else 0

    def bits(self, word: str) -> float:
        """Return −log₂ p(word); 0 where nothing was counted."""
        known = self._known.get(word)
        if known is None:
            known = self._known[word] = math.log2(max(self.total, 1) / max(self.count(word), 1))
        return known

    def _figure(self, index: int) -> int:
        start = _HEADER.size + 8 * index
        return int.from_bytes(self._block[start : start + 8], "little")

    def _word(self, index: int) -> bytes:
        start = self._words + self._figure(self._length + index)
        return self._block[start : self._words + self._figure(self._length + index + 1)]


def is_content(word: str) -> bool:
    """Return False for a folded word that carries grammar and not subject matter (English words, single characters)."""
    return word not in _function_words()


def content_sums(words: Sequence[str]) -> list[int]:
    """Return how many of the first 0, 1, … words are of content."""
    function = _function_words()
    sums = [0]
    for word in words:
        sums.append(sums[-1] + (word not in function))
    return sums


@cache
def _function_words() -> frozenset[str]:
    folder = files("itx.data").joinpath("words")
    lines = "\n".join(folder.joinpath(f"{name}.txt").read_text(encoding="utf-8") for name in ("function", "characters"))
    return frozenset(word for line in lines.splitlines() if not line.startswith("#") for word in line.split())


def _encode(word: str) -> bytes:
    return word.encode("utf-8", "surrogatepass")
