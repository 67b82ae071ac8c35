"""The rows that a run carries in its borrow lines: what can be searched where the tuning data is not at hand."""

from __future__ import annotations

import math
import threading
from collections import Counter

import msgspec

from itx.records import Borrowing, Neighbour
from itx.tui.survey import read_words


class CarriedRows:
    """Every row once, a neighbour's whole text before a passage of it; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, Neighbour] = {}
        self._words: dict[str, frozenset[str]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, borrowing: Borrowing) -> None:
        """Take in the rows of a borrowing."""
        whole = {neighbour.row for neighbour in borrowing.neighbours}
        passages = [
            Neighbour(row=example.row, score=0.0, text=example.text)
            for span in borrowing.spans
            for example in span.examples
            if example.row not in whole
        ]
        with self._lock:
            for row in passages:
                self._rows.setdefault(row.row, row)
            for row in borrowing.neighbours:
                if len(row.text) >= len(self._rows[row.row].text if row.row in self._rows else ""):
                    self._rows[row.row] = row
                    self._words.pop(row.row, None)

    def search(self, text: str, limit: int) -> list[Neighbour]:
        """Return the rows that have words of ``text``, the rarest words counting most; the score is their share.

        Slow the first time, when it folds every row: not for the screen's thread, which meanwhile does not wait.
        """
        wanted = set(read_words(text))
        with self._lock:
            rows = list(self._rows.values())
            folded = [self._words.get(row.row) for row in rows]
        words = [
            frozenset(read_words(f"{row.instruction} {row.text}")) if known is None else known
            for row, known in zip(rows, folded, strict=True)
        ]
        with self._lock:
            self._words |= {
                row.row: known for row, known in zip(rows, words, strict=True) if self._rows[row.row] is row
            }
        frequency = Counter(word for known in words for word in wanted & known)
        weights = {word: math.log(1 + len(rows) / count) for word, count in frequency.items()}
        whole = sum(weights.values()) + math.log(1 + len(rows)) * (len(wanted) - len(weights))
        scores = [sum(weights[word] for word in wanted & known) for known in words]
        best = sorted((place for place, score in enumerate(scores) if score), key=lambda p: (-scores[p], rows[p].row))
        return [
            msgspec.structs.replace(rows[place], score=scores[place] / whole, query="words", lexical=None)
            for place in best[:limit]
        ]
