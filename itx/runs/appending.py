"""Files that only grow: a line is on the disk whole or not at all, and what a killed process left of one is set aside.

Used for what is written beside the traces. Raises RunError, as the recorder does.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from itx.errors import RunError
from itx.runs.refusal import refuse_writing

Shape = TypeVar("Shape")


def open_to_append(path: Path) -> int:
    """Return a handle of a plain file, made where there is none; what is written goes to its end."""
    # A folder from a stranger may hold links: what is appended must not land in another file.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        handle = os.open(path, flags, 0o644)
    except OSError as error:
        raise refuse_writing(path.parent, error) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise RunError(f"{path} is not a plain file.", "Name another folder with --out.")
    return handle


class LineFile:
    """A file of lines that is appended to, by several processes if need be; threads may share it.

    ``is_whole`` says of a last line without its line feed whether it can be read: then only the line feed is missing,
    else the line is moved to the file's name with the ending ``.torn``. The file is made with the first line.
    """

    def __init__(self, path: Path, is_whole: Callable[[bytes], bool]) -> None:
        self.path = path
        self._is_whole = is_whole
        self._handle = -1
        self._writing = threading.Lock()

    def append(self, line: bytes) -> None:
        """Write ``line`` (without a line feed) and wait until it is on the disk. Raises RunError."""
        with self._writing:
            if self._handle < 0:
                self._handle = open_to_append(self.path)
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX)
            except OSError as error:
                raise refuse_writing(self.path.parent, error) from error
            try:
                self._mend()
                self._write(line + b"\n")
            except OSError as error:
                raise refuse_writing(self.path.parent, error) from error
            finally:
                fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._handle).st_size
        try:
            write_whole(self._handle, line)
        except BaseException:
            # An interruption between two writes, or a full disk: the line is whole, or it is gone.
            if os.fstat(self._handle).st_size != size + len(line):
                os.ftruncate(self._handle, size)
            raise

    def _mend(self) -> None:
        size = os.fstat(self._handle).st_size
        if not size or os.pread(self._handle, 1, size - 1) == b"\n":
            return
        start, tail = _read_tail(self._handle, size)
        if self._is_whole(tail):
            write_whole(self._handle, b"\n")
            return
        torn = open_to_append(self.path.with_suffix(".torn"))
        try:
            write_whole(torn, tail + b"\n")
        finally:
            os.close(torn)
        os.ftruncate(self._handle, start)
        os.fsync(self._handle)

    def close(self) -> None:
        """Let go of the file; a later ``append`` opens it again."""
        with self._writing:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def accepts(read: Callable[[bytes], object]) -> Callable[[bytes], bool]:
    """Return whether a line can be read, by a reader that raises ValueError."""

    def check(line: bytes) -> bool:
        try:
            read(line)
        except ValueError:
            return False
        return True

    return check


def read_all(path: Path, read: Callable[[bytes], Shape]) -> list[Shape]:
    """Return every line of such a file as ``read`` has it; none without a file. A last line in the making is left out.

    Raises RunError naming a line for which ``read`` raises ValueError.
    """
    found: list[Shape] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n") and not accepts(read)(line):
                    break
                try:
                    found.append(read(line))
                except ValueError as error:
                    raise RunError(
                        f"{path}, line {number}: {error}.",
                        f"To drop this line and keep a copy: sed -i.bak {number}d {shlex.quote(str(path))}",
                    ) from error
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.", f"ls -l {shlex.quote(str(path.parent))}") from error
    return found


def write_whole(handle: int, data: bytes) -> None:
    """Write all of ``data`` and wait until it is on the disk. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
    os.fsync(handle)


def _read_tail(handle: int, size: int) -> tuple[int, bytes]:
    """Return where the last line starts, and the line."""
    tail = b""
    start = size
    while start and b"\n" not in tail:
        step = min(start, 1 << 16)
        start -= step
        tail = os.pread(handle, step, start) + tail
    cut = tail.rfind(b"\n") + 1
    return start + cut, tail[cut:]
