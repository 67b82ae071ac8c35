"""The screen: ``run_app`` on a recorded run or on a live comparison, ``run_library`` on many recorded runs."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from itx.config import runs_folder
from itx.errors import EXIT_FAILED, EXIT_PARTIAL
from itx.text import sanitise
from itx.tui.desk import DRAIN_SECONDS, FRAME_SECONDS, Desk
from itx.tui.frames import Terminal, reduce_update
from itx.tui.librarian import Root
from itx.tui.live import LiveSession
from itx.tui.notes import Live
from itx.tui.palette import choose_palette, choose_signs, colour_depth, screen_theme
from itx.tui.reporter import FindRows
from itx.tui.screens.compare import CompareScreen
from itx.tui.screens.library import LibraryScreen
from itx.tui.screens.report import ReportScreen
from itx.tui.session import RecordedSession, RecordingLike
from itx.tui.style import CSS
from itx.tui.terminal import terminal_for_screen
from itx.tui.tracer import TracerLoader

__all__ = ["DRAIN_SECONDS", "FRAME_SECONDS", "CompareApp", "Live", "run_app", "run_library"]


class CompareApp(App[int]):
    """Drives the compare screen from a session; without one it begins with the library.

    At most the screens of one session, the library, and those of a run opened there lie upon each other.
    """

    CSS = CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", show=False, priority=True)]
    TITLE = "itx"

    def __init__(
        self,
        session: RecordedSession | LiveSession | None,
        keep_loaded: Callable[[], object] = lambda: None,
        folders: Sequence[Root] = (),
        find_rows: FindRows | None = None,
    ) -> None:
        """``keep_loaded`` is called once models, and once tuning data are loaded: they stay until the end.

        ``folders`` are those in which the library looks for runs. ``find_rows`` returns the responses of the rows of a
        run's tuning data, with which the report compares.
        """
        super().__init__(ansi_color=True)
        self.keep_loaded = keep_loaded
        self.palette = choose_palette()
        self.signs = choose_signs()
        self.animation_level = "none"
        self.register_theme(screen_theme(self.palette))
        self.theme = "itx"
        self.set_class(colour_depth() == 0, "-no-colour")
        self.folders = list(folders)
        self.find_rows = find_rows
        self.desks = [self._make_desk(session)] if session is not None else []
        """The session that the screen began with, and a run that was opened from the library."""
        self._terminal = Terminal()
        self.signalled: int | None = None
        self.leaving = False
        self.failure: Exception | None = None
        """What nobody foresaw, raised again once the terminal is free."""

    def _make_desk(self, session: RecordedSession | LiveSession) -> Desk:
        return Desk(self, session, self.palette, self.signs, self.keep_loaded)

    @property
    def desk(self) -> Desk:
        """The session that is looked at."""
        return self.desks[-1]

    @property
    def session(self) -> RecordedSession | LiveSession:
        """The session that is looked at."""
        return self.desk.session

    @property
    def compare(self) -> CompareScreen:
        """The compare screen of the session that is looked at."""
        return self.desk.compare

    def get_default_screen(self) -> Screen[None]:
        """Begin with the compare screen, or with the library."""
        return self.compare if self.desks else LibraryScreen(self.folders, self.palette, self.signs)

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
        for desk in self.desks:
            desk.start()

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

    # Screens

    def find_folder(self) -> Path | None:
        """Return the folder of the session that is looked at; None in the library that nothing is open below."""
        if not self.desks:
            return None
        session = self.session
        return session.source.folder if isinstance(session, LiveSession) else session.recording.folder

    def show_library(self) -> None:
        """Go back to the library, or open it over the compare screen."""
        here = next((screen for screen in self.screen_stack if isinstance(screen, LibraryScreen)), None)
        if here is None:
            roots, folder = [*self.folders, Root(runs_folder())], self.find_folder()
            if folder is not None:
                roots.append(Root(folder.resolve().parent, deepest=1))
            self.push_screen(LibraryScreen(roots, self.palette, self.signs, folder, self.compare.prompt_id))
            return
        while self.screen is not here:
            self._pop()

    def leave_library(self) -> None:
        """Go back to the session that the library was opened from, where there is one."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def open_run(self, recording: RecordingLike, prompt_id: str | None) -> None:
        """Show a run from the library, at a prompt; the run that the library was opened from is gone back to."""
        folder = self.find_folder()
        if folder is not None and folder.resolve() == recording.folder.resolve():
            while self.screen is not self.compare:
                self.pop_screen()
        else:
            desk = self._make_desk(RecordedSession(recording))
            self.desks.append(desk)
            desk.start()
            self.push_screen(desk.compare)
        if prompt_id is not None:
            self.compare.go_to(prompt_id)

    def show_report(self, *, to_library: bool = False) -> None:
        """Open the report of the run that is looked at, where it was left; it goes back there or ``to_library``."""
        desk, folder = self.desk, self.find_folder()
        if desk.report is None and folder is not None:
            desk.report = ReportScreen(folder, self.palette, self.signs, self.find_rows)
            self.install_screen(desk.report, f"report-{id(desk)}")
        if desk.report is not None:
            desk.from_report = False
            desk.report.to_library = to_library
            self.push_screen(desk.report)

    def show_position(self, author: str, scorer: str, prompt_id: str, position: int) -> None:
        """Go from the report to a position of a response; Escape goes back to the report."""
        self.pop_screen()
        self.desk.from_report = True
        self.compare.go_to(prompt_id)
        self.compare.go_to_position(author, scorer, position)

    def go_back(self) -> bool:
        """Go back from the compare screen to where the person came from; return whether they came from anywhere."""
        if self.desk.from_report and self.desk.report is not None:
            self.show_report(to_library=self.desk.report.to_library)
            return True
        if any(isinstance(screen, LibraryScreen) for screen in self.screen_stack):
            self.show_library()
            return True
        return False

    def _pop(self) -> None:
        screen = self.screen
        self.pop_screen()
        if self.desks and screen is self.desk.compare:
            self._close_desk()

    def _close_desk(self) -> None:
        desk = self.desks.pop()
        desk.stop()
        if desk.report is not None:
            self.uninstall_screen(desk.report)
            desk.report.remove()
        desk.close()


