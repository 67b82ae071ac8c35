"""What stands first: the rows that a model borrows from most, and the spans that the tuning raised most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from itx.records import Borrowing, Record, Span


class RowShare(Record, frozen=True, kw_only=True):
    """What one model took from one row: borrowed words, the spans they stand in, and the prompts they answer.

    A span that several neighbours have counts for each of them. ``text`` is a passage of the row.
    """

    row: str
    words: int
    spans: int
    prompts: int
    text: str


class RankedSpan(Record, frozen=True, kw_only=True):
    """A span with its rise (author minus base, in nats) and where it stands; ``row`` is the first that has it."""

    prompt_id: str
    author: str
    id: int
    start: int
    end: int
    text: str
    rise: float
    words: int
    rows: int
    row: str | None
    borrowed: bool
    boilerplate: bool


class RowTally:
    """Counts the rows of one model's borrowed spans."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self._spans: dict[str, int] = {}
        self._prompts: dict[str, set[str]] = {}
        self._texts: dict[str, str] = {}

    def add(self, borrowing: Borrowing) -> None:
        """Count one response."""
        for span in borrowing.spans:
            if not span.words:
                continue
            for example in span.examples:
                self._words[example.row] = self._words.get(example.row, 0) + len(span.words)
                self._spans[example.row] = self._spans.get(example.row, 0) + 1
                self._prompts.setdefault(example.row, set()).add(borrowing.prompt_id)
                self._texts.setdefault(example.row, example.text)

    def first(self, limit: int) -> list[RowShare]:
        """Return the rows with the most borrowed words, then the most prompts, then by id."""
        shares = [
            RowShare(
                row=row,
                words=words,
                spans=self._spans[row],
                prompts=len(self._prompts[row]),
                text=self._texts[row],
            )
            for row, words in self._words.items()
        ]
        return sorted(shares, key=lambda share: (-share.words, -share.prompts, share.row))[:limit]


def list_ranked(borrowing: Borrowing) -> Iterator[RankedSpan]:
    """Yield the spans of a response that base scored."""
    for span in borrowing.spans:
        if span.rise is not None:
            yield _rank(borrowing, span, span.rise)


def largest(spans: Iterable[RankedSpan], limit: int) -> list[RankedSpan]:
    """Return the spans with the largest rise first; among equals the order given."""
    return sorted(spans, key=lambda span: -span.rise)[:limit]


def _rank(borrowing: Borrowing, span: Span, rise: float) -> RankedSpan:
    return RankedSpan(
        prompt_id=borrowing.prompt_id,
        author=borrowing.author,
        id=span.id,
        start=span.start,
        end=span.end,
        text=span.text,
        rise=rise,
        words=len(span.words),
        rows=span.rows,
        row=span.examples[0].row if span.examples else None,
        borrowed=span.borrowed,
        boilerplate=span.boilerplate,
    )
