"""Makes the study of a run on a thread of its own: the one that was kept, else of the first prompts, then of all."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from itx.config import words_folder
from itx.errors import ItxError
from itx.report.study import Study
from itx.runs.kept import find_kept, keep, stamp_run
from itx.runs.lines import BORROW, TRACES
from itx.version import VERSION

if TYPE_CHECKING:
    from itx.records import Run, Trace
    from itx.report.claims import Claims
    from itx.runs.recording import Recording
    from itx.runs.verifications import Verification

FindRows = Callable[[Path, "Run"], "Iterable[str] | str"]
STUDY, CLAIMS = "study", "claims"
NOT_YET = "the tuning data was not read"
FIRST = 30
"""Prompts that are shown before all are counted: as many as no figure is flagged for."""
REST_SECONDS = 0.0005
"""Between two prompts, so that keys stay quick."""
FIRST_BYTES = 24 * 2**20
"""A run that is smaller is counted whole at once."""


@dataclass(frozen=True)
class Counted:
    """A study; ``whole`` where it is of all prompts that were written."""

    study: Study
    whole: bool


@dataclass(frozen=True)
class NotCounted:
    """Why there is no study."""

    error: ItxError


@cache
def _read_shape() -> int:
    return crc32(f"{VERSION} {msgspec.inspect.type_info(Study)!r}".encode())


def read_version() -> int:
    """Return a number that differs where the records of a study do, or itx, or the word lists that a person edits."""
    version, folder = _read_shape(), words_folder()
    if folder is None:
        return version
    for path in sorted(folder.glob("*.txt")):
        with suppress(OSError):  # a list that cannot be read is said where it is used
            version = crc32(path.read_bytes(), crc32(path.name.encode(), version))
    return version


class Reporter:
    """Studies one run, again when it is asked to; the screen takes in what it tells at its own pace."""

    def __init__(self, folder: Path, find_rows: FindRows | None = None) -> None:
        """``find_rows`` returns the responses of the tuning data's rows, or says why they are not compared with."""
        self.folder = folder
        self.recording: Recording | None = None
        """The run, once all its prompts are listed."""
        self.notes: deque[Counted | NotCounted | Claims] = deque()
        self.done = 0
        """Prompts that are read so far."""
        self.busy = False
        """Whether something is counted."""
        self.crash: BaseException | None = None
        """What nobody foresaw; the thread has ended."""
        self._find_rows = find_rows
        self._anew = False
        self._study_wanted = False
        self._claims_wanted = False
        self._again = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, *, anew: bool = False) -> None:
        """Study the run, or study it again: it has grown. ``anew``: what was kept does not do."""
        self._anew = anew
        self._study_wanted = True
        self._wake()

    def measure_claims(self) -> None:
        """Measure the paper's statements, too."""
        self._claims_wanted = True
        self._wake()

    def _wake(self) -> None:
        self.busy = True
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
                self._do_all()
                self.busy = self._again.is_set()
        finally:
            self.crash = sys.exc_info()[1]

    def _do_all(self) -> None:
        try:
            if self._study_wanted and not self._closing.is_set():
                self._study_wanted = False
                self._study()
            if self._claims_wanted and not self._closing.is_set():
                self._claims_wanted = False
                self._measure()
        except ItxError as error:
            self.notes.append(NotCounted(error))
        except _ClosedError:
            return

    def _study(self) -> None:
        from itx.runs.recording import Recording

        self.done = 0
        kept = None if self._anew else find_kept(STUDY, self.folder, read_version(), Study)
        if kept is not None:
            self.notes.append(Counted(kept, True))
        recording = Recording.open(self.folder)
        rows = self._find_rows(self.folder, recording.run) if self._find_rows is not None else NOT_YET
        if kept is None or (kept.patterns.data is None and not isinstance(rows, str)):
            self._count(recording, rows, first=kept is None)
        recording.scan_all()
        self.recording = recording

    def _count(self, recording: Recording, rows: Iterable[str] | str, *, first: bool) -> None:
        from itx.report.lean import Line, read_lean, read_lines
        from itx.runs.verifications import read_standing

        stamp = stamp_run(self.folder)
        if first and (self.folder / TRACES).stat().st_size > FIRST_BYTES:
            recording.scan(FIRST)
            lines = [Line(entry.line, entry.offset, entry.size) for entry in recording.entries[:FIRST]]
            some = self._read(recording, read_lines(self.folder, recording.run, lines), NOT_YET)
            self.notes.append(Counted(some, False))
        study = self._read(recording, read_lean(recording), rows, read_standing(recording))
        keep(STUDY, self.folder, read_version(), stamp, study)
        self.notes.append(Counted(study, True))

    def _read(
        self,
        recording: Recording,
        traces: Iterator[Trace],
        rows: Iterable[str] | str,
        checks: Sequence[Verification] = (),
    ) -> Study:
        from itx.report.studying import read_study
        from itx.runs.facts import read_probes

        find = recording.borrowings_of if (recording.folder / BORROW).is_file() else None
        return read_study(recording.run, self._watch(traces), find, rows, read_probes(self.folder), checks)

    def _measure(self) -> None:
        from itx.report.claims import Claims
        from itx.report.lean import read_lean
        from itx.report.studying import read_claims
        from itx.runs.facts import read_probes
        from itx.runs.recording import Recording

        stamp = stamp_run(self.folder)
        found = None if self._anew else find_kept(CLAIMS, self.folder, read_version(), Claims)
        if found is None:
            recording = Recording.open(self.folder)
            find = recording.borrowings_of if (recording.folder / BORROW).is_file() else None
            found = read_claims(recording.run, self._watch(read_lean(recording)), find, read_probes(self.folder))
            keep(CLAIMS, self.folder, read_version(), stamp, found)
        self.notes.append(found)

    def _watch(self, traces: Iterator[Trace]) -> Iterator[Trace]:
        self.done = 0
        for trace in traces:
            if self._closing.is_set():
                raise _ClosedError
            self.done += 1
            yield trace
            self._closing.wait(REST_SECONDS)


class _ClosedError(Exception):
    """Nobody waits for the study any more."""
