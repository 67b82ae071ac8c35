"""What the library and the report have in common: lines to go along, help, leaving."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, cast

from textual.screen import Screen

from itx.text import sanitise
from itx.tui.actions import Action
from itx.tui.palette import Palette, Signs
from itx.tui.screens.pages import keys_page
from itx.tui.screens.reading import ReadingScreen
from itx.tui.terminal import frames_are_waiting
from itx.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from itx.tui.app import CompareApp

FRAME_SECONDS = 1 / 20
TWICE_SECONDS = 2.0


class PageScreen(Screen[None]):
    """A screen of panels, of which one is gone along at a time."""

    ACTIONS: ClassVar[Sequence[Action]] = ()
    WORDS: ClassVar[Sequence[tuple[str, str]]] = ()
    """Words that help explains."""

    def __init__(self, palette: Palette, signs: Signs) -> None:
        super().__init__()
        self.palette = palette
        self.signs = signs
        self._interrupted = -TWICE_SECONDS

    @property
    def scrolled(self) -> Panel:
        """The panel that keys go along."""
        raise NotImplementedError

    @property
    def itx(self) -> CompareApp:
        """The app."""
        return cast("CompareApp", self.app)

    def _on_timer_update(self) -> None:
        # A line that is slow gets the next frame when it has taken this one.
        if not frames_are_waiting(self.app):
            super()._on_timer_update()

    def tell(self, message: str, title: str = "", *, alarm: bool = False) -> None:
        """Say something, in place of what was said before."""
        self.app.clear_notifications()
        self.app.notify(
            sanitise(message),
            title=title,
            severity="error" if alarm else "information",
            timeout=20 if alarm else 6,
            markup=False,
        )

    def action_line(self, lines: int) -> None:
        """Go a line further up or down."""
        self.scrolled.move_line(lines)

    def action_page(self, pages: int) -> None:
        """Go a page further up or down."""
        self.scrolled.move_line(pages * max(1, self.scrolled.view_height - 2))

    def action_end(self, top: bool) -> None:
        """Go to the top or the bottom."""
        self.scrolled.move_to_end(top=top)

    def action_help(self) -> None:
        """Show help."""
        self.app.push_screen(ReadingScreen("help", keys_page(self.palette, self.ACTIONS, self.WORDS)))

    def action_redraw(self) -> None:
        """Draw every cell again."""
        self.itx.redraw_all()

    def action_quit(self) -> None:
        """Leave; what runs is stopped and kept."""
        self.itx.leave()

    def action_interrupt(self) -> None:
        """The second time within two seconds, leave."""
        now = monotonic()
        if now - self._interrupted < TWICE_SECONDS:
            self.itx.leave()
            return
        self._interrupted = now
        self.tell("ctrl+c once more quits; so does q.")
