"""Verbatim spans: maximal runs of a text's words that are whole in one of some rows, and which of them count.

Words are those of ``itx.data.folding``: they hold no blank and no line end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from itx.data.information import Information, content_sums


class Match(NamedTuple):
    """A run of a text's words by their indices, ``end`` exclusive, and the sum of its words' bits."""

    start: int
    end: int
    bits: float


def keep(words: int, content: int, bits: float, searched: int, asked: int) -> bool:
    """Return whether a run is no chance: the rule for verbatim spans.

    ``words`` and ``content`` count the run's words and those of content among them, ``searched`` the words of the rows
    searched, ``asked`` those of the text. Kept are at least two words, one of content, with at most 0.1 matches to
    expect by chance: Σ −log₂ p(word) ≥ log₂(10 · searched · asked).
    """
    return words >= 2 and content >= 1 and searched * asked > 0 and bits >= math.log2(10 * searched * asked)


class Ruler:
    """Judges runs of one text by the rule, for rows of ``searched`` words together."""

    def __init__(self, words: Sequence[str], information: Information, searched: int) -> None:
        self._bits = list(accumulate(map(information.bits, words), initial=0.0))
        self._content = content_sums(words)
        self._searched = searched
        self._asked = len(words)

    def judge(self, start: int, end: int) -> Match | None:
        """Return the run of words ``start`` to ``end`` (exclusive) where it is kept."""
        bits = self._bits[end] - self._bits[start]
        content = self._content[end] - self._content[start]
        kept = keep(end - start, content, bits, self._searched, self._asked)
        return Match(start, end, bits) if kept else None


def find_spans(
    words: Sequence[str], rows: Sequence[Sequence[str]], information: Information
) -> list[tuple[Match, list[int]]]:
    """Return the verbatim spans of a text that exactly these rows have, in order, each with the rows' indices.

    A run is maximal: whole within one row, and neither a word more to the left nor one more to the right is so in any
    row. Runs may overlap.
    """
    pairs = {pair for row in rows for pair in pairwise(row)}
    # Two words that follow each other in no row end every run; most of a text that copies nothing goes so.
    alone = [pair not in pairs for pair in pairwise(words)]
    if all(alone):
        return []
    texts = [f" {' '.join(row)} " for row in rows]
    haystack = "\n".join(texts)
    needles = f" {' '.join(words)} "
    offsets = [0, *accumulate(len(word) + 1 for word in words)]
    ruler = Ruler(words, information, sum(map(len, rows)))
    found: list[tuple[Match, list[int]]] = []
    end = 0
    for start in range(len(words) - 1):
        if alone[start]:
            continue
        # What is left of the last run without its first word is known to occur, and so are two words.
        reached = max(end, start + 2)
        while (
            reached < len(words)
            and not alone[reached - 1]
            and needles[offsets[start] : offsets[reached + 1] + 1] in haystack
        ):
            reached += 1
        if reached > end:
            end = reached
            match = ruler.judge(start, end)
            if match:
                needle = needles[offsets[start] : offsets[end] + 1]
                found.append((match, [index for index, text in enumerate(texts) if needle in text]))
        if end == len(words):
            break
    return found


def own_words(spans: Iterable[tuple[Match, int]]) -> dict[int, int]:
    """Return which span owns each word: the rarest of those over it.

    ``spans`` are given with the number of rows that have them; the fewest rows win, then the most bits, then the first.
    The result maps word indices to indices of ``spans``.
    """
    order = sorted(enumerate(spans), key=lambda each: (each[1][1], -each[1][0].bits, each[0]))
    owners: dict[int, int] = {}
    for index, (match, _) in order:
        for word in range(match.start, match.end):
            owners.setdefault(word, index)
    return dict(sorted(owners.items()))
