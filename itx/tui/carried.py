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
        """Return the rows that have words of ``text``, the rarest words counting most; the score is their share."""
        wanted = set(read_words(text))
        with self._lock:
            for name, row in self._rows.items():
                if name not in self._words:
                    self._words[name] = frozenset(read_words(f"{row.instruction} {row.text}"))
            frequency = Counter(word for words in self._words.values() for word in wanted & words)
            total = len(self._rows)
            weights = {word: math.log(1 + total / count) for word, count in frequency.items()}
            scores = {
                name: sum(weights[word] for word in wanted & words)
                for name, words in self._words.items()
                if wanted & words
            }
            whole = sum(weights.values()) + math.log(1 + total) * (len(wanted) - len(weights))
            best = sorted(scores, key=lambda name: (-scores[name], name))[:limit]
            return [
                msgspec.structs.replace(self._rows[name], score=scores[name] / whole, query="words", lexical=None)
                for name in best
            ]
