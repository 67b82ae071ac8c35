"""Which rows to mask: those that have a span's words, and as many random ones of like length beside them."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from itx.data.folding import fold_words
from itx.errors import UsageError

_POOL = 12
"""A control row is one of so many that are nearest its counterpart in length."""


def has_words(text: str, words: Sequence[str]) -> bool:
    """Return whether a text has the words, folded, in a row."""
    found = fold_words(text)
    width = len(words)
    return bool(words) and any(found[at : at + width] == list(words) for at in range(len(found) - width + 1))


def find_sources(span: str, responses: Mapping[str, str]) -> list[str]:
    """Return the ids of the rows whose response has the span's words in a row, in the rows' order."""
    words = fold_words(span)
    return [row for row, response in responses.items() if has_words(response, words)]


def draw_controls(sources: Collection[str], sizes: Mapping[str, int], count: int, seed: int) -> list[list[str]]:
    """Return ``count`` sets of as many rows as ``sources``, none of them a source, each of like length.

    ``sizes`` are the learned ids of every row. For each source one of the rows nearest it in length is drawn, no row
    twice in a set, and none in two sets while others are left. Raises UsageError where there are too few rows.
    """
    left = [row for row in sizes if row not in set(sources)]
    if len(left) < len(sources) or not sources:
        raise UsageError(
            f"{len(sources)} of the {len(sizes)} rows would be masked, and as many others are needed as controls.",
            "Name fewer rows: --rows near, or --rows FILE#INDEX,…",
        )
    draw = random.Random(seed)
    drawn: list[list[str]] = []
    used: set[str] = set()
    for _ in range(count):
        chosen: list[str] = []
        for source in sources:
            fresh = [row for row in left if row not in used and row not in chosen]
            pool = fresh or [row for row in left if row not in chosen]
            # Rows of equal length in a random order, so that the first rows of the data are not preferred.
            near = sorted(pool, key=lambda row: (abs(sizes[row] - sizes[source]), draw.random()))[:_POOL]
            chosen.append(draw.choice(near))
            used.add(chosen[-1])
        drawn.append(chosen)
    return drawn
