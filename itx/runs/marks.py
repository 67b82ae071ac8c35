"""``marks.jsonl``: a person's judgements of spans and of their sources, as events that are only ever added.

The last event of a span, or of a source of it, counts; ``cleared`` takes a judgement back.
"""

from __future__ import annotations

import shlex
import threading
from pathlib import Path

import msgspec

from itx.errors import RunError
from itx.records import Mark
from itx.runs.appending import LineFile
from itx.runs.lines import MARKS, decode

_MARK = msgspec.json.Decoder(Mark)
_Place = tuple[str, str, int, int, str | None]


class MarkBook:
    """The marks of a run's folder. Reading needs no right to write; threads may share it.

    Events that another process adds are seen once ``refresh`` is called.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there. Raises RunError naming the line that cannot be used."""
        self._folder = folder
        self._file = LineFile(folder / MARKS, _is_mark)
        self._current: dict[_Place, Mark] = {}
        self._offset = 0
        self._line = 0
        self._reading = threading.RLock()
        self.refresh()

    @property
    def marks(self) -> list[Mark]:
        """The judgements that stand, in the order in which they were made."""
        with self._reading:
            return list(self._current.values())

    def of(self, prompt_id: str, author: str) -> list[Mark]:
        """Return the judgements that stand of one response."""
        return [mark for mark in self.marks if (mark.prompt_id, mark.author) == (prompt_id, author)]

    def verdict(self, prompt_id: str, author: str, start: int, end: int, row: str | None = None) -> Mark | None:
        """Return the judgement of a span (positions, end exclusive), or with ``row`` of a source of it."""
        with self._reading:
            return self._current.get((prompt_id, author, start, end, row))

    def add(self, mark: Mark) -> None:
        """Write one event and wait until it is on the disk. Raises RunError where the disk refuses."""
        try:
            _check(mark)
            line = msgspec.json.encode(mark)
        except (UnicodeEncodeError, ValueError) as error:
            raise RunError(f"This mark cannot be recorded: {error}.", "Mark a span of a recorded response.") from error
        with self._reading:
            self._file.append(line)
            self.refresh()

    def refresh(self) -> None:
        """Read the events added since. A line in the making is left for later. Raises RunError for a broken one."""
        path = self._folder / MARKS
        with self._reading:
            try:
                with path.open("rb") as file:
                    file.seek(self._offset)
                    for line in file:
                        whole = line.endswith(b"\n")
                        if whole or _is_mark(line):
                            self._read(line)
                        if not whole:
                            # What another process adds to it meanwhile would be taken for a line of its own.
                            break
            except FileNotFoundError:
                return
            except OSError as error:
                raise RunError(
                    f"{path} cannot be read: {error.strerror}.", f"ls -l {shlex.quote(str(self._folder))}"
                ) from error

    def _read(self, line: bytes) -> None:
        if line.endswith(b"\n"):
            self._offset += len(line)
            self._line += 1
        try:
            mark = decode(_MARK, line)
            _check(mark)
        except ValueError as error:
            path = self._folder / MARKS
            remedy = f"To drop this line and keep a copy: sed -i.bak {self._line}d {shlex.quote(str(path))}"
            raise RunError(f"{path}, line {self._line}: {error}.", remedy) from error
        place = (mark.prompt_id, mark.author, mark.start, mark.end, mark.row)
        # Taken out first, so that the order is that of the last events.
        self._current.pop(place, None)
        if mark.verdict != "cleared":
            self._current[place] = mark

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _is_mark(line: bytes) -> bool:
    try:
        _check(decode(_MARK, line))
    except ValueError:
        return False
    return True


def _check(mark: Mark) -> None:
    if not 0 <= mark.start < mark.end:
        raise ValueError(f"a span from {mark.start} to {mark.end}")
