"""A table of very many rows: one is marked, one column sorts, the head stays in view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message
from textual.strip import Strip

from itx.tui.palette import Palette, Signs
from itx.tui.shelf import GAP, Column, fit_columns, fit_name
from itx.tui.widgets.panel import LongPanel, strip_of
from itx.tui.wording import cut, pad

Row = TypeVar("Row")


class Table(LongPanel, Generic[Row]):
    """Rows in the order they are given; whoever shows them sorts."""

    class Chosen(Message):
        """Another row is marked."""

        def __init__(self, table: LongPanel) -> None:
            super().__init__()
            self.table = table

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        palette: Palette,
        signs: Signs,
        warns: Callable[[Row], str],
        *,
        id: str,
    ) -> None:
        """``warns`` says what is wrong with a row; such a row has a ``!`` and the words in place of its figures."""
        super().__init__(id=id)
        self.columns = columns
        self.palette = palette
        self.signs = signs
        self.warns = warns
        self.rows: Sequence[Row] = ()
        self.sorting = 0
        self.reverse = False
        self.chosen = 0
        self.nothing = ""

    @property
    def row(self) -> Row | None:
        """The row that is marked."""
        return self.rows[self.chosen] if self.chosen < len(self.rows) else None

    @property
    def column(self) -> Column[Row]:
        """The column that sorts."""
        return self.columns[self.sorting]

    def show(self, rows: Sequence[Row], chosen: int, nothing: str = "") -> None:
        """Show rows with one marked; where there are none, what to say instead."""
        self.rows, self.nothing = rows, nothing
        self.chosen = max(0, min(chosen, len(rows) - 1))
        self.redraw()
        self._keep_visible()

    def on_resize(self) -> None:
        """Draw again, and keep the mark in view."""
        super().on_resize()
        self._keep_visible()

    def count_lines(self) -> int:
        """Return how many lines there are: the head, and one a row."""
        return 1 + max(1, len(self.rows))

    def render_line(self, y: int) -> Strip:
        """Return one visible line; the first is the head, wherever one is."""
        width = self.room
        if y == 0:
            return strip_of(self.write_head(width), self.app.console).crop_extend(0, width, None)
        return super().render_line(y)

    def write_head(self, width: int) -> Text:
        """Return the columns' names; the one that sorts is marked."""
        line = Text("  ")
        sign = self.signs.down if self.column.down != self.reverse else self.signs.up
        for place, (index, cells) in enumerate(fit_columns(self.columns, self.sorting, width - 2)):
            column, sorts = self.columns[index], index == self.sorting
            line.append(" " * GAP if place else "")
            if not sorts:
                line.append(fit_name(column, cells), self.palette.faint)
                continue
            # The sign stands in the gap before a figure's name, behind a text's.
            name = column.name if column.share or cell_len(column.name) < cells else column.name[: cells - 1]
            marked = f"{name} {sign}" if column.share else f"{sign}{name}"
            line.append(pad(marked, cells) if column.share else marked.rjust(cells), self.palette.accent)
        return line

    def write_line(self, index: int, width: int) -> Text:
        """Return the line of a row."""
        if not self.rows:
            return Text(f"  {cut(self.nothing, max(0, width - 2))}", style=self.palette.faint)
        index -= 1
        row, chosen = self.rows[index], index == self.chosen
        warning = self.warns(row)
        line = Text().append(self.signs.chosen if chosen else " ", self.palette.accent)
        line.append("!" if warning else " ", self.palette.alert)
        for place, (at, cells) in enumerate(fit_columns(self.columns, self.sorting, width - 2)):
            column = self.columns[at]
            line.append(" " * GAP if place else "")
            said = cut(column.say(row), cells, self.signs.ellipsis)
            if column.share:
                line.append(pad(said, cells), self.palette.highlight if chosen else self.palette.plain)
            else:
                style = self.palette.strong if at == self.sorting else Style()
                line.append(" " * (cells - cell_len(said))).append(said, style)
        return line

    def move_line(self, lines: int) -> None:
        """Mark a row further up or down."""
        self.choose(self.chosen + lines)

    def move_to_end(self, *, top: bool) -> None:
        """Mark the first or the last row."""
        self.choose(0 if top else len(self.rows) - 1)

    def choose(self, index: int) -> None:
        """Mark a row, keep it in view, and say so."""
        index = max(0, min(len(self.rows) - 1, index))
        if index == self.chosen or not self.rows:
            return
        before, self.chosen = self.chosen, index
        for changed in (before, index):
            self.refresh_line(changed + 1)
        self._keep_visible()
        self.post_message(self.Chosen(self))

    def _keep_visible(self) -> None:
        top, page = self.scroll_offset.y, self.view_height - 1
        if self.chosen < top:
            self.scroll_to(y=self.chosen, animate=False, force=True, immediate=True)
        elif self.chosen >= top + page:
            self.scroll_to(y=self.chosen - page + 1, animate=False, force=True, immediate=True)

    def on_click(self, event: events.Click) -> None:
        """Mark the row that was clicked."""
        offset = event.get_content_offset(self)
        if offset is not None and offset.y > 0 and self.scroll_offset.y + offset.y <= len(self.rows):
            self.choose(self.scroll_offset.y + offset.y - 1)
