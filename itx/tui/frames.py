"""Only cells that changed are sent to the terminal.

Textual draws whole lines of every widget that was touched. Here each of its updates is compared with what the terminal
shows, cell by cell, and only the differences are written: over a slow line that is a tenth of the bytes. It rests on
two private classes of Textual 8's compositor; nothing else in itx does.

Terminals disagree on how wide joined emoji, flags and many scripts' syllables are. After each such grapheme the cursor
is put where it belongs, and a line that held or holds one is written whole, to its end, where anything in it changes:
so what a terminal drew wider or narrower than was thought neither shifts the rest nor stays behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from rich.cells import split_graphemes
from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from itx.text import sanitise

Cell = tuple[str, Style | None]
"""A grapheme and its style; a wide grapheme is followed by a cell with no text."""

GAP = 6
"""Unchanged cells that are cheaper to write again than to jump over."""
_UNKNOWN: Cell = ("\0", None)


class Terminal:
    """What the terminal shows, as far as is known."""

    def __init__(self) -> None:
        self._lines: dict[int, list[Cell]] = {}
        self._width = 0

    def forget(self) -> None:
        """Forget what is shown: the next update is written whole."""
        self._lines.clear()

    def resize(self, width: int) -> None:
        """Forget what is shown where the width is another."""
        if width != self._width:
            self._width = width
            self.forget()

    def write(self, y: int, x: int, strip: Strip, console: Console) -> str:
        """Return what must be sent to show ``strip`` at a place, and know it as shown."""
        fresh = list(_cells(strip))
        line = self._lines.setdefault(y, [_UNKNOWN] * self._width)
        missing = x + len(fresh) - len(line)
        if missing > 0:
            line.extend([_UNKNOWN] * missing)
        shown = line[x : x + len(fresh)]
        line[x : x + len(fresh)] = fresh
        if shown != fresh and any(_is_doubtful(text) for text, _ in (*shown, *fresh)):
            known = next((end for end in range(x + len(fresh), len(line)) if line[end] == _UNKNOWN), len(line))
            return _write(line[x:known], x, y, console)
        return "".join(_write(fresh[start:end], x + start, y, console) for start, end in _changes(shown, fresh))


class ChangedCells(CompositorUpdate):
    """An update of the compositor, reduced to what the terminal does not show yet."""

    def __init__(self, update: LayoutUpdate | ChopsUpdate, terminal: Terminal, width: int) -> None:
        self._update = update
        self._terminal = terminal
        self._width = width

    def render_segments(self, console: Console) -> str:
        """Return what must be sent."""
        self._terminal.resize(self._width)
        places = _layout(self._update) if isinstance(self._update, LayoutUpdate) else _chops(self._update)
        return "".join(self._terminal.write(y, x, strip, console) for y, x, strip in places)


def reduce_update(update: RenderableType | None, terminal: Terminal, width: int) -> RenderableType | None:
    """Return the compositor's update reduced to changes; what is of another kind as it is."""
    if isinstance(update, LayoutUpdate | ChopsUpdate):
        return cast("RenderableType", ChangedCells(update, terminal, width))  # as Textual does: it is no renderable
    return update


def _layout(update: LayoutUpdate) -> Iterator[tuple[int, int, Strip]]:
    for y, line in enumerate(update.strips, update.region.y):
        yield y, update.region.x, Strip.join(list(line))


def _chops(update: ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    for y, left, right in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < right and end > left:
                yield y, x, strip if end <= right else strip.crop(0, right - x)


def _cells(strip: Strip) -> Iterator[Cell]:
    for written, style, control in strip:
        if control:
            continue
        # The last gate: nothing but text and styles passes, whoever drew it.
        text = written if written.isprintable() else sanitise(written, keep_newlines=False)
        if text.isascii():
            for character in text:
                yield character, style
            continue
        for start, end, width in split_graphemes(text)[0]:
            if width:
                yield text[start:end], style
                if width == 2:
                    yield "", style


def _changes(shown: list[Cell], fresh: list[Cell]) -> Iterator[tuple[int, int]]:
    """Yield the runs (start, end exclusive) of ``fresh`` that differ; short gaps are bridged, wide cells kept whole."""
    if shown == fresh:
        return
    start = end = -1
    for index, (before, now) in enumerate(zip(shown, fresh, strict=True)):
        if before == now:
            continue
        if start < 0:
            start = index
        elif index - end > GAP:
            yield _whole(fresh, start, end)
            start = index
        end = index + 1
    yield _whole(fresh, start, end)


def _whole(cells: list[Cell], start: int, end: int) -> tuple[int, int]:
    while start > 0 and cells[start][0] == "":
        start -= 1
    while end < len(cells) and cells[end][0] == "":
        end += 1
    return start, end


def _is_doubtful(text: str) -> bool:
    """Return True where a terminal may take another width for a grapheme: where it is joined, or an emoji."""
    return len(text) > 1 or text >= "\U0001f000"


def _is_flag(text: str) -> bool:
    return "\U0001f1e6" <= text <= "\U0001f1ff"


def _write(cells: list[Cell], x: int, y: int, console: Console) -> str:
    """Return what shows ``cells`` at a place."""
    segments = [Control.move_to(x, y).segment]
    run, style = "", cells[0][1]
    for place, (text, now) in enumerate(cells, x):
        following = cells[place - x + 1] if place - x + 1 < len(cells) else _UNKNOWN
        doubtful = _is_doubtful(text) and not (_is_flag(text) and _is_flag(following[0]))  # halves of a flag stay one
        if now != style or (doubtful and not _is_flag(text)):
            segments.append(Segment(run, style))
            run, style = "", now
        if not doubtful:
            run += text
            continue
        width = 2 if following[0] == "" else 1
        if width == 2:  # a terminal that takes one cell for it would leave what was in the other
            segments += [Segment("  ", now), Control.move_to(place, y).segment]
        segments += [Segment(run + text, now), Control.move_to(place + width, y).segment]
        run = ""
    segments.append(Segment(run, style))
    return Strip([segment for segment in segments if segment.text]).render(console)
