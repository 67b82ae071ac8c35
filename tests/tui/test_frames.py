"""What is sent to the terminal: the difference shows the same as the whole, and is small."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import split_graphemes
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

Screen = dict[tuple[int, int], tuple[str, str]]


def play(screen: Screen, sent: str) -> None:
    """A terminal: cursor moves, styles, text, line feeds. Writing over half of a wide character clears the other."""
    x = y = 0
    style = ""
    for move, sgr, feed, text in re.findall(r"\x1b\[(\d+;\d+)H|\x1b\[([\d;]*)m|(\n)|([^\x1b\n]+)", sent):
        if move:
            y, x = (int(part) - 1 for part in move.split(";"))
        elif feed:
            y, x = y + 1, 0
        elif text:
            for start, end, width in split_graphemes(text)[0]:
                assert width, "a mark without its character"
                for covered in (x, x + width - 1):
                    if screen.get((y, covered), ("x", ""))[0] == "" and covered == x:
                        screen[y, x - 1] = (" ", "")
                    if screen.get((y, covered + 1), ("x", ""))[0] == "" and covered == x + width - 1:
                        screen[y, covered + 1] = (" ", "")
                screen[y, x] = (text[start:end], style)
                if width == 2:
                    screen[y, x + 1] = ("", style)
                x += width
        else:
            style = "" if sgr in ("", "0") else sgr


def to_strips(frame: list[list[tuple[str, Style | None]]]) -> list[Strip]:
    strips = []
    for row in frame:
        segments = []
        for text, style in row:
            # A segment of its own never begins with a combining mark on the screen.
            segments.append(Segment(text.lstrip("\u0301"), style))
        strips.append(Strip(segments).crop_extend(0, WIDTH, None))
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
