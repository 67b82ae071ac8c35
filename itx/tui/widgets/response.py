"""The pane of one author's response: wrapped tokens with their marks, a cursor, and the scorer's choice beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from itx.records import Thresholds
from itx.tui.answers import Answer, Exchange
from itx.tui.palette import Palette, Signs
from itx.tui.spans import NOTHING, Drawn
from itx.tui.widgets.panel import strip_of
from itx.tui.wording import cut, wrap_text
from itx.tui.wrapping import Cell, Kind, Line, Wrapping, insert_ghost

GHOST_CELLS = 24
KEPT_STRIPS = 512


class Place(NamedTuple):
    """Where a person is in a response: the token under the cursor (None: none), and whether the view follows."""

    cursor: int | None = None
    follow: bool = True
    top: int = 0
    """The first line that is seen, where nothing is followed."""


class ResponsePane(ScrollView, can_focus=True):
    """One response, growing or complete. Lines are drawn when they are seen, and kept."""

    class Moved(Message):
        """The cursor stands on another token."""

        def __init__(self, pane: ResponsePane) -> None:
            super().__init__()
            self.pane = pane

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
        self._wanted_column: int | None = None

    # What is shown

    def show(
        self,
        exchange: Exchange | None,
        author: str,
        scorer: str,
        thresholds: Thresholds,
        place: Place,
        drawn: Drawn = NOTHING,
        *,
        active: bool,
    ) -> None:
        """Show an author's response from the beginning, scored by ``scorer``, with the brackets of ``drawn``."""
        self.exchange = exchange
        self.answer = exchange.answers.get(author) if exchange is not None else None
        self.scorer, self.thresholds, self.active, self.place = scorer, thresholds, active, place
        self.drawn = drawn
        self._wrap_all()
        if not (place.follow and self._streaming):
            self.scroll_to(y=place.top, animate=False, force=True, immediate=True)
            if active and place.cursor is None and not place.follow:  # read on beside another: the cursor comes to it
                self.move_to(self._wrapping.position_at(self.scroll_offset.y + self._page // 2, 0))
        self._keep_cursor_visible()

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

    def on_mount(self) -> None:
        """Wrap for the first width."""
        self._wrap_all()

    def on_resize(self) -> None:
        """Wrap again where the width has changed; keep the cursor, or the tail, in view."""
        if self._wrapping.width != max(2, self._room - 1) or not self._wrapping.positions:
            self._wrap_all()
        else:
            self._resize_to_text()
        self._keep_cursor_visible()

    def update_text(self) -> None:
        """Take in what the answer has gained since the last call; only lines that changed are drawn again."""
        if self.answer is None or not self._laid_out:
            return
        first = self._append_new()
        scored = self.answer.scored(self.scorer)
        if scored != self._scored:
            first = min(first, self._wrapping.line_of(self._scored))
            self._scored = scored
        if first >= self._wrapping.height:
            return
        self._place_ghost()
        self._resize_to_text()
        self._keep_cursor_visible()
        self.refresh_lines(first, self._drawn_height - first)

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

    # The cursor

    def move_to(self, position: int | None, *, keep_column: bool = False) -> None:
        """Put the cursor on a position, or on none (follow the tail)."""
        if self.answer is None or not self.answer.length:
            position = None
        if position is not None and self.answer is not None:
            position = max(0, min(self.answer.length - 1, position))
        self.place = Place(position, follow=position is None)
        if not keep_column:
            self._wanted_column = None
        before = self._ghost
        old = before[0] if before else 0
        self._place_ghost()
        self._resize_to_text()
        self._keep_cursor_visible()
        if before or self._ghost:
            start = min(old, self._ghost[0]) if before and self._ghost else (before or self._ghost or (0,))[0]
            self.refresh_lines(start, max(self._drawn_height, self._page + self.scroll_offset.y) - start)
        else:
            self.refresh()
        self.post_message(self.Moved(self))

    def move_line(self, lines: int) -> None:
        """Move the cursor by lines, keeping its column as far as it can; without a cursor, scroll."""
        if self.answer is None or not self.answer.length:
            return
        if not self.active:
            self._scroll_beside(self.scroll_offset.y + lines)
            return
        cursor = self.place.cursor
        if cursor is None:
            self.move_to(self._wrapping.position_at(max(0, self._wrapping.height - 1), 0))
            return
        if self._wanted_column is None:
            self._wanted_column = self._wrapping.column_of(cursor)
        line = self._wrapping.line_of(cursor) + lines
        position = self._wrapping.position_at(max(0, min(self._wrapping.height - 1, line)), self._wanted_column)
        if position is not None:
            self.move_to(position, keep_column=True)

    def move_to_end(self, *, top: bool) -> None:
        """Go to the first position, or to the last (while text streams: follow it)."""
        if not self.active:
            self._scroll_beside(0 if top else self._drawn_height, follow=not top)
        elif self.answer is not None:
            self.move_to(0 if top else None if self._streaming else self.answer.length - 1)

    def _scroll_beside(self, line: int, *, follow: bool = False) -> None:
        self.place = Place(follow=follow)
        self._scroll_to_line(line)
        self.post_message(self.Moved(self))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the token that was clicked."""
        offset = event.get_content_offset(self)
        if offset is not None and self.active and self.answer is not None:
            line, _ = self._line_at(self.scroll_offset.y + offset.y)
            passed = 0
            for cell in line:
                passed += cell.width
                if offset.x < passed:
                    self.move_to(cell.position)
                    return

    def _place_ghost(self) -> None:
        """Put what the scorer would have said beside the cursor, where it is something else."""
        self._ghost = None
        cursor = self.place.cursor
        if not self.active or cursor is None or self.answer is None or self.exchange is None:
            return
        choice = self.answer.choice(cursor, self.scorer)
        if choice is None or choice[0] == self.answer.ids[cursor] or cursor >= self._wrapping.positions:
            return
        text = cut(self.exchange.name(choice[0]).strip() or repr(self.exchange.name(choice[0]))[1:-1], GHOST_CELLS - 2)
        self._ghost = insert_ghost(self._wrapping, cursor, self.signs.ghost.format(text))

    def _line_of(self, position: int) -> int:
        if self._ghost is not None:
            first, _, lines = self._ghost
            for index in range(len(lines) - 1, -1, -1):
                if any(cell.position == position for cell in lines[index]):
                    return first + index
        return self._wrapping.line_of(position)

    def _keep_cursor_visible(self) -> None:
        top, page = self.scroll_offset.y, self._page
        if self.place.cursor is None:
            if self.place.follow and self._streaming:
                self._scroll_to_line(self.virtual_size.height - page)
            return
        line = self._line_of(self.place.cursor)
        margin = min(3, max(0, (page - 1) // 3))
        if line < top + margin:
            self._scroll_to_line(line - margin)
        elif line > top + page - 1 - margin:
            self._scroll_to_line(line - page + 1 + margin)

    def _scroll_to_line(self, line: int) -> None:
        # Forced, for the scroll bar that Textual asks for first is shown only after the next layout.
        self.scroll_to(y=max(0, min(line, self.virtual_size.height - self._page)), animate=False, force=True)

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
