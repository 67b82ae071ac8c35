"""Where the screen's prompts and answers come from: a run on disk, or a comparison under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from itx.records import Run, Trace
from itx.tui.answers import Exchange, Status

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


class Session(Protocol):
    """What the screen draws from. Everything but events is asked on the screen's own thread."""

    live: bool
    items: list[Item]

    @property
    def run(self) -> Run | None:
        """The run's facts; None while models load."""
        ...

    def exchange(self, index: int) -> Exchange:
        """Return the prompt at ``index`` with its answers. Raises ItxError where it cannot be read."""
        ...


class RecordedSession:
    """A recorded run. Reading goes on in small steps, so that the first prompt is on the screen at once."""

    live = False

    def __init__(self, recording: RecordingLike) -> None:
        self.recording = recording
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
