"""A framed, scrollable panel of lines that are drawn once for its width: the base of all panels of the screen."""

from __future__ import annotations

from rich.console import Console
from rich.segment import Segment
from rich.text import Text
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from itx.text import sanitise


class Panel(ScrollView, can_focus=True):
    """Shows ``write_lines(width)``; call ``redraw`` when what it shows has changed.

    The scroll bar's column is always kept free (``scrollbar-gutter``): one that came later would cover figures.
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._strips: list[Strip] = []
        self._drawn_width = -1

    @property
    def room(self) -> int:
        """The columns that lines may use."""
        return max(1, self.scrollable_content_region.width)

    @property
    def view_height(self) -> int:
        """The lines that are visible at once."""
        return max(1, self.scrollable_content_region.height)

    def write_lines(self, width: int) -> list[Text]:
        """Return the panel's lines; each may be up to ``width`` cells wide."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Draw the first time."""
        self.redraw()

    def on_resize(self) -> None:
        """Draw again where the width has changed."""
        if self.room != self._drawn_width:
            self.redraw()

    def redraw(self) -> None:
        """Write the lines anew and show them."""
        if not self.is_mounted or not self.size.width:
            return
        width = self.room
        self._drawn_width = width
        console = self.app.console
        fresh = [strip_of(line, console) for line in self.write_lines(width)]
        changed = len(fresh) != len(self._strips)
        old, self._strips = self._strips, fresh
        size = Size(width, len(fresh))
        if self.virtual_size != size:
            self.virtual_size = size
        if changed:
            self.refresh()
            return
        for index, (before, now) in enumerate(zip(old, fresh, strict=True)):
            if before != now:
                self.refresh_line(index)

    def render_line(self, y: int) -> Strip:
        """Return one visible line."""
        index = self.scroll_offset.y + y
        width = self.room
        if not 0 <= index < len(self._strips):
            return Strip.blank(width)
        return self._strips[index].crop_extend(0, width, None)

    def move_line(self, lines: int) -> None:
        """Scroll by a number of lines."""
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False)

    def move_to_end(self, *, top: bool) -> None:
        """Scroll to the first or the last line."""
        self.scroll_to(y=0 if top else self.max_scroll_y, animate=False)


class LongPanel(Panel):
    """A panel of very many lines: each is written when it is seen."""

    def count_lines(self) -> int:
        """Return how many lines there are."""
        raise NotImplementedError

    def write_line(self, index: int, width: int) -> Text:
        """Return one line."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Take in how many lines there are."""
        if not self.is_mounted or not self.size.width:
            return
        self._drawn_width = self.room
        size = Size(self.room, self.count_lines())
        if self.virtual_size != size:
            self.virtual_size = size
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one visible line."""
        index, width = self.scroll_offset.y + y, self.room
        if index >= self.count_lines():
            return Strip.blank(width)
        return strip_of(self.write_line(index, width), self.app.console).crop_extend(0, width, None)


def strip_of(line: Text, console: Console) -> Strip:
    """Return a line of text as a strip; whatever it holds, no control character leaves here."""
    if line.style and not line.spans:  # Rich leaves the base style out where there are no spans
        line = Text().append(line.plain, line.style)
    segments = [segment for segment in line.render(console) if segment.text and segment.text != "\n"]
    return Strip([Segment(sanitise(text, keep_newlines=False), style) for text, style, _ in segments])
