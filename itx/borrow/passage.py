"""Where a row has a span: the passage as it is written there, so that a run opens without its data."""

from __future__ import annotations

from collections.abc import Sequence

from itx.data.folding import Folded, fold
from itx.records import Example

_AROUND = 160
"""Characters of the row kept on either side of the span."""


class Passages:
    """Finds spans in rows' texts; each text is folded once."""

    def __init__(self) -> None:
        self._folded: dict[str, Folded] = {}

    def find(self, row: str, text: str, words: Sequence[str]) -> Example | None:
        """Return the first passage of ``text`` with these words, or None where it has none."""
        folded = self._folded.get(row)
        if folded is None:
            folded = self._folded[row] = fold(text)
        place = _find_run(folded.words, words)
        if place is None:
            return None
        start, end = folded.starts[place], folded.ends[place + len(words) - 1]
        first, last = _widen(text, start, end)
        return Example(row=row, text=text[first:last], start=start - first, end=end - first)


def _find_run(words: Sequence[str], run: Sequence[str]) -> int | None:
    place = -1
    while True:
        try:
            place = words.index(run[0], place + 1)
        except ValueError:
            return None
        if list(words[place : place + len(run)]) == list(run):
            return place


def _widen(text: str, start: int, end: int) -> tuple[int, int]:
    """Return characters around a span, cut at blanks where there are some near."""
    first, last = max(0, start - _AROUND), min(len(text), end + _AROUND)
    if first:
        blank = text.find(" ", first, start)
        first = first if blank < 0 else blank + 1
    if last < len(text):
        blank = text.rfind(" ", end, last)
        last = last if blank < 0 else blank
    return first, last