def run_app(source: RecordingLike | Live, tracer: TracerLoader | None = None, find_rows: FindRows | None = None) -> int:
    """Show a recorded run or a live comparison until the person leaves; return the exit code.

    ``tracer`` opens the tuning data of a recorded run, where it is at hand: what was not traced is, and all rows can
    be searched. A live comparison brings its own. ``find_rows`` is as ``CompareApp`` has it.

    0 done, 1 failed (models did not load, or a trace could not be recorded), 3 some prompts failed, 128 + n after
    signal n. Errors are said on stderr again once the terminal is free. Raises what nobody foresaw.
    """
    session = LiveSession(source) if isinstance(source, Live) else RecordedSession(source, tracer)
    return _show(session, (), find_rows)


def run_library(folders: Sequence[Path] = (), find_rows: FindRows | None = None) -> int:
    """Show the runs in the state folder, and those at and below ``folders``; return the exit code as ``run_app``."""
    return _show(None, [*(Root(folder) for folder in folders), Root(runs_folder())], find_rows)


def _show(session: RecordedSession | LiveSession | None, folders: Sequence[Root], find_rows: FindRows | None) -> int:
    with terminal_for_screen():
        # Python's collector would go through all that is loaded again and again, for 50 ms each time: keys would wait.
        app = CompareApp(session, keep_loaded=gc.freeze, folders=folders, find_rows=find_rows)
        try:
            app.run()
        finally:
            for desk in app.desks:
                if desk.session is not session:
                    desk.close()
            saved = session.close() if session is not None else True
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
