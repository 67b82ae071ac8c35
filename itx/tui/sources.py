"""What the rows panel shows: the rows behind the span or sentence at the cursor, else those nearest the prompt."""

from __future__ import annotations

from dataclasses import dataclass

from itx.records import Borrowing, Example, Neighbour, Paraphrase, Span
from itx.tui.spans import span_at

Subject = Span | Paraphrase | None


@dataclass(frozen=True)
class Source:
    """One row. ``start`` and ``end`` are what is highlighted in ``text`` (end exclusive; equal: nothing)."""

    row: str
    text: str
    start: int = 0
    end: int = 0
    instruction: str = ""
    score: float | None = None
    near: bool = False
    """Whether it is a neighbour of the prompt."""
    whole: bool = False
    """Whether ``text`` is the row's whole response, and not a passage of it."""
    lexical: float | None = None
    semantic: float | None = None
    query: str = ""
    """What the row was found by, where that was not the prompt."""


def subject_at(borrowing: Borrowing | None, position: int | None) -> Subject:
    """Return the span at ``position``, else the sentence there that is like one of a row, else None."""
    span = span_at(borrowing, position)
    if span is not None or borrowing is None or position is None:
        return span
    return next((found for found in borrowing.paraphrases if found.start <= position < found.end), None)


def newest_borrowed(borrowing: Borrowing | None) -> Span | None:
    """Return the borrowed span that ends last: what has just been written, where a response is followed."""
    spans = borrowing.spans if borrowing is not None else []
    return max((span for span in spans if span.borrowed), key=lambda span: (span.end, span.start), default=None)


def is_same(before: Subject, now: Subject) -> bool:
    """Return whether two tracings of a growing response mean the same by what is at the cursor."""
    if isinstance(before, Span) and isinstance(now, Span):
        return before.start == now.start
    return before == now


def list_sources(borrowing: Borrowing, subject: Subject) -> list[Source]:
    """Return the rows of ``subject``, in their order; without one the neighbours, nearest first."""
    match subject:
        case Span():
            return [_from_example(example, _neighbour(borrowing, example.row)) for example in subject.examples]
        case Paraphrase():
            neighbour = _neighbour(borrowing, subject.row)
            text = neighbour.text if neighbour is not None else subject.passage
            start, end = _find(text, subject.passage)
            return [
                Source(
                    subject.row,
                    text,
                    start,
                    end,
                    neighbour.instruction if neighbour is not None else "",
                    subject.score,
                    near=neighbour is not None,
                    whole=neighbour is not None,
                )
            ]
        case _:
            return [
                Source(
                    neighbour.row,
                    neighbour.text,
                    instruction=neighbour.instruction,
                    score=neighbour.score,
                    near=True,
                    whole=True,
                    lexical=neighbour.lexical,
                    semantic=neighbour.semantic,
                    query="" if neighbour.query == "prompt" else neighbour.query,
                )
                for neighbour in borrowing.neighbours
            ]


def _neighbour(borrowing: Borrowing, row: str) -> Neighbour | None:
    """Return the neighbour of that id, one of the prompt first."""
    found = [neighbour for neighbour in borrowing.neighbours if neighbour.row == row]
    return min(found, key=lambda neighbour: neighbour.query != "prompt", default=None)


def _find(text: str, passage: str) -> tuple[int, int]:
    place = text.find(passage) if passage else -1
    return (place, place + len(passage)) if place >= 0 else (0, 0)


def _from_example(example: Example, neighbour: Neighbour | None) -> Source:
    """Return the row whole where it is a neighbour, else the passage that was carried."""
    start, end = example.start, example.end
    if not 0 <= start <= end <= len(example.text):
        start, end = 0, 0
    if neighbour is None:
        return Source(example.row, example.text, start, end)
    place = neighbour.text.find(example.text) if example.text else -1
    if place < 0:  # what was carried is not what the row says now: the passage has the match
        return Source(
            example.row, example.text, start, end, neighbour.instruction, neighbour.score, neighbour.query == "prompt"
        )
    return Source(
        example.row,
        neighbour.text,
        place + start,
        place + end,
        neighbour.instruction,
        neighbour.score,
        near=neighbour.query == "prompt",
        whole=True,
    )
