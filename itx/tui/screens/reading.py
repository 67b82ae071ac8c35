"""A page to read over the compare screen: help, contexts. Escape goes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen

from itx.tui.widgets.panel import Panel

Writer = Callable[[int], list[Text]]
"""Writes a page's lines for a width."""


class Page(Panel):
    """Lines made by a function of the width."""

    def __init__(self, write: Writer, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._write = write

    def write_lines(self, width: int) -> list[Text]:
        """Return the page's lines."""
        return self._write(width)


class ReadingScreen(ModalScreen[None]):
    """One page with a title."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,?,c", "close", "Back", show=False),
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("space,pagedown", "page(1)", show=False),
        Binding("b,pageup", "page(-1)", show=False),
        Binding("g,home", "end(True)", show=False),
        Binding("G,end", "end(False)", show=False),
        Binding("ctrl+c", "close", show=False, priority=True),
    ]

    def __init__(self, title: str, write: Writer) -> None:
        super().__init__()
        self.page_title = title
        self._page = Page(write, id="page")

    def compose(self) -> ComposeResult:
        """Show the page."""
        yield self._page

    def on_mount(self) -> None:
        """Name the page."""
        self._page.border_title = Content(self.page_title)
        self._page.border_subtitle = Content("j k scroll, Escape back")
        self._page.focus()

    def action_close(self) -> None:
        """Go back."""
        self.dismiss()

    def action_move(self, lines: int) -> None:
        """Scroll by lines."""
        self._page.move_line(lines)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self._page.move_line(pages * max(1, self._page.view_height - 1))

    def action_end(self, top: bool) -> None:
        """Scroll to the first or last line."""
        self._page.move_to_end(top=top)
