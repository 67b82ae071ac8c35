"""A response as it is drawn: wrapped tokens with their marks and brackets, growing or complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.cache import LRUCache
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from itx.records import Thresholds
from itx.tui.answers import Answer, Exchange
from itx.tui.palette import Palette, Signs
from itx.tui.spans import NOTHING
from itx.tui.widgets.panel import strip_of
from itx.tui.wording import wrap_text
from itx.tui.wrapping import Cell, Kind, Line, Wrapping

KEPT_STRIPS = 512


class Place(NamedTuple):
    """Where a person is in a response: the token under the cursor (None: none), and whether the view follows."""

    cursor: int | None = None
    follow: bool = True
    top: int = 0
    """The first line that is seen, where nothing is followed."""


class WrappedResponse(ScrollView, can_focus=True):
    """Lines are drawn when they are seen, and kept. Where the person is in them is for ``ResponsePane`` to say."""

    def __init__(self, palette: Palette, signs: Signs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.signs = signs
        self.answer: Answer | None = None
        self.exchange: Exchange | None = None
        self.scorer = ""
        self.thresholds = Thresholds()
        self.message: list[Text] = []
        self.active = False
        self.place = Place()
        self.drawn = NOTHING
        self._wrapping = Wrapping(2)
        self._scored = 0
        self._strips: LRUCache[tuple[int | None, ...], Strip] = LRUCache(KEPT_STRIPS)
        self._ghost: tuple[int, int, list[Line]] | None = None

    def show_message(self, lines: list[Text]) -> None:
        """Show lines in place of a response, centred; an empty list shows the response again."""
        if [line.markup for line in lines] != [line.markup for line in self.message]:
            self.message = lines
            self.refresh()

    def _wrap_all(self) -> None:
        self._wrapping = Wrapping(self._room - 1, self.signs.glyphs)
        self._strips.clear()
        self._ghost = None
        if not self._laid_out:
            return
        self._scored = 0
        self._append_new()
        self._place_ghost()
        self._resize_to_text()
        self.refresh()

    def _place_ghost(self) -> None:
        """Put what the scorer would have said beside the cursor."""
        raise NotImplementedError

    @property
    def _room(self) -> int:
        return max(3, self.scrollable_content_region.width)

    @property
    def _laid_out(self) -> bool:
        """False before the first layout: nothing is wrapped for a width that is not known."""
        return self.size.width > 0

    @property
    def _page(self) -> int:
        return max(1, self.scrollable_content_region.height)

    def _append_new(self) -> int:
        """Append positions that are not wrapped yet; return the first line that changed."""
        first = self._wrapping.height
        if self.answer is not None:
            for position in range(self._wrapping.positions, self.answer.length):
                piece = self.answer.piece(position)
                if position in self.drawn.openings or position in self.drawn.closings:
                    piece = piece._replace(
                        opening=self.drawn.openings.get(position, ""), closing=self.drawn.closings.get(position, "")
                    )
                first = min(first, self._wrapping.append(piece))
        return first

    @property
    def _drawn_height(self) -> int:
        extra = len(self._ghost[2]) - self._ghost[1] if self._ghost else 0
        return self._wrapping.height + extra

    @property
    def _streaming(self) -> bool:
        return self.answer is not None and self.answer.finish is None

    def _resize_to_text(self) -> None:
        """Set the height that can be scrolled; while text streams, half a page ahead, so as to do it rarely."""
        height = self._drawn_height
        if self._streaming and self.place.follow:
            step = max(2, self._page // 2)
            height = max(height, -(-(height + 1) // step) * step) if height > self._page - 1 else height
        size = Size(self._room, height)
        if size != self.virtual_size:
            self.virtual_size = size

    # Drawing

    def _line_at(self, y: int) -> tuple[Line, int | None]:
        """Return the cells of a drawn line and its index in the wrapping; None where the ghost's paragraph gave it."""
        if self._ghost is not None:
            first, count, lines = self._ghost
            if first <= y < first + len(lines):
                return lines[y - first], None
            if y >= first:
                y += count - len(lines)
        return (self._wrapping.lines[y], y) if 0 <= y < self._wrapping.height else ([], y)

    def render_line(self, y: int) -> Strip:
        """Return one visible line."""
        width = self.scrollable_content_region.width
        if self.message:
            return self._message_line(y, width)
        line, index = self._line_at(self.scroll_offset.y + y)
        if not line:
            return Strip.blank(width)
        cursor = self.place.cursor if self.active and self.place.cursor is not None else -1
        seen = cursor if line[0].position <= cursor <= line[-1].position else -1
        scored = min(self._scored_now, line[-1].position + 1)
        key = (index, len(line), len(line[-1].text), scored, seen, width)
        strip = self._strips.get(key) if index is not None else None
        if strip is None:
            strip = Strip(list(self._segments(line, seen))).crop_extend(0, width, None)
            if index is not None:
                self._strips[key] = strip
        return strip

    @property
    def _scored_now(self) -> int:
        return self.answer.scored(self.scorer) if self.answer is not None else 0

    def _message_line(self, y: int, width: int) -> Strip:
        lines = [line for text in self.message for line in wrap_text(text, width - 2)]
        index = y - max(0, (self._page - len(lines)) // 2)
        if not 0 <= index < len(lines):
            return Strip.blank(width)
        line = Text(" " * max(0, (width - lines[index].cell_len) // 2)).append_text(lines[index])
        return strip_of(line, self.app.console).crop_extend(0, width, None)

    def _segments(self, line: Line, cursor: int) -> Iterator[Segment]:
        """Yield the runs of one style of a line."""
        run, style = "", Style.null()
        for cell in line:
            now = self._style_of(cell, cursor)
            if now != style and run:
                yield Segment(run, style)
                run = ""
            style = now
            run += cell.text
        if run:
            yield Segment(run, style)

    def _style_of(self, cell: Cell, cursor: int) -> Style:
        palette = self.palette
        if cell.kind is Kind.GHOST:
            return palette.ghost
        if cell.kind is Kind.LEAD:
            return palette.plain
        if cell.kind in (Kind.OPEN, Kind.CLOSE):
            return palette.bracket
        assert self.answer is not None
        style = palette.shift(self.answer.shift(cell.position, self.scorer, self.thresholds))
        if cell.kind in (Kind.NEWLINE, Kind.TAB, Kind.MARK):
            style = palette.sign + style
        return style + palette.cursor if cell.position == cursor else style
