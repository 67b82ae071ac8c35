"""The lines above and below the panes. What does not fit is dropped from the right; help and quit never are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

from itx.tui.actions import Action
from itx.tui.palette import Palette
from itx.tui.widgets.panel import strip_of
from itx.tui.widgets.prompt_box import KEYS
from itx.tui.wording import cut, flow

NEVER_DROPPED = ("help", "quit")
_BOTH = {
    "next_shifted": "n/N",
    "next_borrowed": "b/B",
    "next_pair": "[ ]",
    "sort(1)": "h l",
    "model(1)": "[ ]",
    "pair(1)": "[ ]",
    "example(1)": "n/N",
    "section(1)": "tab",
}
"""Keys of actions that go both ways, as the footer shows them."""


class Part(NamedTuple):
    """A text of the header with its style; ``shorter`` where it must be shown, be it in other words or cut."""

    text: str
    style: Style
    shorter: str = ""


def fit(parts: list[Part], width: int, gap: str = " ") -> Text:
    """Return as many parts, from the left, as ``width`` cells hold; the first, and one that must be shown, is cut."""
    line = Text()
    for index, part in enumerate(parts):
        before = gap if index else ""
        room = width - line.cell_len - len(before)
        if cell_len(part.text) > room:
            if index == 0 or (part.shorter and room > 1):
                line.append(before).append(cut(part.shorter or part.text, room), part.style)
            break
        line.append(before)
        line.append(part.text, part.style)
    return line


class Line(Widget):
    """One line of text that is drawn again only where it has changed."""

    DEFAULT_CSS = "Line { height: 1; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: Strip | None = None

    def write(self, width: int) -> Text:
        """Return the line for ``width`` cells."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again where the line has changed."""
        strip = self._strip()
        if strip != self._shown:
            self._shown = strip
            self.refresh()

    def _strip(self) -> Strip:
        return strip_of(self.write(self.size.width), self.app.console)

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        self._shown = self._strip()
        return self._shown.crop_extend(0, self.size.width, None)


class Header(Line):
    """What is compared, how, and where in the prompts one is."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.parts: list[Part] = []
        self.right: list[Part] = []

    def show(self, parts: list[Part], right: list[Part]) -> None:
        """Show ``parts`` from the left and ``right`` at the other end; of ``right`` the last goes last."""
        self.parts, self.right = parts, right
        self.redraw()

    def write(self, width: int) -> Text:
        """Return the line."""
        right = Text()
        for part in reversed(self.right):
            if right.cell_len + cell_len(part.text) + 2 > width // 2:
                break
            right = Text.assemble((part.text, part.style), "  " if right else "", right)
        line = Text(" ")
        line.append_text(fit(self.parts, max(0, width - right.cell_len - 3)))
        line.append(" " * max(1, width - line.cell_len - right.cell_len - 1))
        line.append_text(right)
        return line


class Question(Line):
    """The prompt, on one line."""

    def __init__(self, palette: Palette, ellipsis: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.ellipsis = ellipsis
        self.label = ""
        self.text = ""

    def show(self, label: str, text: str) -> None:
        """Show a text behind its label."""
        self.label, self.text = label, text
        self.redraw()

    def write(self, width: int) -> Text:
        """Return the line."""
        line = Text().append(f" {self.label} " if self.label else "", self.palette.faint)
        line.append(cut(self.text, max(0, width - line.cell_len - 1), self.ellipsis), self.palette.strong)
        return line


class Footer(Line):
    """The keys that matter now."""

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.actions: list[Action] = []
        self.writing = False

    def show(self, actions: list[Action], *, writing: bool) -> None:
        """Show the keys of ``actions`` that have a short name; while a prompt is written, those of its box alone."""
        self.writing = writing
        self.actions = sorted((action for action in actions if action.short), key=lambda action: action.rank)
        self.redraw()

    def _entry(self, action: Action) -> Text:
        key = _BOTH.get(action.name, {"enter": "Enter", "escape": "Escape"}.get(action.keys[0], action.keys[0]))
        return self._pair(key, action.short)

    def _pair(self, key: str, word: str) -> Text:
        return Text.assemble((key, self.palette.accent + Style(bold=True)), f" {word}")

    def write(self, width: int) -> Text:
        """Return the line."""
        if self.writing:
            return Text(" ").append_text(flow([self._pair(key, word) for key, word in KEYS], max(1, width - 1))[0])
        fixed = [self._entry(action) for action in self.actions if action.name in NEVER_DROPPED]
        tail = Text("  ").join(fixed)
        if tail.cell_len + 1 > width:
            tail = Text(" ").join(Text(action.keys[0]) for action in self.actions if action.name in NEVER_DROPPED)
        line = Text(" ")
        for action in self.actions:
            if action.name in NEVER_DROPPED:
                continue
            entry = self._entry(action)
            if line.cell_len + entry.cell_len + 2 + tail.cell_len + 1 > width:
                break
            line.append_text(entry)
            line.append("  ")
        line.append_text(tail)
        return line


class Keys(Line):
    """The keys of a page; what does not fit is dropped from the right."""

    def __init__(self, palette: Palette, keys: Sequence[tuple[str, str]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.keys = keys

    def write(self, width: int) -> Text:
        """Return the line."""
        pairs = [Text.assemble((key, self.palette.accent + Style(bold=True)), f" {word}") for key, word in self.keys]
        return Text(" ").append_text(flow(pairs, max(1, width - 1))[0])
