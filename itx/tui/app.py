"""The screen: ``run_app`` on a recorded run or on a live comparison."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from time import perf_counter
from typing import ClassVar

from rich.console import RenderableType
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from itx.compare.events import Emitted, Finished, Scored, Started
from itx.errors import EXIT_FAILED, EXIT_PARTIAL, ItxError
from itx.text import sanitise
from itx.tui.frames import Terminal, reduce_update
from itx.tui.live import LiveSession
from itx.tui.notes import Crashed, Live, Loaded, LoadFailed, Note, NotRecorded, PromptFailed
from itx.tui.palette import choose_palette, choose_signs, colour_depth, screen_theme
from itx.tui.screens.compare import CompareScreen
from itx.tui.session import RecordedSession, RecordingLike
from itx.tui.source_notes import SourceNotes
from itx.tui.style import CSS
from itx.tui.terminal import frames_are_waiting, terminal_for_screen
from itx.tui.tracer import TracerLoader

__all__ = ["CompareApp", "Live", "run_app"]

FRAME_SECONDS = 1 / 20
DRAIN_SECONDS = 0.02
"""The longest that one frame takes in notes, so that keys stay quick."""


class CompareApp(App[int]):
    """Drives the compare screen from a session."""

    CSS = CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", show=False, priority=True)]
    TITLE = "itx"

    def __init__(
        self, session: RecordedSession | LiveSession, keep_loaded: Callable[[], object] = lambda: None
    ) -> None:
        """``keep_loaded`` is called once models, and once tuning data are loaded: they stay until the end."""
        super().__init__(ansi_color=True)
        self.keep_loaded = keep_loaded
        self.session = session
        self.palette = choose_palette()
        self.signs = choose_signs()
        self.animation_level = "none"
        self.register_theme(screen_theme(self.palette))
        self.theme = "itx"
        self.set_class(colour_depth() == 0, "-no-colour")
        self.compare = CompareScreen(session, self.palette, self.signs)
        self._terminal = Terminal()
        self.signalled: int | None = None
        self.leaving = False
        self.failure: Exception | None = None
        """What nobody foresaw, raised again once the terminal is free."""

    def get_default_screen(self) -> CompareScreen:
        """Begin with the compare screen."""
        return self.compare

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        super()._display(screen, reduce_update(renderable, self._terminal, self.size.width))

    def redraw_all(self) -> None:
        """Draw every cell again, for a terminal that lost or mixed up what it showed."""
        self._terminal.forget()
        self.screen.refresh()

    def on_mount(self) -> None:
        """Start what goes on by itself."""
        self.app_resume_signal.subscribe(self, lambda _: self.redraw_all())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._receive, number)
        self.session.start()
        if isinstance(self.session, LiveSession):
            self.set_interval(FRAME_SECONDS, self._take_notes)
        elif not self.session.complete:
            self._scanning = self.set_interval(FRAME_SECONDS, self._scan)
        self._sources = SourceNotes(self, self.compare, self.session.provenance, self.keep_loaded)
        self.set_interval(FRAME_SECONDS, self._take_sources)

    def on_unmount(self) -> None:
        """Give the signals back."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)

    def _receive(self, number: int) -> None:
        self.signalled = number
        self.leave()

    def _handle_exception(self, error: Exception) -> None:
        self.failure = self.failure or error
        super()._handle_exception(error)

    def leave(self) -> None:
        """Leave; what runs is stopped and recorded after the screen is gone."""
        if not self.leaving:
            self.leaving = True
            self.exit(0)

    def action_leave(self) -> None:
        """Leave."""
        self.leave()

    # A recorded run

    def _scan(self) -> None:
        assert isinstance(self.session, RecordedSession)
        try:
            news = self.session.scan()
        except ItxError as error:
            self.session.complete = True
            self.compare.tell_error(error, "The run could not be read to its end")
            news = True
        if news:
            self.compare.show_list()
            self.compare.show_bars()
        if self.session.complete:
            self._scanning.stop()
            if self.session.provenance.has_data:
                self.session.survey()

    # Where words come from

    def _take_sources(self) -> None:
        if self._sources.has_news and not self.leaving and not frames_are_waiting(self):
            with self.batch_update():
                self._sources.take_all()

    # A live comparison

    def _take_notes(self) -> None:
        """Take in what the worker has told, and draw once; wait while the terminal has not taken the last frame."""
        if self.leaving or frames_are_waiting(self):
            return
        assert isinstance(self.session, LiveSession)
        deadline = perf_counter() + DRAIN_SECONDS
        news = whole = False
        with self.batch_update():
            while perf_counter() < deadline:
                note = self.session.take()
                if note is None:
                    break
                news = True
                if isinstance(note, Emitted | Scored):
                    continue
                whole = True
                if isinstance(note, Started) and self.session.running is not None:
                    self.compare.follow(self.session.running)
                elif not isinstance(note, Finished):
                    self._tell(note)
            if whole:
                self.compare.refresh_exchange()
            elif news:
                self.compare.update_live()

    def _tell(self, note: Note) -> None:
        match note:
            case NotRecorded(trace, error):
                self.compare.tell_error(error, f"Prompt {trace.prompt_id} is not on disk (e exports it)")
            case PromptFailed(_, error):
                self.compare.tell_error(error, "A prompt failed")
            case Crashed(error):
                self.compare.tell(f"{type(error).__name__}: {error}", "itx failed; q quits, all is saved", alarm=True)
            case LoadFailed():
                self.compare.on_prompt_box_left()  # what is typed on would go nowhere, and the box hides the cause
            case Loaded():
                self.keep_loaded()
                warnings = self.session.run.warnings if self.session.run is not None else []
                if warnings:
                    self.compare.tell("\n".join(warnings), "Warning" if len(warnings) == 1 else "Warnings")


def run_app(source: RecordingLike | Live, tracer: TracerLoader | None = None) -> int:
    """Show a recorded run or a live comparison until the person leaves; return the exit code.

    ``tracer`` opens the tuning data of a recorded run, where it is at hand: what was not traced is, and all rows can
    be searched. A live comparison brings its own.

    0 done, 1 failed (models did not load, or a trace could not be recorded), 3 some prompts failed, 128 + n after
    signal n. Errors are said on stderr again once the terminal is free. Raises what nobody foresaw.
    """
    session = LiveSession(source) if isinstance(source, Live) else RecordedSession(source, tracer)
    with terminal_for_screen():
        # Python's collector would go through all that is loaded again and again, for 50 ms each time: keys would wait.
        app = CompareApp(session, keep_loaded=gc.freeze)
        try:
            app.run()
        finally:
            saved = session.close()
    if app.failure is not None:
        raise app.failure
    if isinstance(session, LiveSession):
        code = _say_what_failed(session, saved=saved)
        if code:
            return code
    return 128 + app.signalled if app.signalled is not None else 0


def _say_what_failed(session: LiveSession, *, saved: bool) -> int:
    """Write what failed to stderr; return the exit code it means."""
    code = 0
    for index, item in enumerate(session.items):
        exchange = session.exchange(index)
        if exchange.status == "failed":
            code = EXIT_PARTIAL
            _say(f"prompt {item.prompt_id} failed: {exchange.error}")
    if session.failure is not None:
        code = session.failure.exit_code
        _say(str(session.failure))
    if not saved:
        code = EXIT_FAILED
        _say(f"{len(session.unsaved)} prompts could not be recorded in {session.source.folder}")
    if isinstance(session.crash, Exception):
        raise session.crash
    return code


def _say(text: str) -> None:
    sys.stderr.write(f"itx: {sanitise(text)}\n")
