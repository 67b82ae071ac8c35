"""The verbatim index: suffix arrays over the folded responses of all rows, and what runs of a text are in them.

The responses are written as UTF-8, ``\\0word word word \\0word word \\0``: one blank after every word, so that a run
that is found with the blank after it ends where a word ends, and a NUL after every row, so that none goes over a row's
end. Of the suffixes, sorted by divsufsort (Yuta Mori's, through pydivsufsort), only those at the start of a word are
kept. Rows are written in shards small enough to sort in memory; every shard is asked in turn. A folder holds

``verbatim.json``   the rows and words of every shard and the size of every file, written last;
``words``           how often each word occurs (``itx.data.information``);
``N.text``, ``N.suffixes``, ``N.rows``   of shard N the text, the places of the sorted suffixes in it, and the row
                    of each, numbered from 0 within the shard; both uint32.
"""

from __future__ import annotations

import mmap
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import msgspec

from itx.data.information import Information
from itx.data.spans import Ruler

FORMAT = 1
EXAMPLES = 5
_MANIFEST = "verbatim.json"
_WORDS = "words"
_PARTS = ("text", "suffixes", "rows")


class Found(NamedTuple):
    """A verbatim span of a text: its words (``end`` exclusive), its bits, and the rows that have it.

    ``rows`` counts them, each once; ``examples`` are the numbers of the first of them, at most five, from 0.
    """

    start: int
    end: int
    bits: float
    rows: int
    examples: list[int]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole index consists of: rows of each shard, and the size of every file in bytes."""

    format: int
    byteorder: str
    shards: list[int]
    sizes: dict[str, int]


class VerbatimIndex:
    """Finds the runs of words that rows have, of any length, by their place among the sorted suffixes."""

    def __init__(self, information: Information, shards: Sequence[Shard]) -> None:
        self.information = information
        self._shards = list(shards)

    @classmethod
    def build(
        cls, texts: Iterable[str | tuple[str, ...]], folder: Path, progress: Callable[[int], None] | None = None
    ) -> None:
        """Write the index of the rows' responses into ``folder``, which exists; an index there is replaced.

        A response in several parts is one of the parts joined. ``progress`` hears of the rows read so far. Memory: six
        bytes for each of the 768 MiB that a shard may hold, and the distinct words. Raises OSError.
        """
        from itx.data.verbatim_building import build

        (folder / _MANIFEST).unlink(missing_ok=True)
        for part in _PARTS:
            for left in (*folder.glob(f"*.{part}"), *folder.glob(f"*.{part}.part")):
                left.unlink()
        shards = build(texts, folder, progress)
        names = [_WORDS, *(f"{number}.{part}" for number in range(len(shards)) for part in _PARTS)]
        sizes = {name: (folder / name).stat().st_size for name in names}
        manifest = Manifest(format=FORMAT, byteorder=sys.byteorder, shards=shards, sizes=sizes)
        written = folder / f"{_MANIFEST}.part"
        written.write_bytes(msgspec.json.encode(manifest))
        written.replace(folder / _MANIFEST)

    @classmethod
    def open(cls, folder: Path) -> VerbatimIndex:
        """Map the index in ``folder``. Raises ValueError where it is missing, cut short, or of another version."""
        try:
            manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
            if (manifest.format, manifest.byteorder) != (FORMAT, sys.byteorder):
                raise ValueError(f"{folder}: a verbatim index of another version of itx or another machine")
            for name, size in manifest.sizes.items():
                if (folder / name).stat().st_size != size:
                    raise ValueError(f"{folder / name}: cut short, or not what was written")
            information = Information.load(folder / _WORDS)
            shards = []
            first = 0
            for number, rows in enumerate(manifest.shards):
                text, suffixes, numbers = (_map(folder / f"{number}.{part}") for part in _PARTS)
                shards.append(Shard(text, suffixes, numbers, first, rows))
                first += rows
        except (OSError, msgspec.DecodeError) as error:
            raise ValueError(f"{folder}: no whole verbatim index ({error})") from error
        return cls(information, shards)

    @property
    def rows(self) -> int:
        """How many rows are in the index, those without words among them."""
        return sum(shard.rows for shard in self._shards)

    def trace(self, words: Sequence[str]) -> list[Found]:
        """Return the verbatim spans of a text, given as folded words, over all rows, in order.

        A run is maximal: whole in one row's response, and neither a word more to the left nor one more to the right is
        so in any row. Kept are those that the rule of ``itx.data.spans`` keeps. Runs may overlap.
        """
        query, offsets = _write(words)
        ruler = Ruler(words, self.information, self.information.total)
        found: list[Found] = []
        end = 0
        for start in range(len(words)):
            reached = max((shard.match(query, offsets[start]) for shard in self._shards), default=0)
            if reached <= offsets[max(start, end)]:
                continue
            end = bisect_left(offsets, reached)
            match = ruler.judge(start, end)
            if match:
                found.append(Found(*match, *self._count(query[offsets[start] : reached], EXAMPLES)))
            if end == len(words):
                break
        return found

    def count(self, words: Sequence[str]) -> int:
        """Return how many rows have these folded words, whole and in this order; 0 for no words."""
        return self._count(_write(words)[0], 0)[0] if words else 0

    def find(self, words: Sequence[str], limit: int) -> list[int]:
        """Return the numbers of the first ``limit`` rows that have these folded words, in order of the rows."""
        return self._count(_write(words)[0], limit)[1] if words else []

    def _count(self, run: bytes, limit: int) -> tuple[int, list[int]]:
        rows = 0
        examples: list[int] = []
        for shard in self._shards:
            count, first = shard.count(run, limit - len(examples))
            rows += count
            examples += first
        return rows, examples


class Shard:
    """The suffix array of some successive rows, the first of which has the number ``first``."""

    def __init__(
        self, text: mmap.mmap | bytes, suffixes: mmap.mmap | bytes, numbers: mmap.mmap | bytes, first: int, rows: int
    ) -> None:
        self._text = text
        self._suffixes = memoryview(suffixes).cast("I")
        self._numbers = memoryview(numbers).cast("I")
        self._first = first
        self.rows = rows

    def match(self, query: bytes, start: int) -> int:
        """Return where the longest run of whole words of ``query`` from ``start`` ends that a row has.

        The longest is a prefix of a neighbour of the place where the query would stand among the suffixes. It is
        approached by parts of growing length, so that a long query costs no more than what it has in common with rows.
        """
        text, suffixes = self._text, self._suffixes
        low, high, depth, width = 0, len(suffixes), 0, 32
        while True:
            part = query[start + depth : start + depth + width]
            size = len(part)

            def read(suffix: int, depth: int = depth, size: int = size) -> bytes:
                return text[suffix + depth : suffix + depth + size]

            left = bisect_left(suffixes, part, low, high, key=read)
            if left == high or read(suffixes[left]) != part:
                near = [read(suffixes[place]) for place in (left - 1, left) if low <= place < high]
                common = depth + max((_measure_common(part, other) for other in near), default=0)
                return query.rfind(b" ", start, start + common) + 1 or start
            depth += size
            if start + depth >= len(query):
                return len(query)
            low, high = left, bisect_right(suffixes, part, left, high, key=read)
            width *= 4

    def count(self, run: bytes, limit: int) -> tuple[int, list[int]]:
        """Return how many rows have the run of whole words, and the numbers of the first ``limit``."""
        text, suffixes, size = self._text, self._suffixes, len(run)

        def read(suffix: int) -> bytes:
            return text[suffix : suffix + size]

        left = bisect_left(suffixes, run, key=read)
        right = bisect_right(suffixes, run, left, key=read)
        if right - left < 64:
            rows = sorted(set(self._numbers[left:right]))
            return len(rows), [self._first + row for row in rows[:limit]]
        import numpy as np

        numbers = np.frombuffer(self._numbers, np.uint32)[left:right]
        if len(numbers) * 32 < self.rows:
            found = np.unique(numbers)
            return len(found), [self._first + int(row) for row in found[:limit]]
        # So many that marking them is quicker than sorting them.
        marked = np.zeros(self.rows, np.bool_)
        marked[numbers] = True
        first = np.flatnonzero(marked)[:limit]
        return int(np.count_nonzero(marked)), [self._first + int(row) for row in first]


def _write(words: Sequence[str]) -> tuple[bytes, list[int]]:
    """Return words as the index has them, and where each begins and the last ends, in bytes."""
    # A word that no folding makes (with a lone surrogate) is in no row; any bytes that no row has will do.
    encoded = [word.encode("utf-8", "surrogatepass") + b" " for word in words]
    return b"".join(encoded), list(accumulate(map(len, encoded), initial=0))


def _measure_common(one: bytes, other: bytes) -> int:
    """Return the length of what both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _map(path: Path) -> mmap.mmap | bytes:
    """Map a file; an empty one cannot be mapped."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
