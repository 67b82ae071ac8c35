"""Sentences of a text that no row has word for word, but that say what a sentence of a near row says.

They are offered as paraphrases and never counted as borrowed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from itx.data.folding import fold_words
from itx.records import Neighbour, Paraphrase

if TYPE_CHECKING:
    from itx.data.embedder import Embedder
    from itx.data.row import Row

LEAST_WORDS = 4
"""Words a sentence needs: fewer are near anything."""
LEAST_COSINE = 0.7
CHANCE = 1 / 2000
"""Pairs of sentences of different rows that are as near as one that is offered."""
_MOST = 2000
"""Sentences of the neighbours that are looked at, the nearest neighbours' first."""
_SAMPLE = 400
_END = re.compile(r"[.!?…]+[\"'”’»)\]*_]*(?=\s|$)|[。！？｡]+[」』”’）]*|\n+")


class Sentence(NamedTuple):
    """A sentence and its characters in the text, ``end`` exclusive."""

    start: int
    end: int
    text: str


def split_sentences(text: str) -> list[Sentence]:
    """Return the sentences of a text in order, without the white space around them. Lines end sentences, too."""
    found: list[Sentence] = []
    start = 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        piece = text[start:end]
        left = start + len(piece) - len(piece.lstrip())
        if piece.strip():
            found.append(Sentence(left, left + len(piece.strip()), piece.strip()))
        start = end
    return found


def find_paraphrases(
    text: str, kept: Iterable[tuple[int, int]], neighbours: Sequence[Neighbour], embedder: Embedder, bound: float
) -> list[Paraphrase]:
    """Return the sentences of ``text`` that no kept span touches and whose cosine to a neighbour's reaches ``bound``.

    ``kept`` holds the characters of the verbatim spans, ``end`` exclusive, as ``start`` and ``end`` of what is returned
    do; in order of the text, each with the nearest sentence of all neighbours, of equal ones the first neighbour's.
    """
    spans = list(kept)
    asked = [
        sentence
        for sentence in _long_enough(text)
        if not any(start < sentence.end and sentence.start < end for start, end in spans)
    ]
    passages = [(each.row, sentence.text) for each in neighbours for sentence in _long_enough(each.text)][:_MOST]
    if not asked or not passages:
        return []
    scores = embedder.embed([sentence.text for sentence in asked]) @ embedder.embed([said for _, said in passages]).T
    found = []
    for sentence, best, score in zip(asked, scores.argmax(axis=1), scores.max(axis=1), strict=True):
        if score >= bound:
            row, passage = passages[int(best)]
            found.append(
                Paraphrase(
                    start=sentence.start,
                    end=sentence.end,
                    text=sentence.text,
                    row=row,
                    passage=passage,
                    score=float(score),
                )
            )
    return found


def find_bound(rows: Sequence[Row], embedder: Embedder, seed: int = 0) -> float:
    """Return the cosine from which two sentences are near: one in 2,000 pairs of sentences of different rows has it.

    At least 0.7. Pairs are made of one sentence of each of up to 400 random rows; of equal sentences one is taken. What
    unrelated sentences have depends on the embedder and the language. On real rows, with the default embedder, half of
    the pairs had more than 0.02 and one in 1,000 more than 0.3 to 0.8 in English, 0.59 and 0.83 in Chinese, of which it
    knows little; seven English sentences against their paraphrases had 0.49 to 0.89.
    """
    source = random.Random(seed)
    sample: dict[str, str] = {}
    for number in source.sample(range(len(rows)), min(_SAMPLE, len(rows))):
        sentences = _long_enough(rows[number].response)
        if sentences:
            said = source.choice(sentences).text
            sample.setdefault(" ".join(fold_words(said)), said)
    if len(sample) < 2:
        return LEAST_COSINE
    vectors = embedder.embed(list(sample.values()))
    cosines = (vectors @ vectors.T)[np.triu_indices(len(sample), k=1)]
    return max(LEAST_COSINE, float(np.quantile(cosines, 1 - CHANCE)))


def _long_enough(text: str) -> list[Sentence]:
    return [sentence for sentence in split_sentences(text) if len(fold_words(sentence.text)) >= LEAST_WORDS]
