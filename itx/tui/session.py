"""Where the screen's prompts and answers come from: a run on disk, or a comparison under way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

from itx.records import Borrowing, Run, Trace
from itx.tui.answers import Exchange, Status
from itx.tui.provenance import Provenance
from itx.tui.tracer import TracerLoader
from itx.tui.tracing import Tracing

SCAN_SECONDS = 0.008
SCAN_LINES = 16


@dataclass
class Item:
    """A prompt in the list."""

    prompt_id: str
    prompt: str
    status: Status


class EntryLike(Protocol):
    """What a recording knows of a prompt before its trace is read."""

    @property
    def prompt_id(self) -> str:
        """The prompt's id."""
        ...

    @property
    def prompt(self) -> str:
        """The prompt's text."""
        ...

    @property
    def error(self) -> bool:
        """Whether it failed."""
        ...


class RecordingLike(Protocol):
    """What the screen needs of ``itx.runs.recording.Recording``."""

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        ...

    @property
    def run(self) -> Run:
        """What ``run.json`` says."""
        ...

    @property
    def entries(self) -> Sequence[EntryLike]:
        """The prompts read so far."""
        ...

    def scan(self, limit: int) -> bool:
        """Read on for at most ``limit`` lines; True at the end of the file."""
        ...

    def trace(self, prompt_id: str) -> Trace:
        """Return the trace of a prompt."""
        ...

    def traces(self) -> Iterator[Trace]:
        """Yield every prompt's trace. Another thread may do this."""
        ...

    def borrowing(self, prompt_id: str, author: str) -> Borrowing | None:
        """Return where the words of a response occur in the tuning data; None where it was not traced."""
        ...

    def borrowings_of(self, trace: Trace) -> dict[str, Borrowing]:
        """Return what the responses of a trace borrowed, by author. Another thread may ask this."""
        ...


class Session(Protocol):
    """What the screen draws from. Everything but events is asked on the screen's own thread."""

    live: bool
    items: list[Item]
    provenance: Provenance

    @property
    def run(self) -> Run | None:
        """The run's facts; None while models load."""
        ...

    def exchange(self, index: int) -> Exchange:
        """Return the prompt at ``index`` with its answers. Raises ItxError where it cannot be read."""
        ...

    def survey(self) -> None:
        """Begin to take in what prompts can be sorted by, where that is not done as they finish."""
        ...


class RecordedSession:
    """A recorded run. Reading goes on in small steps, so that the first prompt is on the screen at once."""

    live = False

    def __init__(self, recording: RecordingLike, tracer: TracerLoader | None = None) -> None:
        self.recording = recording
        self.provenance = Provenance(
            recording.folder,
            Tracing(tracer) if tracer is not None else None,
            recording.borrowing,
            expected=recording.run.data is not None,
        )
        self.items: list[Item] = []
        self.complete = False
        self._exchanges: dict[str, Exchange] = {}
        self._take_entries()

    @property
    def run(self) -> Run:
        """The run's facts."""
        return self.recording.run

    def _take_entries(self) -> bool:
        """Take in the entries read since the last call; return whether there were any."""
        entries = self.recording.entries
        before = len(self.items)
        for index in range(before, len(entries)):
            entry = entries[index]
            self.items.append(Item(entry.prompt_id, entry.prompt, "failed" if entry.error else "done"))
        return len(self.items) != before

    def scan(self) -> bool:
        """Read on for a few milliseconds; return whether there are new prompts."""
        deadline = perf_counter() + SCAN_SECONDS
        while not self.complete and perf_counter() < deadline:
            self.complete = self.recording.scan(SCAN_LINES)
        return self._take_entries()

    def exchange(self, index: int) -> Exchange:
        """Return the prompt at ``index`` with its answers."""
        prompt_id = self.items[index].prompt_id
        found = self._exchanges.get(prompt_id)
        if found is None:
            found = Exchange.from_trace(self.recording.trace(prompt_id))
            if len(self._exchanges) >= 8:
                self._exchanges.pop(next(iter(self._exchanges)))
            self._exchanges[prompt_id] = found
        return found

    def survey(self) -> None:
        """Read the whole run in the background: for totals, sorting, and the search of the rows it carries."""
        self.provenance.read_all(self.recording.traces, self.recording.borrowings_of, self.run.base.name)

    def start(self) -> None:
        """Begin what goes on by itself."""
        if self.provenance.tracing is not None:
            self.provenance.tracing.start()

    def close(self) -> bool:
        """End what goes on; True: all is on disk."""
        self.provenance.close()
        return True
