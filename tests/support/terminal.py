"""A real process on a pseudo-terminal, and a small screen that draws what it writes.

The screen knows what a full-screen program needs: cursor moves, erasing, wide characters, the alternate screen's
switch. Colours and modes are read over. It is for tests and the bench: what a person would see, byte by byte.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rich.cells import cell_len

_SEQUENCE = re.compile(
    rb"\x1b\[(?P<parameters>[0-?]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    rb"|\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)"
    rb"|\x1b[ -/]*[0-Z\\^-~]"
)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]P_^X][^\x07\x1b]*\x1b?|[ -/]*)?$")


class Screen:
    """A grid of ``rows`` × ``columns`` characters; ``feed`` draws bytes on it."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._cells = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0
        self._pending = b""

    @property
    def lines(self) -> list[str]:
        """The rows as text (the second cell of a wide character holds nothing)."""
        return ["".join(row) for row in self._cells]

    @property
    def text(self) -> str:
        """The whole screen, rows joined by line feeds, trailing blanks cut."""
        return "\n".join(line.rstrip() for line in self.lines)

    def feed(self, data: bytes) -> None:
        """Draw ``data``; an unfinished sequence or character waits for the rest."""
        data = self._pending + data
        place = 0
        while place < len(data):
            if data[place] != 0x1B:
                stop = data.find(b"\x1b", place)
                stop = len(data) if stop < 0 else stop
                kept = self._print(data[place:stop], final=stop < len(data))
                place = stop - kept
                if kept:
                    break
                continue
            match = _SEQUENCE.match(data, place)
            if match is None:
                if _UNFINISHED.match(data, place):
                    break
                place += 1
                continue
            if match["final"]:
                self._control(match["final"], match["parameters"])
            place = match.end()
        self._pending = data[place:]

    def _print(self, data: bytes, *, final: bool) -> int:
        """Draw text; return how many last bytes are a character's unfinished beginning."""
        kept = 0
        if not final:
            for size in range(1, min(4, len(data) + 1)):
                lead = data[-size]
                if lead >= 0xC0:
                    need = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
                    kept = size if size < need else 0
                    break
                if lead < 0x80:
                    break
        for char in data[: len(data) - kept].decode("utf-8", "replace"):
            self._draw(char)
        return kept

    def _draw(self, char: str) -> None:
        if char == "\n":
            self._row = min(self._row + 1, self.rows - 1)
        elif char == "\r":
            self._column = 0
        elif char == "\b":
            self._column = max(self._column - 1, 0)
        elif char >= " ":
            width = cell_len(char)
            if width == 0:
                if self._column:
                    self._cells[self._row][self._column - 1] += char
                return
            if self._column + width > self.columns:
                self._column = self.columns - width
            self._cells[self._row][self._column] = char
            if width == 2:
                self._cells[self._row][self._column + 1] = ""
            self._column += width

    def _control(self, final: bytes, parameters: bytes) -> None:
        if parameters[:1] in (b"?", b">", b"=", b"<"):
            if parameters in (b"?1049", b"?47", b"?1047"):
                self._erase(0, 0, self.rows - 1, self.columns)
            return
        numbers = [int(part or 0) for part in re.split(rb"[;:]", parameters)] if parameters else []
        first = numbers[0] if numbers else 0
        step = max(first, 1)
        if final in b"Hf":
            self._row = min(step, self.rows) - 1
            self._column = min(max(numbers[1] if len(numbers) > 1 else 1, 1), self.columns) - 1
        elif final == b"A":
            self._row = max(self._row - step, 0)
        elif final == b"B":
            self._row = min(self._row + step, self.rows - 1)
        elif final == b"C":
            self._column = min(self._column + step, self.columns - 1)
        elif final == b"D":
            self._column = max(self._column - step, 0)
        elif final == b"G":
            self._column = min(step, self.columns) - 1
        elif final == b"d":
            self._row = min(step, self.rows) - 1
        elif final == b"J":
            here, last = (self._row, self._column), (self.rows - 1, self.columns)
            start, stop = {0: (here, last), 1: ((0, 0), here)}.get(first, ((0, 0), last))
            self._erase(*start, *stop)
        elif final == b"K":
            start, stop = {0: (self._column, self.columns), 1: (0, self._column + 1)}.get(first, (0, self.columns))
            self._erase(self._row, start, self._row, stop)

    def _erase(self, row: int, column: int, last_row: int, last_column: int) -> None:
        for line in range(row, last_row + 1):
            begin = column if line == row else 0
            end = last_column if line == last_row else self.columns
            self._cells[line][begin:end] = [" "] * (min(end, self.columns) - begin)


@dataclass
class Terminal:
    """A command on a pseudo-terminal of its own. ``written`` counts what it wrote; ``raw`` keeps it."""

    command: Sequence[str]
    rows: int = 40
    columns: int = 120
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    keep: bool = True
    started: float = 0.0
    process: int = 0
    """The process's id."""
    code: int | None = None
    """The exit code once it has ended."""
    written: int = 0
    raw: bytearray = field(default_factory=bytearray)

    def __enter__(self) -> Terminal:
        self.screen = Screen(self.rows, self.columns)
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **self.environment}
        for name in {"COLUMNS", "LINES", "NO_COLOR"} - set(self.environment):
            environment.pop(name, None)
        self.started = time.perf_counter()
        self.process, self._master = pty.fork()
        if self.process == 0:
            try:
                if self.folder is not None:
                    os.chdir(self.folder)
                termios.tcsetwinsize(0, (self.rows, self.columns))
                os.execvpe(self.command[0], list(self.command), environment)
            finally:
                os._exit(127)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.code is None:
            os.kill(self.process, signal.SIGKILL)
            self._reap()
        os.close(self._master)

    def _reap(self) -> None:
        _, status = os.waitpid(self.process, 0)
        self.code = os.waitstatus_to_exitcode(status)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size; the process is told by its signal."""
        termios.tcsetwinsize(self._master, (rows, columns))
        self.screen = Screen(rows, columns)

    def send(self, keys: str) -> None:
        """Type ``keys``."""
        os.write(self._master, keys.encode())

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Send a signal to the process."""
        os.kill(self.process, number)

    def read(self, timeout: float) -> bytes | None:
        """Draw what comes within ``timeout`` seconds and return it; b"" where nothing came, None at the end."""
        ready, _, _ = select.select([self._master], [], [], max(timeout, 0))
        if not ready:
            return b""
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return None
        if not data:
            return None
        self.written += len(data)
        if self.keep:
            self.raw += data
        self.screen.feed(data)
        return data

    def wait(self, seen: Callable[[Screen], bool], timeout: float = 30.0) -> float:
        """Read until the screen looks as ``seen`` wants, and return when (perf_counter of the last read).

        Raises TimeoutError with the screen's text where it does not within ``timeout`` seconds or at the end.
        """
        limit = time.perf_counter() + timeout
        while not seen(self.screen):
            left = limit - time.perf_counter()
            if left <= 0 or self.read(left) is None:
                raise TimeoutError(f"not seen within {timeout} s; the screen shows:\n{self.screen.text}")
        return time.perf_counter()

    def finish(self, timeout: float = 30.0) -> int:
        """Read to the end and return the exit code (negative: the signal that ended it)."""
        limit = time.perf_counter() + timeout
        while self.read(limit - time.perf_counter()) is not None:
            if time.perf_counter() > limit:
                raise TimeoutError(f"still running after {timeout} s; the screen shows:\n{self.screen.text}")
        if self.code is None:
            self._reap()
        assert self.code is not None
        return self.code
