"""Tracing a text, without any model: the rows near it, its verbatim spans over all rows, and paraphrases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itx.data.folding import fold
from itx.data.spans import Match, own_words
from itx.records import Neighbour, Paraphrase, Record

if TYPE_CHECKING:
    from itx.data.index import Index


class TracedSpan(Record, frozen=True, kw_only=True):
    """A verbatim span by its characters in the text, ``end`` exclusive, and what it says there.

    ``rows`` counts the rows whose response has it, ``examples`` are the ids of the first of them. ``owned`` holds the
    characters of its words that no rarer span has, joined where they follow each other.
    """

    start: int
    end: int
    text: str
    rows: int
    examples: list[str]
    bits: float
    owned: list[tuple[int, int]] = []


class Traced(Record, frozen=True, kw_only=True):
    """What was found: neighbours best first, spans most telling first, paraphrases in order of the text."""

    neighbours: list[Neighbour]
    spans: list[TracedSpan]
    paraphrases: list[Paraphrase]


def trace_text(index: Index, text: str, prompt: str | None = None, limit: int = 10) -> Traced:
    """Trace a text, and where there is one its prompt: at most ``limit`` neighbours, by the prompt and by the text."""
    spans = find_spans(index, text)
    neighbours = index.neighbours(text, "response", limit)
    if prompt is not None:
        neighbours = _interleave(index.neighbours(prompt, "prompt", limit), neighbours)[:limit]
    paraphrases = index.paraphrases(text, [(span.start, span.end) for span in spans], neighbours)
    return Traced(neighbours=neighbours, spans=spans, paraphrases=paraphrases)


def find_spans(index: Index, text: str) -> list[TracedSpan]:
    """Return the verbatim spans of a text over all rows, most telling (in bits) first."""
    words, starts, ends = fold(text)
    found = index.verbatim.trace(words)
    owners = own_words([(Match(span.start, span.end, span.bits), span.rows) for span in found])
    owned: list[list[tuple[int, int]]] = [[] for _ in found]
    before = (-1, -1)
    for word, owner in owners.items():
        if before == (word - 1, owner):
            owned[owner][-1] = (owned[owner][-1][0], ends[word])
        else:
            owned[owner].append((starts[word], ends[word]))
        before = (word, owner)
    spans = [
        TracedSpan(
            start=starts[span.start],
            end=ends[span.end - 1],
            text=text[starts[span.start] : ends[span.end - 1]],
            rows=span.rows,
            examples=[index.rows.id(number) for number in span.examples],
            bits=span.bits,
            owned=mine,
        )
        for span, mine in zip(found, owned, strict=True)
    ]
    return sorted(spans, key=lambda span: (-span.bits, span.rows, span.start))


def _interleave(first: list[Neighbour], second: list[Neighbour]) -> list[Neighbour]:
    """Return two rankings in turn, each row once, as the first of the two has it."""
    from itx.data.nearness import interleave

    by_row = {each.row: each for each in [*second, *first]}
    order = interleave([each.row for each in first], [each.row for each in second])
    return [by_row[row] for row in order]
