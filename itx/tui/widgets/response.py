"""The pane of one author's response: a cursor in its text, and the scorer's choice beside it."""

from __future__ import annotations

from textual import events
from textual.message import Message

from itx.records import Thresholds
from itx.tui.answers import Exchange
from itx.tui.palette import Palette, Signs
from itx.tui.spans import NOTHING, Drawn
from itx.tui.widgets.wrapped import Place, WrappedResponse
from itx.tui.wording import cut
from itx.tui.wrapping import insert_ghost

__all__ = ["Place", "ResponsePane"]

GHOST_CELLS = 24


class ResponsePane(WrappedResponse):
    """One response, with where the person is in it."""

    class Moved(Message):
        """The cursor stands on another token."""

        def __init__(self, pane: ResponsePane) -> None:
            super().__init__()
            self.pane = pane

    def __init__(self, palette: Palette, signs: Signs, *, id: str | None = None) -> None:
        super().__init__(palette, signs, id=id)
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

    def show_spans(self, drawn: Drawn) -> None:
        """Put the brackets where ``drawn`` has them now; lines before the first that differs are left as they are."""
        before, self.drawn = self.drawn, drawn
        changed = [
            position
            for old, new in ((before.openings, drawn.openings), (before.closings, drawn.closings))
            for position in old.keys() | new.keys()
            if old.get(position) != new.get(position)
        ]
        if not self._laid_out or min(changed, default=self._wrapping.positions) >= self._wrapping.positions:
            return
        height = self._drawn_height
        first = self._wrapping.rewind(min(changed))
        self._strips.clear()
        self._append_new()
        self._place_ghost()
        self._resize_to_text()
        self._keep_cursor_visible()
        self.refresh_lines(first, max(height, self._drawn_height) - first)

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
        if choice is None or cursor >= self._wrapping.positions:
            return
        name = self.exchange.name(choice[0], self.scorer)
        emitted = self.answer.ids[cursor]
        apart = self.answer.scores[self.scorer].aligned  # then equal ids say nothing
        if (name == self.exchange.name(emitted, self.answer.author)) if apart else (choice[0] == emitted):
            return
        text = cut(name.strip() or repr(name)[1:-1], GHOST_CELLS - 2)
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
