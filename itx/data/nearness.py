"""The rows nearest a prompt: near in meaning, and having its rare words.

To word vectors a name says little: "Bosch" is as near Bosworth as Haber, and an invented name is near anything. So a
row's score is the semantic one (from −2 to 2) and ``WEIGHT`` times its share of what the prompt's content words tell.
So all of 40 edited tuning prompts find their row first (39 by meaning alone), of 50 paraphrased ones 47 first and all
among five (43 and 49); of real instructions with half of their words left out 93, 98, 64 and 98 % find theirs first
(89, 96, 62 and 96 %); and on the demo's rows the planted one is among five for 99 % of the borrowings that the full
tuning states (94 %). Weights from 0.4 to 1 do nearly the same. Words that no row has count in the whole, so that where
a prompt names what no row does, meaning decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from itx.data.lexical import LexicalIndex
from itx.data.semantic import SemanticIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Ranked = TypeVar("Ranked", int, str)
WEIGHT = 0.6
POOL = 200
"""Rows by meaning, and as many by words, that are looked at: one that neither list has cannot come near the first."""


class Near(NamedTuple):
    """A row's number, the score that orders, and the semantic part of it."""

    number: int
    score: float
    semantic: float


def find_nearest(
    words: Sequence[str],
    vector: NDArray[np.float32],
    lexical: LexicalIndex,
    semantic: SemanticIndex,
    limit: int,
) -> list[Near]:
    """Return the rows nearest a prompt of these folded ``words`` and with this vector, best first; ties by number.

    Nothing is near a text without words.
    """
    if limit < 1 or not vector.any():
        return []
    pool = max(POOL, 2 * limit)
    meant = dict(semantic.find(vector, pool))
    others = [number for number, _ in lexical.find_shares(words, pool) if number not in meant]
    meant |= dict(zip(others, semantic.score(vector, others), strict=True))
    shares = lexical.score_shares(words, list(meant))
    found = [Near(number, score + WEIGHT * shares[number], score) for number, score in meant.items()]
    return sorted(found, key=lambda hit: (-hit.score, hit.number))[:limit]


def interleave(first: Sequence[Ranked], second: Sequence[Ranked]) -> list[Ranked]:
    """Return the best of the first, the best of the second, the next of the first …, each once."""
    longest = max(len(first), len(second))
    turns = (ranked[place] for place in range(longest) for ranked in (first, second) if place < len(ranked))
    return list(dict.fromkeys(turns))
