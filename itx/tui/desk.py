"""One session with its compare screen: takes in what the session tells, at the pace of frames, and has it drawn."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from textual.timer import Timer

from itx.compare.events import Emitted, Finished, Scored, Started
from itx.errors import ItxError
from itx.tui.live import LiveSession
from itx.tui.notes import Crashed, Loaded, LoadFailed, Note, NotRecorded, PromptFailed
from itx.tui.palette import Palette, Signs
from itx.tui.screens.compare import CompareScreen
from itx.tui.session import RecordedSession
from itx.tui.source_notes import SourceNotes
from itx.tui.terminal import frames_are_waiting

if TYPE_CHECKING:
    from textual.app import App

    from itx.tui.screens.report import ReportScreen

FRAME_SECONDS = 1 / 20
DRAIN_SECONDS = 0.02
"""The longest that one frame takes in notes, so that keys stay quick."""


class Desk:
    """A session, its compare screen, and its report once that was looked at."""

    def __init__(
        self,
        app: App[int],
        session: RecordedSession | LiveSession,
        palette: Palette,
        signs: Signs,
        keep_loaded: Callable[[], object],
    ) -> None:
        self.session = session
        self.compare = CompareScreen(session, palette, signs)
        self.report: ReportScreen | None = None
        self.from_report = False
        """Whether the position shown was gone to from the report."""
        self._app = app
        self._keep_loaded = keep_loaded
        self._timers: list[Timer] = []
        self._scanning: Timer | None = None
        self._sources = SourceNotes(app, self.compare, session.provenance, keep_loaded)

    def start(self) -> None:
        """Start what goes on by itself."""
        self.session.start()
        if isinstance(self.session, LiveSession):
            self._timers.append(self._app.set_interval(FRAME_SECONDS, self._take_notes))
        elif not self.session.complete:
            self._scanning = self._app.set_interval(FRAME_SECONDS, self._scan)
            self._timers.append(self._scanning)
        self._timers.append(self._app.set_interval(FRAME_SECONDS, self._take_sources))

    def stop(self) -> None:
        """Take nothing more in."""
        for timer in self._timers:
            timer.stop()

    def close(self) -> bool:
        """End the session; return whether all is on disk."""
        return self.session.close()

    @property
    def _holds_still(self) -> bool:
        """Whether nothing is drawn now: the app leaves, has closed its screens (timers tick on), or frames wait."""
        leaves = bool(getattr(self._app, "leaving", False)) or not self._app.is_running
        return leaves or frames_are_waiting(self._app)

    # A recorded run

    def _scan(self) -> None:
        if not self._app.is_running:
            return
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
            assert self._scanning is not None
            self._scanning.stop()
            if self.session.provenance.has_data:
                self.session.survey()

    # Where words come from

    def _take_sources(self) -> None:
        if self._sources.has_news and not self._holds_still:
            with self._app.batch_update():
                self._sources.take_all()

    # A live comparison

    def _take_notes(self) -> None:
        """Take in what the worker has told, and draw once; wait while the terminal has not taken the last frame."""
        if self._holds_still:
            return
        assert isinstance(self.session, LiveSession)
        deadline = perf_counter() + DRAIN_SECONDS
        news = whole = False
        with self._app.batch_update():
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
                self._keep_loaded()
                warnings = self.session.run.warnings if self.session.run is not None else []
                if warnings:
                    self.compare.tell("\n".join(warnings), "Warning" if len(warnings) == 1 else "Warnings")
