"""Wrapping by cells: nothing lost, nothing too wide, every position somewhere, appending as good as all at once."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from itx.text import sanitise
from itx.tui.wrapping import Glyphs, Kind, Piece, Wrapping, insert_ghost, line_width

WORDS = [" the", " water", "sip", "ping", ".", "\n", "\n\n", " ", "   ", "\t", "-", "a-b/c", "Donaudampfschifffahrt"]
HARD = [
    "日本",
    " 東京",
    "é",
    "e\u0301",
    "\u0301",
    "👩",
    "\u200d",
    "🚀",
    "\ufe0f",
    "❤",
    "",
    "\x1b[31m",
    "\x9b2J",
    "\u202e",
]
PIECES = st.lists(st.one_of(st.sampled_from(WORDS), st.sampled_from(HARD), st.text(max_size=6)), max_size=40)
WIDTHS = st.integers(2, 30)
GLYPHS = Glyphs()


def wrap(pieces: list[str], width: int, end: bool = False) -> Wrapping:
    wrapping = Wrapping(width)
    for piece in pieces:
        wrapping.append(Piece(piece))
    if end:
        wrapping.append(Piece("", is_end=True))
    return wrapping


def spelled(wrapping: Wrapping) -> str:
    """Return the text that the cells show, marks of empty positions left out."""
    parts = []
    for line in wrapping.lines:
        for cell in line:
            if cell.kind is Kind.NEWLINE:
                parts.append("\n")
            elif cell.kind is Kind.TAB:
                parts.append("\t")
            elif cell.kind is not Kind.MARK:
                parts.append(cell.text)
    return "".join(parts)


def plain(text: str) -> str:
    return sanitise(text.replace("\t", "\0")).replace("␀", "\t")


@settings(max_examples=150, deadline=None)
@given(PIECES, WIDTHS)
@example(["👩", "\u200d", "🚀"], 4)
@example(["e", "\u0301", "x"], 2)
def test_nothing_is_lost_and_nothing_is_too_wide(pieces: list[str], width: int) -> None:
    pieces = [piece.replace("\0", "") for piece in pieces]
    wrapping = wrap(pieces, width)
    shown = spelled(wrapping)
    # A mark with nothing to combine with stands on a blank of its own.
    assert shown.replace(" ", "") == plain("".join(pieces)).replace(" ", "")
    for line in wrapping.lines:
        assert line_width(line) <= max(width + 1, len(GLYPHS.end))
        assert line_width(line) >= cell_len("".join(cell.text for cell in line))


@settings(max_examples=150, deadline=None)
@given(PIECES, WIDTHS)
def test_every_position_has_a_place_and_is_found_there(pieces: list[str], width: int) -> None:
    wrapping = wrap(pieces, width, end=True)
    seen = [cell.position for line in wrapping.lines for cell in line]
    assert sorted(set(seen)) == list(range(len(pieces) + 1))
    assert seen == sorted(seen)
    for position in range(len(pieces) + 1):
        line = wrapping.line_of(position)
        assert any(cell.position == position for cell in wrapping.lines[line])
        assert wrapping.position_at(line, 10**6) is not None


@settings(max_examples=100, deadline=None)
@given(PIECES, WIDTHS, st.integers(0, 40))
def test_closed_lines_never_change(pieces: list[str], width: int, at: int) -> None:
    at = min(at, len(pieces))
    wrapping = wrap(pieces[:at], width)
    closed = [list(line) for line in wrapping.lines[:-1]]
    for piece in pieces[at:]:
        first = wrapping.append(Piece(piece))
        assert first >= len(closed)
    assert [list(line) for line in wrapping.lines[: len(closed)]] == closed


@settings(max_examples=150, deadline=None)
@given(PIECES, WIDTHS, st.integers(0, 39), st.text(min_size=1, max_size=12))
def test_a_ghost_adds_itself_and_changes_nothing_else(pieces: list[str], width: int, at: int, ghost: str) -> None:
    wrapping = wrap(pieces, width, end=True)
    position = min(at, len(pieces))
    before = [cell for line in wrapping.lines for cell in line]
    first, count, lines = insert_ghost(wrapping, position, ghost)
    assert [cell for line in wrapping.lines for cell in line] == before
    replaced = [*wrapping.lines[:first], *lines, *wrapping.lines[first + count :]]
    after = [cell for line in replaced for cell in line]
    assert [cell for cell in after if cell.kind is not Kind.GHOST] == before
    ghosts = [index for index, cell in enumerate(after) if cell.kind is Kind.GHOST]
    assert ghosts
    assert ghosts == list(range(ghosts[0], ghosts[-1] + 1))
    assert after[ghosts[0]].position == position
    for line in lines:
        assert line_width(line) <= max(width + 1, len(GLYPHS.end))


def test_words_stay_whole_where_they_fit() -> None:
    wrapping = wrap(["Carry", " a", " water", " bot", "tle", " and", " sip"], 12)
    lines = ["".join(cell.text for cell in line) for line in wrapping.lines]
    assert lines == ["Carry a ", "water bottle ", "and sip"]


def test_wide_characters_break_anywhere_but_never_in_half() -> None:
    wrapping = wrap(["東京東京東京"], 5)
    assert ["".join(cell.text for cell in line) for line in wrapping.lines] == ["東京", "東京", "東京"]


def test_a_part_of_a_character_goes_to_the_line_of_the_character() -> None:
    wrapping = wrap(["東京東京", "", "", "都"], 9)
    assert ["".join(cell.text for cell in line) for line in wrapping.lines] == ["東京東京", "··都"]


def test_signs_of_line_ends_tabs_parts_and_the_end() -> None:
    wrapping = wrap(["a", "\n\n", "", "\t", "b"], 20, end=True)
    assert ["".join(cell.text for cell in line) for line in wrapping.lines] == ["a↵", "↵", "·→   b<end>"]
