"""A source without indexes: every question is answered by reading all rows, in the plainest way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from itx.borrow.source import Kind
from itx.data.folding import fold_words
from itx.data.information import Information, is_content
from itx.data.row import Row, Turn
from itx.records import Neighbour, Paraphrase


@dataclass(frozen=True)
class Traced:
    start: int
    end: int
    rows: int
    examples: list[int]


class Rows:
    """Rows ``rows.jsonl#0`` … with these instructions and responses."""

    def __init__(self, pairs: Sequence[tuple[str, str]], name: str = "rows.jsonl") -> None:
        self.rows = [
            Row(
                id=f"{name}#{number}",
                turns=[
                    Turn(role="instruction", text=instruction),
                    Turn(role="response", text=response, trained=True),
                ],
            )
            for number, (instruction, response) in enumerate(pairs)
        ]
        self.words = [fold_words(row.response) for row in self.rows]
        self.information = Information.from_counts(Counter(word for row in self.words for word in row))
        self.verbatim = self
        self.asked: list[str] = []
        self.kept: list[tuple[int, int]] = []
        self.reworded = ""

    def nearest(self, prompt: str, k: int = 5) -> list[Neighbour]:
        self.asked.append(prompt)
        wanted = set(fold_words(prompt))
        shared = [len(wanted & set(fold_words(row.instruction))) for row in self.rows]
        order = sorted(range(len(self.rows)), key=lambda number: (-shared[number], number))[:k]
        return [
            Neighbour(
                row=self.rows[number].id,
                score=float(shared[number]),
                text=self.rows[number].response,
                instruction=self.rows[number].instruction,
            )
            for number in order
        ]

    def neighbours(self, query: str, kind: Kind, limit: int) -> list[Neighbour]:
        return []

    def paraphrases(
        self, text: str, kept: Sequence[tuple[int, int]], neighbours: Sequence[Neighbour]
    ) -> list[Paraphrase]:
        self.kept = list(kept)
        start = text.find(self.reworded) if self.reworded else -1
        if start < 0:
            return []
        end = start + len(self.reworded)
        return [
            Paraphrase(start=start, end=end, text=self.reworded, row=neighbours[0].row, passage="passage", score=0.9)
        ]

    def search(self, text: str, how: Literal["words", "meaning", "near", "verbatim"], limit: int) -> list[Neighbour]:
        return self.nearest(text, limit)

    def trace(self, words: Sequence[str]) -> list[Traced]:
        return [Traced(start, end, len(rows), rows[:5]) for start, end, rows in brute(words, self.words, self)]

    def count(self, words: Sequence[str]) -> int:
        return sum(has(row, words) for row in self.words)


def has(row: Sequence[str], run: Sequence[str]) -> bool:
    """Whether ``run`` is whole in ``row``."""
    return any(list(row[place : place + len(run)]) == list(run) for place in range(len(row) - len(run) + 1))


def brute(words: Sequence[str], rows: Sequence[Sequence[str]], source: Rows) -> list[tuple[int, int, list[int]]]:
    """Every run that no longer run contains, by the rule of the design, from all pairs of ends."""
    runs = [
        (start, end)
        for start in range(len(words))
        for end in range(start + 1, len(words) + 1)
        if any(has(row, words[start:end]) for row in rows)
    ]
    maximal = [
        (start, end)
        for start, end in runs
        if not any((low, high) != (start, end) and low <= start and end <= high for low, high in runs)
    ]
    least = math.log2(10 * max(1, sum(len(row) for row in rows)) * max(1, len(words)))
    return [
        (start, end, [number for number, row in enumerate(rows) if has(row, words[start:end])])
        for start, end in maximal
        if end - start >= 2
        and any(is_content(word) for word in words[start:end])
        and sum(source.information.bits(word) for word in words[start:end]) >= least - 1e-9
    ]
