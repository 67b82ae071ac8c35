"""What is sent to the terminal: the difference shows the same as the whole, and is small."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len, split_graphemes
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from itx.tui.frames import ChangedCells, Terminal

WIDTH, HEIGHT = 14, 3
CONSOLE = Console(width=WIDTH, color_system="truecolor", force_terminal=True, _environ={})
TEXTS = st.text(alphabet="ab 日e\u0301é", max_size=8)
STYLES = st.sampled_from([None, Style(bold=True), Style(color="#d9601a"), Style(reverse=True, underline=True)])
ROWS = st.lists(st.tuples(TEXTS, STYLES), max_size=4)
FRAMES = st.lists(st.lists(ROWS, min_size=HEIGHT, max_size=HEIGHT), min_size=1, max_size=4)

GRAPHEMES = st.sampled_from(["a", "b", " ", "日", "क्षि", "👩‍👩‍👧", "🇩🇪", "🎉"])
JOINED = st.lists(GRAPHEMES, max_size=4).map("".join)
JOINED_ROWS = st.lists(st.tuples(JOINED, STYLES), max_size=2)
JOINED_FRAMES = st.lists(st.lists(JOINED_ROWS, min_size=HEIGHT, max_size=HEIGHT), min_size=1, max_size=4)
ROOMY = 40

Screen = dict[tuple[int, int], tuple[str, str]]


def split(text: str, widths: str) -> list[tuple[str, int]]:
    """Return graphemes with their widths as a terminal sees them: as Rich does, or each code point, or all narrow."""
    if widths == "points":
        return [(character, cell_len(character)) for character in text if cell_len(character)]
    spans = split_graphemes(text)[0]
    return [(text[start:end], 1 if widths == "narrow" and end - start > 1 else width) for start, end, width in spans]


def play(screen: Screen, sent: str, widths: str = "rich") -> None:
    """A terminal: cursor moves, styles, text, line feeds. Writing over half of a wide character clears the other."""
    x = y = 0
    style = ""
    for move, sgr, feed, text in re.findall(r"\x1b\[(\d+;\d+)H|\x1b\[([\d;]*)m|(\n)|([^\x1b\n]+)", sent):
        if move:
            y, x = (int(part) - 1 for part in move.split(";"))
        elif feed:
            y, x = y + 1, 0
        elif text:
            for grapheme, width in split(text, widths):
                assert width, "a mark without its character"
                for covered in (x, x + width - 1):
                    if screen.get((y, covered), ("x", ""))[0] == "" and covered == x:
                        screen[y, x - 1] = (" ", "")
                    if screen.get((y, covered + 1), ("x", ""))[0] == "" and covered == x + width - 1:
                        screen[y, covered + 1] = (" ", "")
                screen[y, x] = (grapheme, style)
                if width == 2:
                    screen[y, x + 1] = ("", style)
                x += width
        else:
            style = "" if sgr in ("", "0") else sgr


def to_strips(frame: list[list[tuple[str, Style | None]]], width: int = WIDTH) -> list[Strip]:
    strips = []
    for row in frame:
        segments = []
        for text, style in row:
            # A segment of its own never begins with a combining mark on the screen.
            segments.append(Segment(text.lstrip("\u0301"), style))
        strips.append(Strip(segments).crop_extend(0, width, None))
    return strips


@settings(max_examples=200, deadline=None)
@given(FRAMES)
def test_differences_show_what_whole_frames_show(frames: list[list[list[tuple[str, Style | None]]]]) -> None:
    terminal, small, whole = (
        Terminal(),
        dict[tuple[int, int], tuple[str, str]](),
        dict[tuple[int, int], tuple[str, str]](),
    )
    for frame in frames:
        strips = to_strips(frame)
        update = LayoutUpdate([[strip] for strip in strips], Region(0, 0, WIDTH, HEIGHT))
        play(small, ChangedCells(update, terminal, WIDTH).render_segments(CONSOLE))
        whole.clear()
        play(whole, update.render_segments(CONSOLE))
        assert small == whole
        assert ChangedCells(update, terminal, WIDTH).render_segments(CONSOLE) == ""


def test_one_changed_cell_costs_little_and_forgetting_sends_all() -> None:
    terminal = Terminal()
    strips = [Strip([Segment("x" * WIDTH)])] * HEIGHT
    update = LayoutUpdate([[strip] for strip in strips], Region(0, 0, WIDTH, HEIGHT))
    assert ChangedCells(update, terminal, WIDTH).render_segments(CONSOLE).count("x") == WIDTH * HEIGHT
    changed = LayoutUpdate([[Strip([Segment("xxxyxxxxxxxxxx")])]], Region(0, 1, WIDTH, 1))
    assert ChangedCells(changed, terminal, WIDTH).render_segments(CONSOLE) == "\x1b[2;4Hy"
    terminal.forget()
    assert ChangedCells(update, terminal, WIDTH).render_segments(CONSOLE).count("x") == WIDTH * HEIGHT
    assert len(ChangedCells(update, terminal, WIDTH - 1).render_segments(CONSOLE)) > WIDTH * HEIGHT


@pytest.mark.parametrize("widths", ["rich", "points", "narrow"])
@settings(max_examples=100, deadline=None)
@given(JOINED_FRAMES)
def test_a_terminal_with_other_widths_keeps_nothing_of_earlier_frames(
    widths: str, frames: list[list[list[tuple[str, Style | None]]]]
) -> None:
    terminal, seen = Terminal(), dict[tuple[int, int], tuple[str, str]]()
    for frame in frames:
        strips = to_strips(frame, ROOMY)
        update = LayoutUpdate([[strip] for strip in strips], Region(0, 0, ROOMY, HEIGHT))
        play(seen, ChangedCells(update, terminal, ROOMY).render_segments(CONSOLE), widths)
        fresh = dict[tuple[int, int], tuple[str, str]]()
        play(fresh, ChangedCells(update, Terminal(), ROOMY).render_segments(CONSOLE), widths)
        assert seen == fresh


def test_what_stands_right_of_a_doubtful_grapheme_is_put_in_its_place_and_written_again() -> None:
    terminal = Terminal()
    whole = LayoutUpdate([[Strip([Segment("🇩🇪 flag  |right")])]], Region(0, 0, WIDTH, 1))
    sent = ChangedCells(whole, terminal, WIDTH).render_segments(CONSOLE)
    assert sent == "\x1b[1;1H🇩🇪\x1b[1;3H flag  |right"
    left = LayoutUpdate([[Strip([Segment("no flag  ")])]], Region(0, 0, 9, 1))
    assert ChangedCells(left, terminal, WIDTH).render_segments(CONSOLE) == "\x1b[1;1Hno flag  |right"
    family = LayoutUpdate([[Strip([Segment("👩‍👩‍👧!")])]], Region(0, 0, WIDTH, 1))
    assert (
        ChangedCells(family, terminal, WIDTH)
        .render_segments(CONSOLE)
        .startswith("\x1b[1;1H  \x1b[1;1H👩‍👩‍👧\x1b[1;3H!")
    )
