"""Tuning data on the command line: opened once, and every finished response traced in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from itx.compare.events import Cancel, Comparer, Event, Loading
from itx.errors import ItxError, UsageError
from itx.records import Borrowing, DataReference, Prompt, Record, Run, Thresholds, Trace

if TYPE_CHECKING:
    from itx.borrow.join import Joiner
    from itx.data.index import Index
    from itx.runs.borrowings import BorrowingReader, BorrowingWriter

Tell = Callable[[Loading], None]


class DataChoice(Record, frozen=True, kw_only=True):
    """The tuning data that a person named, and how to read it; ``columns`` are of ``reference`` alone."""

    reference: str
    control: str | None = None
    columns: dict[str, str] | None = None
    embedder: str | None = None
    train_max_tokens: int | None = None
    tokenizer: Path | None = None
    thresholds: Thresholds = Thresholds()


class Opened:
    """The indexes of the tuning data and of the control rows, opened as ``choice`` says."""

    def __init__(self, choice: DataChoice, index: Index, control: Index | None) -> None:
        self.index = index
        self.control = control
        self._choice = choice

    @property
    def reference(self) -> DataReference:
        """What ``run.json`` says of the data."""
        index, control, choice = self.index, self.control, self._choice
        return DataReference(
            reference=index.reference,
            fingerprint=index.fingerprint,
            rows=len(index.rows),
            control=None if control is None else control.reference,
            control_fingerprint=None if control is None else control.fingerprint,
            columns=choice.columns or {},
            embedder=choice.embedder,
            train_max_tokens=choice.train_max_tokens,
        )


class TuningData:
    """Opens the chosen data when it is first asked for; threads may share it."""

    def __init__(self, choice: DataChoice) -> None:
        self._choice = choice
        self._opening = threading.Lock()
        self._opened: Opened | None = None

    def check(self) -> None:
        """Find the files of the data, at once. Raises UsageError for what is not there, InputError for no data."""
        from itx.data.reading import data_files

        for reference in filter(None, (self._choice.reference, self._choice.control)):
            data_files(reference)

    def open(self, tell: Tell | None = None) -> Opened:
        """Return the indexes, built first where they are not in the cache. Raises ItxError."""
        with self._opening:
            if self._opened is None:
                self._opened = self._open(tell)
            return self._opened

    def _open(self, tell: Tell | None) -> Opened:
        from itx.data.index import open_index

        def say(doing: str, fraction: float) -> None:
            if tell is not None:
                # Below 0 is a notice, which has no length.
                tell(Loading(what=doing, done=int(1000 * max(0.0, fraction)), total=1000 if fraction >= 0 else 0))

        choice = self._choice
        opened = [
            open_index(
                reference,
                columns=choice.columns if reference is choice.reference else None,
                embedder=choice.embedder,
                train_max_tokens=choice.train_max_tokens,
                tokenizer=choice.tokenizer,
                tell=say,
            )
            for reference in (choice.reference, choice.control)
            if reference is not None
        ]
        if len(opened) > 1 and opened[0].fingerprint == opened[1].fingerprint:
            raise UsageError(
                f"--control {choice.control} is the tuning data itself: its rows are no control.",
                "Name rows that no model was tuned on.",
            )
        return Opened(choice, opened[0], opened[1] if len(opened) > 1 else None)

    def joiner(self, tell: Tell | None = None) -> Joiner:
        """Return what traces responses. Raises ItxError."""
        from itx.borrow.join import Joiner

        opened = self.open(tell)
        return Joiner(opened.index, control=opened.control, thresholds=self._choice.thresholds)


def names_data(folder: Path) -> bool:
    """Return whether ``folder`` holds a run that was traced in tuning data. Raises RunError where it is unreadable."""
    from itx.runs.description import is_run, read_description

    return is_run(folder) and read_description(folder).data is not None


class Informed:
    """A comparison whose run names its tuning data."""

    def __init__(self, comparer: Comparer, data: DataReference) -> None:
        self._comparer = comparer
        self._data = data

    @property
    def run(self) -> Run:
        """What ``run.json`` will say."""
        return msgspec.structs.replace(self._comparer.run, data=self._data)

    def compare(self, prompt: Prompt, cancel: Cancel) -> Iterator[Event]:
        """Yield the events of one prompt."""
        return self._comparer.compare(prompt, cancel)


class Borrower:
    """Records beside a run what its responses borrowed; without a joiner it does nothing.

    ``failed`` says what could not be traced: a trace that is recorded stays, whatever becomes of its tracing.
    """

    def __init__(self, folder: Path, joiner: Joiner | None) -> None:
        self._folder = folder
        self._joiner = joiner
        self.failed: list[str] = []
        self._count = 0
        self._reader: BorrowingReader | None = None
        self._writer: BorrowingWriter | None = None
        if joiner is not None:
            from itx.runs.borrowings import BorrowingReader, BorrowingWriter

            self._reader, self._writer = BorrowingReader(folder), BorrowingWriter(folder)

    def fill(self, cancel: Cancel) -> int:
        """Trace what the run has recorded and not traced; return how many responses that were."""
        if self._joiner is None:
            return 0
        from itx.runs.recording import Recording

        before = self._count
        for trace in Recording.open(self._folder).traces():
            if cancel():
                break
            self.add(trace)
        return self._count - before

    def add(self, trace: Trace) -> Mapping[str, Borrowing]:
        """Trace the responses of a recorded prompt that are not traced yet, and return what is known, by author."""
        if self._joiner is None or self._reader is None or self._writer is None or trace.error is not None:
            return {}
        found: dict[str, Borrowing] = {}
        for response in trace.responses:
            try:
                borrowing = self._reader.find(trace.prompt_id, response)
                if borrowing is None or (self._joiner.has_control and borrowing.null.control is None):
                    borrowing = self._joiner.borrow(trace, response)
                    self._writer.append(borrowing, response)
                    self._count += 1
            except (ItxError, OSError, ValueError) as error:
                self.failed.append(f"prompt {trace.prompt_id}: {response.author} could not be traced: {error}")
            else:
                found[response.author] = borrowing
        return found

    def close(self) -> None:
        """Let go of the file."""
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
