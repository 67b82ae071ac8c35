"""Tracing on a thread of its own: the index loads there, responses are traced, rows are searched.

The screen and the thread share two deques: work goes one way, notes the other. Nothing here waits for the screen, and
the screen never waits for this. What is finished is traced whole, and recorded. What is still being written is
sketched: at a limited pace, from the newest there is of it, when there is nothing else to do, and recorded nowhere.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from time import monotonic, perf_counter

from itx.compare.events import Loading
from itx.errors import InputError, ItxError
from itx.records import Response, Trace
from itx.tui.growing import Growing
from itx.tui.tracer import (
    LIMIT,
    Found,
    IndexFailed,
    IndexReady,
    NotWritten,
    Query,
    Sketched,
    Traced,
    TraceFailed,
    Tracer,
    TracerLoader,
    TracingCrashed,
    TracingNote,
    Writer,
)

__all__ = ["Tracer", "TracerLoader", "Tracing"]

PACE_SECONDS = 0.5
"""Between two sketches of one response."""
LOOK_SECONDS = 0.1
"""Between two looks at what is being written."""
REST = 50
"""How many times as long as a sketch took the thread rests after it: generation has the interpreter to itself then."""

_Finished = tuple[Trace, Response]
_Work = Query | _Finished | Trace | Growing


class Tracing:
    """The thread, its work and its notes.

    Searches go first, of which the last counts; then what is finished; then the rows near a prompt, the last one asked
    for first; then what is being written.
    """

    def __init__(self, loader: TracerLoader, write: Writer | None = None) -> None:
        self.loader = loader
        self.write = write
        self.notes: deque[TracingNote] = deque()
        self.loading: Loading | None = Loading(what="tuning data")
        self.failure: ItxError | None = None
        self._query: Query | None = None
        self._finished: deque[_Finished] = deque()
        self._questions: list[Trace] = []
        self._growing: Growing | None = None
        self._due = 0.0
        """When to look at what is being written again."""
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

    # Work, from any thread; none of it waits

    def trace(self, trace: Trace) -> None:
        """Queue every response of a finished trace that did not fail; it is being written no more."""
        with self._wake:
            if self._growing is not None and self._growing.prompt_id == trace.prompt_id:
                self._growing = None
            if trace.error is None:
                self._finished.extend((trace, response) for response in trace.responses if response.ids)
            self._wake.notify_all()

    def follow(self, growing: Growing | None) -> None:
        """Sketch a prompt's responses while they are written, from now on, in place of another's; None: no more."""
        with self._wake:
            self._growing = growing
            self._wake.notify_all()

    def find_near(self, question: Trace) -> None:
        """Queue a prompt that was just asked, for the rows near it."""
        with self._wake:
            self._questions.append(question)
            self._wake.notify_all()

    def search(self, query: Query) -> None:
        """Queue a search in place of the one that waits."""
        with self._wake:
            self._query = query
            self._wake.notify_all()

    # On the screen's thread

    def take(self) -> TracingNote | None:
        """Take the next note in, and return it; None where there is none."""
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
        """End; where the index is loaded, what is finished is traced and recorded first, for at most ``seconds``."""
        with self._wake:
            self._drop_what_is_not_kept()
            if self._ready:
                self._wake.wait_for(lambda: not self._finished and not self._busy, seconds)
            self._closing.set()
            self._wake.notify_all()

    def _drop_what_is_not_kept(self) -> None:
        self._query = self._growing = None
        self._questions.clear()

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
                self._finished.clear()
                self._drop_what_is_not_kept()
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
            self._do(tracer, work)

    def _next(self) -> _Work | None:
        with self._wake:
            self._busy = False
            self._wake.notify_all()
            while not self._closing.is_set():
                work = self._choose()
                if work is not None:
                    self._busy = True
                    return work
                self._wake.wait(None if self._growing is None else max(0.0, self._due - monotonic()))
            return None

    def _choose(self) -> _Work | None:
        if self._query is not None:
            query, self._query = self._query, None
            return query
        if self._finished:
            return self._finished.popleft()
        if self._questions:
            return self._questions.pop()
        return self._growing if monotonic() >= self._due else None

    def _do(self, tracer: Tracer, work: _Work) -> None:
        match work:
            case Query():
                self._search(tracer, work)
            case Trace():
                self._sketch(tracer, work, Response(author="", ids=[], text="", finish="length"))
            case Growing():
                self._look(tracer, work)
            case (trace, response):
                self._trace(tracer, trace, response)

    def _search(self, tracer: Tracer, query: Query) -> None:
        try:
            found = Found(query, tracer.search(query.text, query.how, LIMIT))
        except (ItxError, OSError, ValueError) as error:
            found = Found(query, [], _name(error))
        self.notes.append(found)

    def _trace(self, tracer: Tracer, trace: Trace, response: Response) -> None:
        try:
            borrowing = tracer.borrow(trace, response)
        except (ItxError, OSError, ValueError) as error:
            self.notes.append(TraceFailed(trace.prompt_id, response.author, _name(error)))
            return
        self.notes.append(Traced(borrowing))
        if self.write is not None:
            try:
                self.write(borrowing, response)
            except (ItxError, OSError, ValueError) as error:
                self.notes.append(NotWritten(trace.prompt_id, response.author, _name(error)))

    def _look(self, tracer: Tracer, growing: Growing) -> None:
        """Sketch one response of those that are being written, where one has gained words."""
        began = perf_counter()
        chosen = growing.choose(monotonic(), PACE_SECONDS)
        if chosen is not None and not self._sketch(tracer, *chosen):
            growing.give_up(chosen[1].author)
        self._due = monotonic() + max(LOOK_SECONDS, REST * (perf_counter() - began))

    def _sketch(self, tracer: Tracer, trace: Trace, response: Response) -> bool:
        try:
            self.notes.append(Sketched(tracer.sketch(trace, response)))
        except (ItxError, OSError, ValueError) as error:
            self.notes.append(TraceFailed(trace.prompt_id, response.author, _name(error)))
            return False
        return True


def _name(error: ItxError | OSError | ValueError) -> ItxError:
    """Return what a person can act on; of an error that nobody foresaw, its kind and what it says."""
    if isinstance(error, ItxError):
        return error
    return InputError(
        f"{type(error).__name__}: {str(error).rstrip('.')}.",
        "All else goes on; itx index on the tuning data says whether it can be read.",
    )
