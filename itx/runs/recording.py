"""Reading a run, also while it is being written: a list of prompts at once, each prompt's trace when it is wanted."""

from __future__ import annotations

import shlex
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import msgspec

from itx.errors import RunError
from itx.records import Borrowing, Mark, Record, Run, Trace
from itx.runs.borrowings import BorrowingReader
from itx.runs.check import check_trace
from itx.runs.description import read_description
from itx.runs.lines import TRACES, Head, decode, refuse_line
from itx.runs.marks import MarkBook

_HEAD = msgspec.json.Decoder(Head)
_TRACE = msgspec.json.Decoder(Trace)
_KEPT = 8


class Entry(Record, frozen=True, kw_only=True):
    """One prompt of a run. ``line`` counts from 1; ``offset`` and ``size`` are the line's bytes in the file."""

    prompt_id: str
    prompt: str
    error: bool
    cancelled: bool
    line: int
    offset: int
    size: int


class Recording:
    """A run on disk. Nothing is locked and no file is kept open; threads may share it.

    ``entries`` has one entry a prompt, in the order in which prompts first occur; where a prompt was redone its last
    line counts. It holds what ``scan`` has read so far, after ``open`` the first line.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder = folder
        self.run = run
        self.is_complete = True
        """False where the file ends within a line: it is being written, or its writer was killed."""
        self._entries: list[Entry] = []
        self._places: dict[str, int] = {}
        self._offset = 0
        self._line = 0
        self._kept: OrderedDict[int, Trace] = OrderedDict()
        # Two locks: reading a trace must not wait for a scan that runs in another thread.
        self._scanning = threading.RLock()
        self._keeping = threading.Lock()
        self._borrowings = BorrowingReader(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read ``run.json`` and the first line. Raises RunError naming the file, and the line, that cannot be used."""
        recording = cls(folder, read_description(folder))
        if not (folder / TRACES).is_file():
            raise RunError(f"{folder} has no {TRACES}.", "Name a folder that itx run --out made.")
        recording.scan(1)
        return recording

    @property
    def entries(self) -> Sequence[Entry]:
        """The prompts read so far."""
        return self._entries

    def scan(self, limit: int) -> bool:
        """Read on for at most ``limit`` lines; return True at the end of what is written now.

        Raises RunError for a broken line, once: the next call goes on behind it.
        """
        with self._scanning:
            try:
                with (self.folder / TRACES).open("rb") as file:
                    file.seek(self._offset)
                    for _ in range(limit):
                        line = file.readline()
                        self.is_complete = not line or line.endswith(b"\n")
                        if not line or not self.is_complete:
                            return True
                        self._read_head(line)
                    return not file.peek(1)
            except OSError as error:
                raise self._refuse_reading(error) from error

    def _read_head(self, line: bytes) -> None:
        offset = self._offset
        self._offset += len(line)
        self._line += 1
        try:
            head = decode(_HEAD, line)
        except ValueError as error:
            raise refuse_line(self.folder, self._line, str(error)) from error
        entry = Entry(
            prompt_id=head.prompt_id,
            prompt=head.prompt,
            error=head.error is not None,
            cancelled=head.cancelled,
            line=self._line,
            offset=offset,
            size=len(line),
        )
        place = self._places.setdefault(entry.prompt_id, len(self._entries))
        if place == len(self._entries):
            self._entries.append(entry)
        else:
            self._entries[place] = entry

    def scan_all(self) -> None:
        """Read on to the end. Raises RunError for a broken line."""
        while not self.scan(1000):
            pass

    def trace(self, prompt_id: str) -> Trace:
        """Return a prompt's trace: the last line read of it; reads on where the prompt is not known yet.

        Raises RunError where the run has no such prompt or its line cannot be used.
        """
        while prompt_id not in self._places:
            if self.scan(100) and prompt_id not in self._places:
                raise RunError(
                    f"{self.folder} has no prompt {prompt_id!r}.",
                    f"itx open {shlex.quote(str(self.folder))} lists its prompts.",
                )
        return self._load(self._entries[self._places[prompt_id]])

    def traces(self) -> Iterator[Trace]:
        """Yield every prompt's trace, in the order of ``entries``, one in memory at a time."""
        self.scan_all()
        for entry in list(self._entries):
            yield self._load(entry, keep=False)

    def borrowing(self, prompt_id: str, author: str) -> Borrowing | None:
        """Return what the author's response to a prompt borrowed, or None where that is not recorded.

        Raises RunError where the run has no such prompt, or a line cannot be used.
        """
        response = self.trace(prompt_id).response(author)
        return None if response is None else self._borrowings.find(prompt_id, response)

    def borrowings_of(self, trace: Trace) -> dict[str, Borrowing]:
        """Return what the responses of a trace borrowed, by author; those not recorded are left out."""
        found = ((each.author, self._borrowings.find(trace.prompt_id, each)) for each in trace.responses)
        return {author: borrowing for author, borrowing in found if borrowing is not None}

    def marks(self, prompt_id: str | None = None, author: str | None = None) -> list[Mark]:
        """Return the judgements that stand now: all, or those of one prompt or response. Raises RunError."""
        book = MarkBook(self.folder)
        return [mark for mark in book.marks if prompt_id in {None, mark.prompt_id} and author in {None, mark.author}]

    def _load(self, entry: Entry, keep: bool = True) -> Trace:
        with self._keeping:
            if entry.offset in self._kept:
                self._kept.move_to_end(entry.offset)
                return self._kept[entry.offset]
        try:
            with (self.folder / TRACES).open("rb") as file:
                file.seek(entry.offset)
                line = file.read(entry.size)
        except OSError as error:
            raise self._refuse_reading(error) from error
        try:
            trace = check_trace(decode(_TRACE, line), self.run)
        except ValueError as error:
            raise refuse_line(self.folder, entry.line, str(error)) from error
        if keep:
            with self._keeping:
                self._kept[entry.offset] = trace
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return trace

    def _refuse_reading(self, error: OSError) -> RunError:
        return RunError(
            f"{self.folder / TRACES} cannot be read: {error.strerror}.", f"ls -l {shlex.quote(str(self.folder))}"
        )
