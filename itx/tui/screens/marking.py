"""A person's judgement: one of a few verdicts, and a note if they like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input

from itx.records import Verdict
from itx.text import sanitise
from itx.tui.palette import Palette, Signs
from itx.tui.screens.choosing import Choice, Choices


@dataclass(frozen=True)
class Judgement:
    """What the person said."""

    verdict: Verdict
    note: str


class MarkingScreen(ModalScreen[Judgement | None]):
    """Up and down choose the verdict, what is typed is the note, Enter marks, Escape leaves all as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", show=False),
        Binding("ctrl+c", "cancel", show=False, priority=True),
        Binding("down,ctrl+n,tab", "choose(1)", show=False, priority=True),
        Binding("up,ctrl+p,shift+tab", "choose(-1)", show=False, priority=True),
        Binding("enter", "accept", show=False, priority=True),
    ]

    def __init__(self, title: str, verdicts: Sequence[tuple[Verdict, str]], palette: Palette, signs: Signs) -> None:
        super().__init__()
        self.page_title = title
        self.verdicts = verdicts
        self._choices = Choices([Choice(verdict, text) for verdict, text in verdicts], palette, signs)

    def compose(self) -> ComposeResult:
        """Show the verdicts, and the note."""
        with Vertical(id="chooser"):
            yield self._choices
            yield Input(placeholder="a note, if you like", id="query")

    def on_mount(self) -> None:
        """Name the list, and be as high as it is."""
        chooser = self.query_one("#chooser")
        chooser.border_title = Content(sanitise(self.page_title, keep_newlines=False))
        chooser.border_subtitle = "up, down choose, Enter marks, Escape back"
        chooser.styles.height = len(self.verdicts) + 3
        self.query_one(Input).focus()

    def action_choose(self, step: int) -> None:
        """Move to another verdict."""
        self._choices.choose(step)

    def action_accept(self) -> None:
        """Return the verdict with the note."""
        verdict = self.verdicts[self._choices.chosen][0]
        self.dismiss(Judgement(verdict, sanitise(self.query_one(Input).value.strip(), keep_newlines=False)))

    def action_cancel(self) -> None:
        """Return nothing."""
        self.dismiss(None)
