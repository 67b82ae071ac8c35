"""The bytes of a data file as it was when it was opened: unpacked, bounded, and never failing in the middle."""

from __future__ import annotations

import io
import os
import shlex
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from itx.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
_PACKED_CHUNK = 1 << 11
"""Bytes that are unpacked at once. Small, since what they unpack to may be a thousand times as long."""
_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_WIDEST_WINDOW = 1 << 31
_GZIP_MEMBER = 31
"""zlib's number for: a gzip header, and the widest window."""


class _Reads(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


class _Unpacks(Protocol):
    """One member of a ``.gz``, one frame of a ``.zst``."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Start(io.RawIOBase):
    """The first ``size`` bytes of a file: what is appended later is not seen."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        view = memoryview(buffer)[: self._left]
        count = self._file.readinto(view) if self._left else 0
        self._left -= count or 0
        return count


class _Unpacked:
    """Members or frames, one after another. Of a cut one all that can be unpacked comes before the error.

    (The readers that the packages have raise before what they hold is read, or end in silence.)
    """

    def __init__(self, packed: BinaryIO, begin: Callable[[], _Unpacks]) -> None:
        self._packed = packed
        self._begin = begin
        self._frame: _Unpacks | None = None
        self._rest = b""
        self._ready = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        while not self._ready:
            piece = self._rest or self._packed.read(_PACKED_CHUNK)
            self._rest = b""
            if not piece:
                if self._frame:
                    raise EOFError("the packed data ends before its end mark")
                return 0
            if not self._frame:
                # Between members there may be padding.
                piece = piece.lstrip(b"\0")
                if not piece:
                    continue
                self._frame = self._begin()
            self._ready = memoryview(self._frame.decompress(piece))
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


class Source(io.RawIOBase):
    """What a file unpacks to (``.gz`` and ``.zst`` are known by their first bytes).

    A stream that breaks off ends there, and ``fault`` says why. Close it after use. Raises UsageError for a file that
    cannot be opened, MissingExtraError for ``.zst`` without zstandard.
    """

    def __init__(self, path: Path) -> None:
        self.fault: str | None = None
        self._path = path
        try:
            self._file = io.FileIO(path)
            self._size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise refuse_unreadable(path, error) from error
        start = io.BufferedReader(_Start(self._file, self._size), CHUNK)
        self.packed = True
        self._errors: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
        self._stream: _Reads
        magic = start.peek(4)
        if magic.startswith(_GZIP):
            self._stream = _Unpacked(start, lambda: zlib.decompressobj(_GZIP_MEMBER))
        elif magic.startswith(_ZSTANDARD):
            self._stream = self._unpack_zstandard(start)
        else:
            self._stream, self.packed = start, False

    def _unpack_zstandard(self, start: BinaryIO) -> _Reads:
        try:
            import zstandard
        except ImportError as error:
            self._file.close()
            raise MissingExtraError("zstandard", "data") from error
        self._errors = (*self._errors, zstandard.ZstdError)
        return _Unpacked(start, zstandard.ZstdDecompressor(max_window_size=_WIDEST_WINDOW).decompressobj)

    @property
    def at_end(self) -> bool:
        """Whether all of the file, as it was when it was opened, was read."""
        return self._file.tell() >= self._size

    @property
    def grew(self) -> bool:
        """Whether the file has become longer since it was opened."""
        return os.fstat(self._file.fileno()).st_size > self._size

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Fill ``buffer`` and return how many bytes it got; 0 at the end, or where the file breaks off."""
        if self.fault:
            return 0
        try:
            return self._stream.readinto(memoryview(buffer))
        except self._errors as error:
            self.fault = f"the file breaks off here ({error})"
            return 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def refuse_unreadable(path: Path, error: OSError) -> UsageError:
    """Return the error for a file that the system does not let itx read."""
    return UsageError(f"{path} cannot be read: {error.strerror}.", f"ls -l {shlex.quote(str(path))}")
