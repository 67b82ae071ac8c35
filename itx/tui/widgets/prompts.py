"""The list of prompts: number, text, and how each one stands."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from itx.tui.answers import Status
from itx.tui.palette import Palette, Signs
from itx.tui.session import Item
from itx.tui.widgets.panel import LongPanel
from itx.tui.wording import cut, pad

_STATES: dict[Status, str] = {"waiting": " ", "running": "*", "done": " ", "failed": "!", "cancelled": "~"}


class PromptList(LongPanel):
    """All prompts; the chosen one is marked. Moving the mark chooses; Enter goes back to the answer."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "screen.back", show=False)]

    class Chosen(Message):
        """A prompt was chosen; ``index`` counts from 0."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, palette: Palette, signs: Signs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.signs = signs
        self.items: list[Item] = []
        self.chosen = 0
        self.order: list[int] = []
        self.values: list[str] = []

    def show(self, items: list[Item], chosen: int, order: list[int], values: list[str]) -> None:
        """Show ``items`` in ``order``, each with its value at its end, with one chosen, which stays in view."""
        self.items, self.chosen, self.order, self.values = items, chosen, order, values
        self.redraw()
        top, page = self.scroll_offset.y, self.view_height
        place = order.index(chosen) if chosen in order else 0
        if place < top or place >= top + page:
            self.scroll_to(y=max(0, place - page // 2), animate=False)

    def count_lines(self) -> int:
        """Return how many lines there are: one a prompt."""
        return max(1, len(self.order))

    def write_line(self, index: int, width: int) -> Text:
        """Return the line of a prompt."""
        if not self.items:
            return Text("No prompts yet.", style=self.palette.faint)
        index = self.order[index]
        item, value = self.items[index], self.values[index]
        chosen = index == self.chosen
        head = f"{self.signs.chosen if chosen else ' '}{index + 1:>{len(str(len(self.items)))}}{_STATES[item.status]}"
        line = Text().append(head, self.palette.alert if item.status == "failed" else self.palette.faint)
        tail = f" {value}" if value else ""
        room = max(1, width - len(head) - len(tail))
        line.append(
            pad(cut(item.prompt, room, self.signs.ellipsis), room),
            self.palette.highlight if chosen else self.palette.plain,
        )
        line.append(tail, self.palette.faint)
        if chosen:
            line.stylize(self.palette.accent, 0, 1)
        return line

    def move_line(self, lines: int) -> None:
        """Choose a prompt further up or down."""
        self._choose(self.order.index(self.chosen) + lines if self.chosen in self.order else 0)

    def move_to_end(self, *, top: bool) -> None:
        """Choose the first or the last prompt."""
        self._choose(0 if top else len(self.items) - 1)

    def _choose(self, place: int) -> None:
        place = max(0, min(len(self.order) - 1, place))
        if self.order and self.order[place] != self.chosen:
            self.post_message(self.Chosen(self.order[place]))

    def on_click(self, event: events.Click) -> None:
        """Choose the prompt that was clicked."""
        offset = event.get_content_offset(self)
        if offset is not None and self.scroll_offset.y + offset.y < len(self.order):
            self._choose(self.scroll_offset.y + offset.y)
