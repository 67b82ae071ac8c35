"""Finds runs and counts their figures on a thread of its own; the screen takes in what it tells at its own pace."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from itx.errors import ItxError
from itx.records import Run
from itx.report.catalogue import RunFigures, find_catalogue, read_catalogue
from itx.runs.description import read_description
from itx.runs.library import DEEPEST, list_runs
from itx.runs.lines import TRACES

REST_SECONDS = 0.001
"""After so many lines of a run, so that keys stay quick."""
_LINES = 4


@dataclass(frozen=True)
class Root:
    """A folder in which runs are sought, and how deep."""

    folder: Path
    deepest: int = DEEPEST


@dataclass(frozen=True)
class Shelved:
    """A run in the library, as far as it is known. ``problem`` says why it cannot be used."""

    folder: Path
    changed: float
    """When its traces were last written to, in seconds; 0 where that is not known."""
    run: Run | None = None
    figures: RunFigures | None = None
    problem: str = ""


@dataclass(frozen=True)
class Listed:
    """All runs are found: these are there, and no others."""

    folders: frozenset[Path]


class Librarian:
    """Tells of every run at once, with the figures that were kept of it, then counts what is missing.

    The newest runs come first, and before them the one that is looked at.
    """

    def __init__(self, roots: Sequence[Root]) -> None:
        self.roots = list(roots)
        self.notes: deque[Shelved | Listed] = deque()
        self.waiting = 0
        """Runs that are not counted yet."""
        self.crash: BaseException | None = None
        """What nobody foresaw; the thread has ended."""
        self._wanted: Path | None = None
        self._again = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="itx-library", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._again.set()

    def look_again(self) -> None:
        """Find runs anew, and count those that have changed."""
        self._again.set()

    def want(self, folder: Path | None) -> None:
        """Count this run next."""
        self._wanted = folder

    def close(self) -> None:
        """End it; what is being counted is left."""
        self._closing = True
        self._again.set()

    def _work(self) -> None:
        try:
            while not self._closing:
                self._again.wait()
                self._again.clear()
                self._look()
        finally:
            self.crash = sys.exc_info()[1]

    def _look(self) -> None:
        runs = self._list()
        missing = [shelved for shelved in runs if shelved.run is not None and shelved.figures is None]
        self.waiting = len(missing)
        while missing and not self._closing and not self._again.is_set():
            wanted = self._wanted
            index = next((place for place, shelved in enumerate(missing) if shelved.folder == wanted), 0)
            self._count(missing.pop(index))
            self.waiting = len(missing)

    def _list(self) -> list[Shelved]:
        found: dict[Path, Path] = {}
        for root in self.roots:
            for folder in list_runs(root.folder, root.deepest):
                found.setdefault(folder.resolve(), folder)
        stamped = sorted(((_changed(folder), folder) for folder in found.values()), reverse=True)
        runs = []
        for changed, folder in stamped:
            if self._closing:
                return []
            shelved = Shelved(folder, changed)
            try:
                shelved = replace(shelved, run=read_description(folder), figures=find_catalogue(folder))
            except ItxError as error:
                shelved = replace(shelved, problem=error.cause)
            self.notes.append(shelved)
            runs.append(shelved)
        self.notes.append(Listed(frozenset(folder for _, folder in stamped)))
        return runs

    def _count(self, shelved: Shelved) -> None:
        lines = 0
        pause = threading.Event()

        def go_on() -> bool:
            nonlocal lines
            lines += 1
            if lines % _LINES == 0:
                pause.wait(REST_SECONDS)
            return not self._closing

        assert shelved.run is not None
        try:
            figures = read_catalogue(shelved.folder, shelved.run, go_on)
        except ItxError as error:
            self.notes.append(replace(shelved, problem=error.cause))
            return
        if figures is not None:
            self.notes.append(replace(shelved, figures=figures))


def _changed(folder: Path) -> float:
    try:
        return (folder / TRACES).stat().st_mtime
    except OSError:
        return 0.0
