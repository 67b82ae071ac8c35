"""A comparison under way: models load and prompts run on one worker thread; every finished trace is recorded there.

The screen and the worker share a deque of notes (worker to screen) and a queue of prompts (screen to worker). Recording
does not go through the screen, so that a screen that is gone loses nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from itx.compare.events import Comparer, Emitted, Event, Finished, Loading, Scored, Started
from itx.errors import ItxError
from itx.records import Borrowing, DataReference, Prompt, Response, Run, Trace
from itx.tui.answers import Exchange
from itx.tui.growing import Growing, ask
from itx.tui.notes import Crashed, Live, Loaded, LoadFailed, Note, NotRecorded, PromptFailed
from itx.tui.provenance import Provenance
from itx.tui.session import Item
from itx.tui.tracer import Tracer
from itx.tui.tracing import Tracing

if TYPE_CHECKING:
    from itx.runs.borrowings import BorrowingWriter
    from itx.runs.recorder import Recorder

__all__ = ["Live", "LiveSession"]

CLOSE_SECONDS = 20.0


class LiveSession:
    """Prompts and answers of a live comparison."""

    live = True

    def __init__(self, live: Live) -> None:
        self.source = live
        self.items: list[Item] = []
        self.notes: deque[Note] = deque()
        self.unsaved: list[Trace] = []
        self.failure: ItxError | None = None
        self.crash: BaseException | None = None
        self.loading: Loading | None = Loading(what="starting")
        self.running: int | None = None
        self.stopping = False
        self._exchanges: dict[str, Exchange] = {}
        self._prompts: dict[str, Prompt] = {}
        self._queue: deque[Prompt] = deque()
        self._wake = threading.Condition()
        self._cancelled: str | None = None
        self._closing = threading.Event()
        self._run: Run | None = None
        self._recorder: Recorder | None = None
        self._borrowings: BorrowingWriter | None = None
        self._data: DataReference | None = None
        tracing = Tracing(self._open_tracer, self._write_borrowing) if live.tracer is not None else None
        self.provenance = Provenance(live.folder, tracing)
        self._loaded = threading.Event()
        # A folder that is gone on with has ids already; a written prompt must not take one of them.
        self._prefix = time.strftime("%m%d-%H%M%S-") if (live.folder / "run.json").exists() else ""
        self._thread = threading.Thread(target=self._work, name="itx-compare", daemon=True)
        for prompt in live.prompts:
            self.submit(prompt)

    # On the screen's thread

    @property
    def run(self) -> Run | None:
        """The run's facts; None while models load. The tuning data is among them once it is open."""
        if self._run is not None and self._run.data is None and self._data is not None:
            self._run = msgspec.structs.replace(self._run, data=self._data)
        return self._run

    @property
    def waiting(self) -> int:
        """How many prompts have not begun."""
        return sum(item.status == "waiting" for item in self.items)

    def start(self) -> None:
        """Begin to load, and then to ask."""
        self._thread.start()
        if self.provenance.tracing is not None:
            self.provenance.tracing.start()

    def survey(self) -> None:
        """Nothing: what prompts can be sorted by is taken in as they finish."""

    def submit(self, prompt: Prompt) -> int:
        """Queue a prompt; return its index."""
        self.items.append(Item(prompt.id, prompt.prompt, "waiting"))
        self._prompts[prompt.id] = prompt
        self._exchanges[prompt.id] = Exchange(prompt.id, prompt.prompt, prompt.reference)
        with self._wake:
            self._queue.append(prompt)
            self._wake.notify()
        return len(self.items) - 1

    def ask(self, text: str) -> int:
        """Queue a prompt written by a person; return its index."""
        return self._submit_now(Prompt(id=self._new_id(f"{self._prefix}{len(self.items) + 1}"), prompt=text))

    def ask_again(self, index: int) -> int:
        """Queue the prompt at ``index`` once more, under a new id; return its index."""
        prompt = self._prompts[self.items[index].prompt_id]
        return self._submit_now(msgspec.structs.replace(prompt, id=self._new_id(f"{prompt.id}.2")))

    def _submit_now(self, prompt: Prompt) -> int:
        """Queue a prompt that a person has just sent: the rows near it are shown before it is answered."""
        self.provenance.find_near(ask(prompt))
        return self.submit(prompt)

    def _new_id(self, wanted: str) -> str:
        stem, number = wanted, 2
        while wanted in self._prompts:
            number += 1
            wanted = f"{stem}.{number}"
        return wanted

    def exchange(self, index: int) -> Exchange:
        """Return the prompt at ``index`` with its answers so far."""
        return self._exchanges[self.items[index].prompt_id]

    def stop(self) -> bool:
        """Ask what runs to stop; return whether anything runs."""
        if self.running is None:
            return False
        self.stopping = True
        self._cancelled = self.items[self.running].prompt_id
        return True

    def take(self) -> Note | None:
        """Take the next note in, and return it; None where there is none."""
        try:
            note = self.notes.popleft()
        except IndexError:
            return None
        match note:
            case Loading():
                self.loading = note
            case Loaded():
                self._run, self.loading = note.run, None
                self._mark_done(note.done)
            case LoadFailed():
                self.failure, self.loading = note.error, None
            case Started():
                self.running = self._index(note.prompt.id)
                self._set(note.prompt.id, note)
            case Emitted() | Scored():
                if self.running is not None:
                    self.exchange(self.running).apply(note)
            case Finished():
                self._set(note.trace.prompt_id, note)
                self._survey(note.trace)
                self.running, self.stopping = None, False
            case PromptFailed():
                exchange = self._exchanges[note.prompt_id]
                exchange.error, exchange.status = str(note.error), "failed"
                self.items[self._index(note.prompt_id)].status = "failed"
                self.running, self.stopping = None, False
            case NotRecorded():
                self.unsaved.append(note.trace)
            case Crashed():
                self.crash = note.error
                self.running, self.loading = None, None
        return note

    def _survey(self, trace: Trace) -> None:
        if self._run is not None:
            self.provenance.survey.take_trace(trace, self._run.base.name)

    def _mark_done(self, done: frozenset[str]) -> None:
        from itx.runs.recording import Recording

        if not done:
            return
        recording = Recording.open(self.source.folder)
        recording.scan_all()
        self.provenance.read_from(recording.borrowing)
        for item in self.items:
            if item.prompt_id in done:
                trace = recording.trace(item.prompt_id)
                self._survey(trace)
                self._exchanges[item.prompt_id].take_trace(trace)
                item.status = self._exchanges[item.prompt_id].status

    def _index(self, prompt_id: str) -> int:
        return next(index for index, item in enumerate(self.items) if item.prompt_id == prompt_id)

    def _set(self, prompt_id: str, event: Event) -> None:
        exchange = self._exchanges[prompt_id]
        exchange.apply(event)
        self.items[self._index(prompt_id)].status = exchange.status

    def close(self) -> bool:
        """Stop, wait until what was generated is recorded, and try again what was not; True when all is on disk."""
        self._closing.set()
        with self._wake:
            self._wake.notify()
        if self._thread.is_alive() and self._loaded.is_set():
            self._thread.join(CLOSE_SECONDS)
        self.provenance.close(CLOSE_SECONDS)
        if self._borrowings is not None:
            self._borrowings.close()
        while self.take() is not None:
            pass
        while self.unsaved and self._recorder is not None:
            try:
                trace = self.unsaved[0]
                self._recorder.append(trace, self._prompts[trace.prompt_id])
            except ItxError as error:
                self.failure = error
                return False
            self.unsaved.pop(0)
        if self._recorder is not None:
            self._recorder.close()
        return True

    # On the worker's thread

    def _work(self) -> None:
        finished = False
        try:
            self._load_and_ask()
            finished = True
        finally:
            error = sys.exc_info()[1]
            if not finished and error is not None:
                self.notes.append(Crashed(error))

    def _load_and_ask(self) -> None:
        try:
            comparer = self.source.loader(self.notes.append)
            recorder = self._open_recorder(comparer.run)
        except ItxError as error:
            self.notes.append(LoadFailed(error))
            return
        self._recorder = recorder
        self._loaded.set()
        done = frozenset(recorder.finished)
        self.notes.append(Loaded(comparer.run, done))
        while (prompt := self._next_prompt()) is not None:
            if prompt.id not in done:
                self._ask(comparer, prompt)

    def _open_recorder(self, run: Run) -> Recorder:
        from itx.runs.recorder import Recorder

        return Recorder.begin(self.source.folder, run, self.source.prompts)

    def _next_prompt(self) -> Prompt | None:
        with self._wake:
            while not self._queue and not self._closing.is_set():
                self._wake.wait()
            return None if self._closing.is_set() else self._queue.popleft()

    def _ask(self, comparer: Comparer, prompt: Prompt) -> None:
        def cancelled() -> bool:
            return self._closing.is_set() or self._cancelled == prompt.id

        growing: Growing | None = None
        try:
            for event in comparer.compare(prompt, cancelled):
                match event:
                    case Started() if self.provenance.searchable:
                        growing = Growing(event, comparer.run.context.system)
                        self.provenance.follow(growing)
                    case Finished():
                        self._record(event.trace, prompt)
                    case _ if growing is not None:
                        growing.add(event)
                self.notes.append(event)
                if isinstance(event, Finished):
                    self.provenance.trace(event.trace)
        except ItxError as error:
            self.provenance.forget(prompt.id)
            self.notes.append(PromptFailed(prompt.id, error))

    def _record(self, trace: Trace, prompt: Prompt) -> None:
        assert self._recorder is not None
        try:
            self._recorder.append(trace, prompt)
        except ItxError as error:
            self.notes.append(NotRecorded(trace, error))

    # On the tracing thread

    def _open_tracer(self, tell: Live.Tell) -> Tracer:
        assert self.source.tracer is not None
        tracer = self.source.tracer(tell)
        if self.source.data is not None:
            self._data = self.source.data()
        return tracer

    def _write_borrowing(self, borrowing: Borrowing, response: Response) -> None:
        from itx.runs.borrowings import BorrowingWriter

        # A response is finished, so the recorder is open. No line is written before the run says what it is about.
        if self._data is not None and self._recorder is not None:
            self._recorder.name_data(self._data)
        if self._borrowings is None:
            self._borrowings = BorrowingWriter(self.source.folder)
        self._borrowings.append(borrowing, response)
