"""The words of a response that can be borrowed: of content, an entity or digits, and not in the prompt.

A word here is a word of ``itx.data.folding``, as spans are made of; its kind is that of ``itx.borrow.category``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from itx.borrow.category import name_words, split_words
from itx.data.folding import Folded, fold, fold_words
from itx.data.information import Information, is_content
from itx.data.spans import Match, find_spans

KINDS = frozenset({"content", "entity", "digit"})


class Words(NamedTuple):
    """The folded words of a response, and the indices of those among them that can be borrowed."""

    folded: Folded
    candidates: list[int]


def read_words(text: str, prompt: str) -> Words:
    """Return the words of a response to ``prompt``."""
    folded = fold(text)
    asked = frozenset(fold_words(prompt))
    kinds = _name_kinds(text, folded)
    candidates = [
        index
        for index, (word, kind) in enumerate(zip(folded.words, kinds, strict=True))
        if kind in KINDS and word not in asked and is_content(word)
    ]
    return Words(folded, candidates)


def _name_kinds(text: str, folded: Folded) -> list[str]:
    """Return the category of every folded word: of the first word that it touches."""
    words = split_words(text)
    names = name_words(text, words)
    starts = [word.start for word in words]
    kinds = []
    for start, end in zip(folded.starts, folded.ends, strict=True):
        index = bisect_right(starts, start) - 1
        if index < 0 or words[index].end <= start:
            index += 1
        kinds.append(names[index] if index < len(words) and words[index].start < end else "format")
    return kinds


def covered(matches: Sequence[Match], candidates: Sequence[int]) -> list[int]:
    """Return the candidates that lie in one of the spans."""
    inside = {index for match in matches for index in range(match.start, match.end)}
    return [index for index in candidates if index in inside]


def count_borrowed(words: Words, rows: Sequence[Sequence[str]], information: Information) -> int:
    """Return how many candidates lie in verbatim spans of exactly these rows' words."""
    if not words.candidates:
        return 0
    found = find_spans(words.folded.words, rows, information)
    return len(covered([match for match, _ in found], words.candidates))
