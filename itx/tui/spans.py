"""Which spans of a response are drawn, and where their brackets stand: pure functions of what tracing and marks say.

Spans may overlap; the rarest owns a position, then the longest. What is drawn is the runs of positions with one owner,
so that brackets never cross.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from itx.records import Borrowing, Span, Verdict

HALLUCINATED, FINE = "!", "+"
"""Stand behind a marked span's number."""
_SIGNS: dict[Verdict, str] = {"hallucinated": HALLUCINATED, "fine": FINE}

Judge = Callable[[Span], "Verdict | None"]
"""Returns a person's verdict on a span."""


@dataclass(frozen=True)
class Stretch:
    """Positions ``start`` to ``end`` (exclusive) that one span owns."""

    start: int
    end: int
    span: Span


@dataclass(frozen=True)
class Drawn:
    """What is drawn of one response's spans. Two that are equal look alike."""

    stretches: tuple[Stretch, ...] = ()
    openings: Mapping[int, str] = field(default_factory=dict)
    """The bracket with its number before a position."""
    closings: Mapping[int, str] = field(default_factory=dict)

    def after(self, cursor: int | None) -> Stretch | None:
        """Return the first stretch that begins behind ``cursor``; None where there is none."""
        return next((stretch for stretch in self.stretches if cursor is None or stretch.start > cursor), None)

    def before(self, cursor: int | None) -> Stretch | None:
        """Return the last stretch that begins before ``cursor``; None where there is none."""
        found = [stretch for stretch in self.stretches if cursor is None or stretch.start < cursor]
        return found[-1] if found else None


NOTHING = Drawn()


def rarest(spans: Sequence[Span]) -> Span | None:
    """Return the span with the fewest rows; of equals the longest, then the first. A borrowed one goes first."""
    return min(spans, key=lambda span: (not span.borrowed, span.rows, span.start - span.end, span.start), default=None)


def span_at(borrowing: Borrowing | None, position: int | None) -> Span | None:
    """Return the span that owns ``position``: a borrowed one, else the rarest of the others."""
    if borrowing is None or position is None:
        return None
    return rarest([span for span in borrowing.spans if span.start <= position < span.end])


def draw_spans(borrowing: Borrowing | None, judge: Judge, *, every: bool = False) -> Drawn:
    """Return the brackets of a response: of its borrowed and its marked spans, with ``every`` of all traced ones."""
    if borrowing is None:
        return NOTHING
    verdicts = {span.id: judge(span) for span in borrowing.spans}
    shown = [span for span in borrowing.spans if every or span.borrowed or verdicts[span.id] is not None]
    covering: dict[int, list[Span]] = {}
    for span in shown:
        for position in range(span.start, span.end):
            covering.setdefault(position, []).append(span)
    stretches: list[Stretch] = []
    for position in sorted(covering):
        owner = rarest(covering[position])
        assert owner is not None
        last = stretches[-1] if stretches else None
        if last is not None and last.span.id == owner.id and last.end == position:
            stretches[-1] = Stretch(last.start, position + 1, owner)
        else:
            stretches.append(Stretch(position, position + 1, owner))
    return Drawn(
        tuple(stretches),
        {
            stretch.start: f"[{stretch.span.id}{_SIGNS.get(verdicts[stretch.span.id] or 'cleared', '')} "
            for stretch in stretches
        },
        {stretch.end - 1: "]" for stretch in stretches},
    )
