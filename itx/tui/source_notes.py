"""Takes in what tracing and reading in the background tell, and has the screen show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from itx.compare.events import Loading
from itx.tui.provenance import Provenance
from itx.tui.screens.compare import CompareScreen
from itx.tui.screens.rows import RowsScreen
from itx.tui.tracer import Found, IndexFailed, IndexReady, Sketched, Traced, TraceFailed, TracingCrashed

if TYPE_CHECKING:
    from textual.app import App


class SourceNotes:
    """Called at the pace of frames; draws at most once a call."""

    def __init__(
        self, app: App[int], compare: CompareScreen, provenance: Provenance, keep_loaded: Callable[[], object]
    ) -> None:
        self._keep_loaded = keep_loaded
        self._app = app
        self._compare = compare
        self._provenance = provenance
        self._reading = False

    @property
    def has_news(self) -> bool:
        """Whether there is anything to take in: without tuning data this is asked for nothing, so it costs nothing."""
        provenance = self._provenance
        told = provenance.tracing is not None and provenance.tracing.notes
        return bool(told or provenance.problems) or self._reading != provenance.is_reading

    def take_all(self) -> None:
        """Take in all there is."""
        shown = state = False
        while (note := self._provenance.take()) is not None:
            match note:
                case Traced(borrowing) | Sketched(borrowing):
                    exchange = self._compare.exchange
                    shown |= exchange is not None and borrowing.prompt_id == exchange.prompt_id
                    state |= isinstance(note, Traced)
                case TraceFailed(prompt_id):
                    # What was traced as it was written goes, and the rows panel says why there is nothing.
                    exchange = self._compare.exchange
                    shown |= exchange is not None and prompt_id == exchange.prompt_id
                    state = True
                case Found():
                    if isinstance(self._app.screen, RowsScreen):
                        self._app.screen.take(note)
                case Loading():
                    state = True
                case IndexReady():
                    state = True
                    self._keep_loaded()
                case IndexFailed(error):
                    state = True
                    self._compare.tell_error(error, "Nothing can be traced")
                case TracingCrashed():
                    state = True
                    self._compare.tell(self._say_failure(), "Tracing failed; answers go on", alarm=True)
        while self._provenance.problems:
            title, error = self._provenance.problems.popleft()
            self._compare.tell_error(error, title)
        self._draw(shown=shown, state=state)

    def _draw(self, *, shown: bool, state: bool) -> None:
        reading = self._provenance.is_reading
        if self._reading and not reading:
            state = True
            self._compare.show_list()
        self._reading = reading
        if shown:
            self._compare.update_spans()
        if state:
            self._compare.show_panels()
            if self._compare.sorting != "asked":
                self._compare.show_list()
        if state and isinstance(self._app.screen, RowsScreen):
            self._app.screen.refresh_state()

    def _say_failure(self) -> str:
        tracing = self._provenance.tracing
        return str(tracing.failure) if tracing is not None and tracing.failure is not None else ""
