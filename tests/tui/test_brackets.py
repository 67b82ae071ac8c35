"""Brackets around spans: the text without them is the text, they never cross, and wrapping goes on as before."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from itx.records import Borrowing, Span, Verdict
from itx.tui.spans import Drawn, draw_spans, span_at
from itx.tui.wrapping import ADDED, Kind, Piece, Wrapping, insert_ghost, line_width
from tests.tui.test_wrapping import PIECES, WIDTHS

SPANS = st.lists(st.tuples(st.integers(0, 39), st.integers(1, 12), st.integers(1, 5), st.booleans()), max_size=6)


def make(entries: list[tuple[int, int, int, bool]]) -> Borrowing:
    spans = [
        Span(id=number, start=start, end=start + length, text="", rows=rows, borrowed=borrowed)
        for number, (start, length, rows, borrowed) in enumerate(sorted(entries), 1)
    ]
    return Borrowing(prompt_id="1", author="full", spans=spans)


def unmarked(_: Span) -> Verdict | None:
    return None


def wrap(pieces: list[str], width: int, drawn: Drawn) -> Wrapping:
    wrapping = Wrapping(width)
    for position, piece in enumerate(pieces):
        opening, closing = drawn.openings.get(position, ""), drawn.closings.get(position, "")
        wrapping.append(Piece(piece, opening=opening, closing=closing))
    return wrapping


def shown(wrapping: Wrapping, *, added: bool) -> str:
    return "".join(
        cell.text for line in wrapping.lines for cell in line if added or cell.kind not in (Kind.OPEN, Kind.CLOSE)
    )


@settings(max_examples=200, deadline=None)
@given(PIECES, WIDTHS, SPANS)
def test_the_text_without_the_brackets_is_the_text(
    pieces: list[str], width: int, entries: list[tuple[int, int, int, bool]]
) -> None:
    drawn = draw_spans(make(entries), unmarked, every=True)
    bare, bracketed = wrap(pieces, width, Drawn()), wrap(pieces, width, drawn)
    kept = [cell for line in bracketed.lines for cell in line if cell.kind not in (Kind.OPEN, Kind.CLOSE)]
    assert kept == [cell for line in bare.lines for cell in line]
    for line in bracketed.lines:
        assert line_width(line) <= max(width + 1, 5)
        assert line_width(line) >= cell_len("".join(cell.text for cell in line))


@settings(max_examples=200, deadline=None)
@given(PIECES, WIDTHS, SPANS)
def test_every_bracket_opens_and_closes_around_its_positions(
    pieces: list[str], width: int, entries: list[tuple[int, int, int, bool]]
) -> None:
    entries = [entry for entry in entries if entry[0] + entry[1] <= len(pieces)]
    drawn = draw_spans(make(entries), unmarked, every=True)
    inside = 0
    covered: set[int] = set()
    for line in wrap(pieces, width, drawn).lines:
        for place, cell in enumerate(line):
            if cell.kind is Kind.OPEN and cell.text == "[":
                inside += 1
            elif cell.kind is Kind.CLOSE:
                inside -= 1
            elif inside and cell.kind in (Kind.TEXT, Kind.MARK):
                covered.add(cell.position)
            assert inside in (0, 1), (place, line)
    assert inside == 0
    text = {cell.position for line in wrap(pieces, width, Drawn()).lines for cell in line if cell.kind is Kind.TEXT}
    expected = {position for start, length, _, _ in entries for position in range(start, start + length)}
    assert covered & text == expected & text


@settings(max_examples=150, deadline=None)
@given(PIECES, WIDTHS, SPANS, st.integers(0, 39), st.text(min_size=1, max_size=12))
def test_a_ghost_among_brackets_changes_nothing_else(
    pieces: list[str], width: int, entries: list[tuple[int, int, int, bool]], at: int, ghost: str
) -> None:
    if not pieces:
        return
    wrapping = wrap(pieces, width, draw_spans(make(entries), unmarked, every=True))
    before = [cell for line in wrapping.lines for cell in line]
    first, count, lines = insert_ghost(wrapping, min(at, len(pieces) - 1), ghost)
    replaced = [*wrapping.lines[:first], *lines, *wrapping.lines[first + count :]]
    assert [cell for line in replaced for cell in line if cell.kind is not Kind.GHOST] == before


@settings(max_examples=150, deadline=None)
@given(SPANS)
def test_the_rarest_borrowed_span_owns_a_position(entries: list[tuple[int, int, int, bool]]) -> None:
    borrowing = make(entries)
    drawn = draw_spans(borrowing, unmarked)
    owners = {p: stretch.span for stretch in drawn.stretches for p in range(stretch.start, stretch.end)}
    for position in range(60):
        here = [span for span in borrowing.spans if span.start <= position < span.end and span.borrowed]
        assert (position in owners) == bool(here)
        if here:
            assert owners[position].rows == min(span.rows for span in here)
            assert span_at(borrowing, position) == owners[position]


@settings(max_examples=400, deadline=None)
@given(PIECES, WIDTHS, SPANS, SPANS, st.integers(0, 40))
def test_brackets_that_change_are_wrapped_as_if_they_had_been_there(
    pieces: list[str],
    width: int,
    before: list[tuple[int, int, int, bool]],
    after: list[tuple[int, int, int, bool]],
    keep: int,
) -> None:
    # The first ``keep`` positions have the same brackets before and after, as when a response has grown.
    old, new = (draw_spans(make(entries), unmarked, every=True) for entries in (before, after))
    openings = {place: old.openings[place] for place in old.openings if place < keep}
    closings = {place: old.closings[place] for place in old.closings if place < keep}
    openings |= {place: new.openings[place] for place in new.openings if place >= keep}
    closings |= {place: new.closings[place] for place in new.closings if place >= keep}
    drawn = Drawn(openings=openings, closings=closings)
    wrapping = wrap(pieces, width, old)
    kept = [list(line) for line in wrapping.lines]
    first = wrapping.rewind(keep)
    for place in range(wrapping.positions, len(pieces)):
        opening, closing = drawn.openings.get(place, ""), drawn.closings.get(place, "")
        wrapping.append(Piece(pieces[place], opening=opening, closing=closing))
    whole = wrap(pieces, width, drawn)
    assert wrapping.lines == whole.lines
    assert wrapping.lines[:first] == kept[:first]
    assert [wrapping.line_of(place) for place in range(len(pieces))] == [
        whole.line_of(place) for place in range(len(pieces))
    ]


def test_a_bracket_stays_with_its_word_and_leaves_blanks_outside() -> None:
    wrapping = Wrapping(12)
    for piece in (
        Piece("Carry"),
        Piece(" a"),
        Piece(" water", opening="[1 "),
        Piece(" bottle", closing="]"),
        Piece(".\n", opening="[2! ", closing="]"),
        Piece("\n", opening="[3 ", closing="]"),
    ):
        wrapping.append(piece)
    lines = ["".join(cell.text for cell in line) for line in wrapping.lines]
    assert lines == ["Carry a ", "[1 water ", "bottle]", "[2! .]↵", "[3 ]↵", ""]


def test_a_combining_mark_after_a_bracket_joins_the_letter_before_it() -> None:
    wrapping = Wrapping(20)
    wrapping.append(Piece("cafe", closing="]"))
    wrapping.append(Piece("\u0301 au"))
    assert shown(wrapping, added=True) == "cafe\u0301] au"
    assert wrapping.positions == 2


def test_the_cursor_stands_on_the_word_and_not_on_its_bracket() -> None:
    wrapping = Wrapping(30)
    wrapping.append(Piece("a"))
    wrapping.append(Piece(" water", opening="[1 ", closing="]"))
    assert "".join(cell.text for cell in wrapping.lines[0]) == "a [1 water]"
    assert wrapping.column_of(1) == 5
    assert {cell.kind for cell in wrapping.lines[0] if cell.kind in ADDED} == {Kind.OPEN, Kind.CLOSE}
