"""Makes the study of a run on a thread of its own: the one that was kept, else of the first prompts, then of all."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from itx import __version__
from itx.errors import ItxError
from itx.report.study import Study
from itx.runs.kept import find_kept, keep, stamp_run
from itx.runs.lines import BORROW, TRACES

if TYPE_CHECKING:
    from itx.records import Run, Trace
    from itx.runs.recording import Recording

FindRows = Callable[[Path, "Run"], "Iterable[str] | str"]
KIND = "study"
FIRST = 30
"""Prompts that are shown before all are counted: as many as no figure is flagged for."""
FIRST_BYTES = 24 * 2**20
"""A run that is smaller is counted whole at once."""


@dataclass(frozen=True)
class Counted:
    """A study, and of how many prompts that were written; ``whole`` where these are all."""

    study: Study
    whole: bool
    folder: Path


@dataclass(frozen=True)
class NotCounted:
    """Why there is no study."""

    error: ItxError


@cache
def read_version() -> int:
    """Return a number that differs where the records of a study do, or itx."""
    return crc32(f"{__version__} {msgspec.inspect.type_info(Study)!r}".encode())


class Reporter:
    """Studies one run, again when it is asked to; the screen takes in what it tells at its own pace."""

    def __init__(self, folder: Path, find_rows: FindRows | None = None) -> None:
        """``find_rows`` returns the responses of the tuning data's rows, or says why they are not compared with."""
        self.folder = folder
        self.recording: Recording | None = None
        """The run, once all its prompts are listed."""
        self._find_rows = find_rows
        self._anew = False
        self.notes: deque[Counted | NotCounted] = deque()
        self.done = 0
        """Prompts that are read so far."""
        self.total = 0
        self.crash: BaseException | None = None
        """What nobody foresaw; the thread has ended."""
        self._again = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether something is counted."""
        return self._again.is_set() or self.total > 0

    def start(self, *, anew: bool = False) -> None:
        """Begin, or begin again: a run that is being written has grown. ``anew``: what was kept does not do."""
        self._anew = anew
        self._again.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="itx-report", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End it; what is being counted is left."""
        self._closing.set()
        self._again.set()

    def _work(self) -> None:
        try:
            while not self._closing.is_set():
                self._again.wait()
                self._again.clear()
                if not self._closing.is_set():
                    self._study()
                self.total = 0
        finally:
            self.crash = sys.exc_info()[1]

    def _study(self) -> None:
        from itx.runs.recording import Recording

        self.done, self.total = 0, 1
        try:
            kept = None if self._anew else find_kept(KIND, self.folder, read_version(), Study)
            if kept is not None:
                self.notes.append(Counted(kept, True, self.folder))
            stamp = stamp_run(self.folder)
            recording = Recording.open(self.folder)
            recording.scan_all()
            self.recording = recording
            if kept is not None:
                return
            self.total = max(1, len(recording.entries))
            large = (self.folder / TRACES).stat().st_size > FIRST_BYTES
            if large and len(recording.entries) > 2 * FIRST:
                self.notes.append(Counted(self._read(recording, FIRST), False, self.folder))
            study = self._read(recording, None)
        except ItxError as error:
            self.notes.append(NotCounted(error))
            return
        except _ClosedError:
            return
        keep(KIND, self.folder, read_version(), stamp, study)
        self.notes.append(Counted(study, True, self.folder))

    def _read(self, recording: Recording, limit: int | None) -> Study:
        from itx.report.lean import read_lean
        from itx.report.studying import read_study

        find = recording.borrowings_of if (recording.folder / BORROW).is_file() else None
        traces = self._watch(islice(read_lean(recording), limit))
        if self._find_rows is None or limit is not None:
            return read_study(recording.run, traces, find)
        return read_study(recording.run, traces, find, self._find_rows(self.folder, recording.run))

    def _watch(self, traces: Iterator[Trace]) -> Iterator[Trace]:
        self.done = 0
        for trace in traces:
            if self._closing.is_set():
                raise _ClosedError
            self.done += 1
            yield trace


class _ClosedError(Exception):
    """Nobody waits for the study any more."""
