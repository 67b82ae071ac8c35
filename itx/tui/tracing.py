"""Tracing on a thread of its own: the index loads there, finished responses are traced, rows are searched.

The screen and the thread share two deques: work goes one way, notes the other. Nothing here waits for the screen, and
the screen never waits for this.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from itx.compare.events import Loading
from itx.errors import ItxError
from itx.records import Borrowing, Neighbour, Response, Trace

How = Literal["words", "meaning", "verbatim"]
LIMIT = 50
"""Rows that one search finds at most."""


class Tracer(Protocol):
    """Where the words of a response occur in the tuning data. Slow: called on the tracing thread only."""

    def borrow(self, trace: Trace, response: Response) -> Borrowing:
        """Trace one response of a finished trace. Raises ItxError."""
        ...

    def search(self, text: str, how: How, limit: int) -> list[Neighbour]:
        """Return the rows that ``text`` finds, best first. Raises ItxError."""
        ...


TracerLoader = Callable[[Callable[[Loading], None]], Tracer]
"""Opens the index of the tuning data and tells how far it is. Raises ItxError."""
Writer = Callable[[Borrowing, Response], None]
"""Records a borrowing beside the run. Raises ItxError."""


@dataclass(frozen=True)
class IndexReady:
    """Rows can be searched now."""


@dataclass(frozen=True)
class IndexFailed:
    """The tuning data cannot be traced."""

    error: ItxError


@dataclass(frozen=True)
class Traced:
    """A response was traced."""

    borrowing: Borrowing


@dataclass(frozen=True)
class TraceFailed:
    """A response could not be traced, or its borrowing not recorded."""

    prompt_id: str
    error: ItxError


@dataclass(frozen=True)
class Query:
    """One search."""

    text: str
    how: How


@dataclass(frozen=True)
class Found:
    """What a search found, or why it found nothing."""

    query: Query
    rows: list[Neighbour]
    error: ItxError | None = None


@dataclass(frozen=True)
class TracingCrashed:
    """The thread ended in an error that nobody foresaw."""

    error: BaseException


TracingNote: TypeAlias = Loading | IndexReady | IndexFailed | Traced | TraceFailed | Found | TracingCrashed
_Work = Query | tuple[Trace, Response]


class Tracing:
    """The thread, its work and its notes. Searches go before traces; the last search counts."""

    def __init__(self, loader: TracerLoader, write: Writer | None = None) -> None:
        self.loader = loader
        self.write = write
        self.notes: deque[TracingNote] = deque()
        self.loading: Loading | None = Loading(what="tuning data")
        self.failure: ItxError | None = None
        self._work: deque[_Work] = deque()
        self._busy = False
        self._ready = False
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="itx-trace", daemon=True)

    @property
    def able(self) -> bool:
        """Whether responses are traced and rows searched, now or once the index is loaded."""
        return self.failure is None

    def start(self) -> None:
        """Begin to load the index."""
        self._thread.start()

    def trace(self, trace: Trace) -> None:
        """Queue every response of a trace that did not fail. Any thread may call this; it does not wait."""
        if trace.error is not None:
            return
        with self._wake:
            self._work.extend((trace, response) for response in trace.responses if response.ids)
            self._wake.notify_all()

    def search(self, query: Query) -> None:
        """Queue a search in place of those that wait."""
        with self._wake:
            for waiting in [work for work in self._work if isinstance(work, Query)]:
                self._work.remove(waiting)
            self._work.appendleft(query)
            self._wake.notify_all()

    def take(self) -> TracingNote | None:
        """Take the next note in, and return it; None where there is none. On the screen's thread."""
        try:
            note = self.notes.popleft()
        except IndexError:
            return None
        match note:
            case Loading():
                self.loading = note
            case IndexReady():
                self.loading = None
            case IndexFailed():
                self.failure, self.loading = note.error, None
            case TracingCrashed(error):
                self.failure = ItxError(f"Tracing ended: {type(error).__name__}: {error}", "The log has more.")
                self.loading = None
        return note

    def say(self) -> str:
        """Return how far the index is, or why there is none; nothing where rows can be searched."""
        if self.failure is not None:
            return str(self.failure)
        if self.loading is None:
            return ""
        step = self.loading
        share = f": {100 * step.done / step.total:.0f} %" if step.total > 0 else ""
        return f"Reading the tuning data ({step.what}){share}."

    def close(self, seconds: float) -> None:
        """End; where the index is loaded, what is queued is traced and recorded first, for at most ``seconds``."""
        with self._wake:
            if self._ready:
                self._wake.wait_for(lambda: not self._work and not self._busy, seconds)
            self._closing.set()
            self._wake.notify_all()

    # On the tracing thread

    def _run(self) -> None:
        finished = False
        try:
            self._load_and_work()
            finished = True
        finally:
            with self._wake:
                self._ready = False
                self._busy = False
                self._work.clear()
                self._wake.notify_all()
            error = sys.exc_info()[1]
            if not finished and error is not None:
                self.notes.append(TracingCrashed(error))

    def _load_and_work(self) -> None:
        try:
            tracer = self.loader(self.notes.append)
        except ItxError as error:
            self.notes.append(IndexFailed(error))
            return
        self._ready = True
        self.notes.append(IndexReady())
        while (work := self._next()) is not None:
            self.notes.append(self._do(tracer, work))

    def _next(self) -> _Work | None:
        with self._wake:
            self._busy = False
            self._wake.notify_all()
            while not self._work and not self._closing.is_set():
                self._wake.wait()
            if self._closing.is_set():
                return None
            self._busy = True
            return self._work.popleft()

    def _do(self, tracer: Tracer, work: _Work) -> TracingNote:
        if isinstance(work, Query):
            try:
                return Found(work, tracer.search(work.text, work.how, LIMIT))
            except ItxError as error:
                return Found(work, [], error)
        trace, response = work
        try:
            borrowing = tracer.borrow(trace, response)
        except ItxError as error:
            return TraceFailed(trace.prompt_id, error)
        if self.write is not None:
            try:
                self.write(borrowing, response)
            except ItxError as error:
                self.notes.append(TraceFailed(trace.prompt_id, error))
        return Traced(borrowing)
