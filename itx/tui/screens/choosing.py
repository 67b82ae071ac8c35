"""A list to choose from over the compare screen: the palette of commands, and the prompts where space is short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from itx.tui.palette import Palette, Signs
from itx.tui.widgets.panel import LongPanel
from itx.tui.wording import cut, pad


@dataclass(frozen=True)
class Choice:
    """One line to choose: what it returns, its text, and a hint at its end."""

    value: str
    text: str
    hint: str = ""


def matches(query: str, text: str) -> bool:
    """Return True where every word of ``query`` occurs in ``text``, whatever the case."""
    return all(word in text.casefold() for word in query.casefold().split())


class Choices(LongPanel, can_focus=False):
    """The lines that match what was typed."""

    def __init__(self, choices: list[Choice], palette: Palette, signs: Signs, chosen: int = 0) -> None:
        super().__init__(id="choices")
        self.choices = self.matching = choices
        self.palette = palette
        self.signs = signs
        self.chosen = chosen

    def filter(self, query: str) -> None:
        """Keep the choices that match."""
        self.matching = [choice for choice in self.choices if matches(query, f"{choice.text} {choice.hint}")]
        self.chosen = 0
        self.redraw()
        self.scroll_to(y=0, animate=False)

    def choose(self, step: int) -> None:
        """Move the mark."""
        before = self.chosen
        self.chosen = max(0, min(len(self.matching) - 1, self.chosen + step))
        for index in {before, self.chosen}:
            self.refresh_line(index)
        self.keep_visible()

    def keep_visible(self) -> None:
        """Scroll so that the mark is seen."""
        top, page = self.scroll_offset.y, self.view_height
        if self.chosen < top:
            self.scroll_to(y=self.chosen, animate=False)
        elif self.chosen >= top + page:
            self.scroll_to(y=self.chosen - page + 1, animate=False)

    def count_lines(self) -> int:
        """Return how many lines there are: one a choice."""
        return max(1, len(self.matching))

    def write_line(self, index: int, width: int) -> Text:
        """Return the line of a choice."""
        if not self.matching:
            return Text(" Nothing by that name.", style=self.palette.faint)
        choice, chosen = self.matching[index], index == self.chosen
        hint = cut(choice.hint, max(0, width // 3))
        room = max(1, width - len(hint) - 4)
        line = Text().append(f"{self.signs.chosen if chosen else ' '} ", self.palette.accent)
        line.append(pad(cut(choice.text, room, self.signs.ellipsis), room), self.palette.highlight if chosen else "")
        return line.append(f" {hint}", self.palette.faint)


class ChoosingScreen(ModalScreen[str | None]):
    """Returns the value chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", show=False),
        Binding("ctrl+c", "cancel", show=False, priority=True),
        Binding("down,ctrl+n", "choose(1)", show=False, priority=True),
        Binding("up,ctrl+p", "choose(-1)", show=False, priority=True),
        Binding("pagedown", "choose(10)", show=False, priority=True),
        Binding("pageup", "choose(-10)", show=False, priority=True),
        Binding("enter", "accept", show=False, priority=True),
    ]

    def __init__(
        self, title: str, choices: list[Choice], palette: Palette, signs: Signs, *, typing: bool, chosen: int = 0
    ) -> None:
        super().__init__()
        self.page_title = title
        self.typing = typing
        self._choices = Choices(choices, palette, signs, chosen)

    def compose(self) -> ComposeResult:
        """Show what is typed, and the choices."""
        with Vertical(id="chooser"):
            if self.typing:
                yield Input(placeholder="type to find", id="query")
            yield self._choices

    def on_mount(self) -> None:
        """Name the list."""
        chooser = self.query_one("#chooser")
        chooser.border_title = self.page_title
        chooser.border_subtitle = "Enter chooses, Escape back"
        self.on_resize()

    def on_resize(self) -> None:
        """Be as high as the choices, or as the terminal lets."""
        height = min(len(self._choices.choices) + 2 + self.typing, max(4, self.size.height - 4))
        self.query_one("#chooser").styles.height = height
        self.call_after_refresh(self._choices.keep_visible)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep what matches."""
        self._choices.filter(event.value)

    def on_key(self, event: events.Key) -> None:
        """Without a box to type in, j and k move as everywhere."""
        steps = {"j": 1, "k": -1, "J": 1, "K": -1, "g": -(10**9), "G": 10**9}
        if not self.typing:
            if event.key in steps:
                self._choices.choose(steps[event.key])
            elif event.key in ("o", "q"):
                self.dismiss(None)

    def action_choose(self, step: int) -> None:
        """Move the mark."""
        self._choices.choose(step)

    def action_accept(self) -> None:
        """Return what is marked."""
        matching = self._choices.matching
        self.dismiss(matching[self._choices.chosen].value if matching else None)

    def action_cancel(self) -> None:
        """Return nothing."""
        self.dismiss(None)
