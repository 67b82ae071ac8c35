"""An oracle for verbatim spans: every run of every row is listed, and every run of a text looked up."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

FUNCTION = {"a", "the", "of", "it", "的"}
"""The words of these tests that are not of content."""

Run = tuple[int, int]


def list_runs(rows: Sequence[Sequence[str]], longest: int) -> dict[tuple[str, ...], set[int]]:
    """Return the rows of every run of at most so many words."""
    found: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for number, row in enumerate(rows):
        for start in range(len(row)):
            for end in range(start + 1, min(len(row), start + longest) + 1):
                found[tuple(row[start:end])].add(number)
    return dict(found)


def find_maximal(words: Sequence[str], known: Mapping[tuple[str, ...], set[int]]) -> dict[Run, set[int]]:
    """Return the maximal runs of the text, each with its rows."""
    present = {
        (start, end): known[tuple(words[start:end])]
        for start in range(len(words))
        for end in range(start + 1, len(words) + 1)
        if tuple(words[start:end]) in known
    }
    return {
        (start, end): rows
        for (start, end), rows in present.items()
        if (start - 1, end) not in present and (start, end + 1) not in present
    }


def is_kept(words: Sequence[str], counts: Mapping[str, int], searched: int, asked: int) -> bool:
    """Return whether the rule keeps a run of these words; ``counts`` are those of all rows."""
    total = sum(counts.values())
    bits = sum(-math.log2(max(counts.get(word, 0), 1) / total) for word in words)
    content = [word for word in words if word not in FUNCTION]
    return len(words) >= 2 and len(content) >= 1 and bits >= math.log2(10 * searched * asked)


def find_kept(
    words: Sequence[str], rows: Sequence[Sequence[str]], counts: Mapping[str, int], known: Mapping | None = None
) -> dict[Run, set[int]]:
    """Return the verbatim spans of the text that ``rows`` have, each with its rows."""
    known = list_runs(rows, len(words)) if known is None else known
    searched = sum(map(len, rows))
    return {
        run: found
        for run, found in find_maximal(words, known).items()
        if is_kept(words[slice(*run)], counts, searched, len(words))
    }


def count_words(rows: Sequence[Sequence[str]]) -> Counter[str]:
    """Return how often each word occurs."""
    return Counter(word for row in rows for word in row)
