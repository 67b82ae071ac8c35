"""What chance and habit explain: the same count for answers and rows between which nothing was borrowed."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import NamedTuple

from itx.borrow.source import Source
from itx.borrow.words import Words, count_borrowed
from itx.data.folding import fold_words
from itx.data.information import Information
from itx.records import ControlCount

DRAWS = 200
_POOL = 2000
_WIDEST = 64
_NARROWEST = 16


class PooledRow(NamedTuple):
    """A row that may be drawn, and the words of its response."""

    id: str
    words: list[str]


class Pool:
    """At most 2,000 random rows of a source, by length: what random rows are drawn from. Make it once a source."""

    def __init__(self, rows: Sequence[PooledRow], seed: int) -> None:
        self.seed = seed
        self._rows = sorted(rows, key=lambda row: (len(row.words), row.id))
        self._lengths = [len(row.words) for row in self._rows]
        self._width = max(_NARROWEST, min(_WIDEST, len(self._rows) // 8))

    @classmethod
    def of(cls, source: Source, seed: int = 0) -> Pool:
        """Return the pool of a source; the same rows for the same seed."""
        count = len(source.rows)
        chosen: Sequence[int] = range(count)
        if count > _POOL:
            chosen = random.Random(f"pool/{seed}").sample(chosen, _POOL)
        rows = (source.rows[number] for number in chosen)
        return cls([PooledRow(row.id, fold_words(row.response)) for row in rows], seed)

    def draw(self, lengths: Sequence[int], without: Collection[str], source: random.Random) -> list[list[str]]:
        """Return the words of one random row for each length (in words), about as long, all different.

        The row comes from the 16 to 64 rows of the pool next in length; those in ``without`` are never drawn.
        """
        taken = set(without)
        drawn: list[list[str]] = []
        for length in lengths:
            place = bisect_left(self._lengths, length) - self._width // 2
            start = max(0, min(place, len(self._rows) - self._width))
            free = [row for row in self._rows[start : start + self._width] if row.id not in taken]
            if free:
                row = source.choice(free)
                taken.add(row.id)
                drawn.append(row.words)
        return drawn


def count_random(
    words: Words,
    neighbours: Sequence[Sequence[str]],
    without: Collection[str],
    pool: Pool,
    information: Information,
    prompt_id: str,
) -> ControlCount | None:
    """Return the mean count over 200 draws of rows as long as the neighbours; None where too few can be drawn.

    Fewer rows than neighbours would have less to borrow from, and pass for a low chance.
    Draws depend on the pool's seed and the prompt alone, so that all authors of a prompt meet the same rows.
    """
    source = random.Random(f"draws/{pool.seed}/{prompt_id}")
    lengths = [len(row) for row in neighbours]
    total = 0
    for _ in range(DRAWS):
        rows = pool.draw(lengths, without, source)
        if len(rows) < max(1, len(lengths)):
            return None
        total += count_borrowed(words, rows, information)
    return ControlCount(words=len(words.candidates), borrowed=total / DRAWS)
