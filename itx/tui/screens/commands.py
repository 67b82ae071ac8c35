"""What the compare screen does besides moving: asking, stopping, taking away, opening other pages, leaving."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, cast

from itx.errors import ItxError
from itx.text import sanitise
from itx.tui.actions import ACTIONS, When, offered, show_keys
from itx.tui.exporting import export_file, export_to_state, write_finding
from itx.tui.live import LiveSession
from itx.tui.palette import Palette, Signs
from itx.tui.screens.choosing import Choice, ChoosingScreen
from itx.tui.screens.navigation import Navigation
from itx.tui.screens.pages import contexts_page, help_page
from itx.tui.screens.reading import ReadingScreen
from itx.tui.session import Item
from itx.tui.widgets.prompt_box import PromptBox
from itx.tui.widgets.prompts import PromptList

if TYPE_CHECKING:
    from itx.tui.app import CompareApp

TWICE_SECONDS = 2.0


class Commands(Navigation):
    """The part of the compare screen that does things."""

    palette: Palette
    signs: Signs
    _interrupted = -TWICE_SECONDS

    @property
    def conditions(self) -> frozenset[When]:
        """What holds now: which actions are offered."""
        raise NotImplementedError

    def reshape(self) -> None:
        """Divide the screen anew where what it shows asks for that."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only the actions whose condition holds."""
        known = next((entry for entry in ACTIONS if entry.name == action), None)
        return True if known is None else known.when in self.conditions

    def values(self) -> list[str]:
        """Return what each prompt is sorted by, in words, as they were asked."""
        raise NotImplementedError

    def tell(self, message: str, title: str = "", *, alarm: bool = False, brief: bool = False) -> None:
        """Say something that the person should read, in place of what was said before: notices cover the text."""
        self.app.clear_notifications()
        self.app.notify(
            sanitise(message),
            title=title,
            severity="error" if alarm else "information",
            timeout=20 if alarm else 2 if brief else 6,
            markup=False,
        )

    def tell_error(self, error: ItxError, title: str) -> None:
        """Say what went wrong and what to do."""
        self.tell(str(error), title, alarm=True)

    @property
    def _live(self) -> LiveSession | None:
        return self.session if isinstance(self.session, LiveSession) else None

    # Asking

    def action_write_prompt(self) -> None:
        """Open the box to write a prompt in."""
        box = self.query_one(PromptBox)
        box.display = True
        self.reshape()
        self.show_bars()
        box.focus()

    def on_prompt_box_left(self) -> None:
        """Go back to the keys; what was written stays for the next time."""
        box = self.query_one(PromptBox)
        if not box.display:
            return
        box.display = False
        if self.focused in (None, box):
            self.author_pane.focus()
        self.reshape()
        self.show_bars()

    def on_prompt_box_sent(self, event: PromptBox.Sent) -> None:
        """Queue the prompt, and show it unless another one runs that the person follows."""
        live = self._live
        self.on_prompt_box_left()
        if live is None:
            return
        if live.failure is not None or live.crash is not None:
            self.query_one(PromptBox).text = event.text
            self.tell("Nothing more can be asked here.", "Not sent", alarm=True)
            return
        index = live.ask(event.text)
        if live.running is None and live.waiting == 1:
            self.show_prompt(index)
        else:
            self.tell("Queued: it runs when those before it are done.")
            self.show_list()
            self.show_bars()

    def action_run_again(self) -> None:
        """Queue the prompt shown once more."""
        live = self._live
        if live is None or not live.items:
            return
        self.show_prompt(live.ask_again(self.index))

    def action_stop(self) -> None:
        """Stop what runs."""
        live = self._live
        if live is not None and live.stop():
            self.show_bars()

    # Taking away

    def action_export(self) -> None:
        """Write the prompt shown as Markdown, and say where."""
        view, run = self.view(), self.session.run
        if run is None or view.exchange is None or view.exchange.trace is None:
            self.tell("Nothing to export yet: the prompt is not finished.")
            return
        try:
            text = write_finding(run, view.exchange.trace, self.session.provenance)
            self.tell(str(export_file(run, view.exchange.trace, text)), "Exported")
        except ItxError as error:
            self.tell_error(error, "Not exported")

    def action_copy(self) -> None:
        """Copy the prompt shown as Markdown, through the terminal and to a file, and say where."""
        view, run = self.view(), self.session.run
        if run is None or view.exchange is None or view.exchange.trace is None:
            self.tell("Nothing to copy yet: the prompt is not finished.")
            return
        text = write_finding(run, view.exchange.trace, self.session.provenance)
        self.app.copy_to_clipboard(text)
        try:
            path = export_to_state(run, view.exchange.trace, text)
        except ItxError as error:
            self.tell_error(error, "Copied through the terminal only")
            return
        self.tell(f"To the clipboard, if the terminal allows it, and to\n{path}", "Copied")

    # Other pages

    def action_contexts(self) -> None:
        """Show the whole prompt and the exact tokens before the answer."""
        page = contexts_page(self.session.run, self.view().exchange, self.palette)
        self.app.push_screen(ReadingScreen("prompt and contexts", page))

    def action_report(self) -> None:
        """Open the report of the whole run."""
        cast("CompareApp", self.app).show_report()

    def action_library(self) -> None:
        """Go to the library."""
        cast("CompareApp", self.app).show_library()

    def action_back(self) -> None:
        """Go back to the answer, and from there to where the person came from; notices go away."""
        at_rest = self.focused is self.author_pane and not self.query("Toast")
        if not (at_rest and cast("CompareApp", self.app).go_back()):
            super().action_back()

    def action_help(self) -> None:
        """Show help."""
        self.app.push_screen(ReadingScreen("help", help_page(self.palette, self.signs, self.conditions)))

    def action_prompts(self) -> None:
        """Go to the list of prompts; where it is not shown, open it over the text."""
        shown = self.query_one(PromptList)
        if shown.display:
            shown.focus()
            return
        items, order, values = self.session.items, self.order(), self.values()
        choices = [
            Choice(str(index), f"{index + 1:>3} {items[index].prompt}", self._hint(items[index], values[index]))
            for index in order
        ]
        chosen = order.index(self.index) if self.index in order else 0
        screen = ChoosingScreen("prompts", choices, self.palette, self.signs, typing=False, chosen=chosen)
        self.app.push_screen(screen, self._take_prompt)

    @staticmethod
    def _hint(item: Item, value: str) -> str:
        return value if item.status == "done" else item.status

    def _take_prompt(self, value: str | None) -> None:
        if value is not None:
            self.show_prompt(int(value))

    def on_prompt_list_chosen(self, event: PromptList.Chosen) -> None:
        """Show the prompt chosen in the list."""
        self.show_prompt(event.index)

    def action_palette(self) -> None:
        """Open the palette of commands."""
        choices = [
            Choice(action.name, action.label, show_keys(action))
            for action in offered(self.conditions)
            if action.name != "palette"
        ]
        screen = ChoosingScreen("commands", choices, self.palette, self.signs, typing=True)
        self.app.push_screen(screen, self._take_command)

    async def _take_command(self, value: str | None) -> None:
        if value is not None:
            await self.run_action(value)

    def action_redraw(self) -> None:
        """Draw every cell again."""
        cast("CompareApp", self.app).redraw_all()

    # Leaving

    def action_quit(self) -> None:
        """Leave; what runs is stopped and kept."""
        cast("CompareApp", self.app).leave()

    def action_interrupt(self) -> None:
        """Stop what runs; the second time within two seconds, leave."""
        now = monotonic()
        if now - self._interrupted < TWICE_SECONDS:
            cast("CompareApp", self.app).leave()
            return
        self._interrupted = now
        live = self._live
        stopped = live is not None and live.stop()
        self.tell("Stopping. Once more quits." if stopped else "ctrl+c once more quits; so does q.")
