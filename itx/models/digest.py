"""The digest of a large file, remembered while the file stays what it was.

What was read once is kept in the cache folder by the file's place, size, inode and times of change; a file that was
written to, replaced or copied has others. So tens of gigabytes of weights are read for their fingerprint once, and not
at each start. A file that changed within the last seconds is not remembered: clocks of file systems may be coarse.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Final

import msgspec

from itx.config import cache_folder
from itx.records import Record

_BLOCK: Final = 1 << 20
_COARSE: Final = 2.0
"""Seconds in which two writes may get one time."""
_SMALL: Final = 1 << 20
"""Bytes that are read again faster than they are looked up."""


class Digest(Record, frozen=True, kw_only=True):
    """What is remembered of a file. ``passed`` names the checks that its content passed."""

    path: str
    device: int
    inode: int
    size: int
    modified: int
    changed: int
    sha256: str
    passed: list[str] = []


def digest_file(path: Path, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return a file's SHA-256 in hexadecimal, as it is remembered or as it is read now.

    Raises CancelledError soon after ``stopped`` says so, and OSError.
    """
    known = recall_digest(path)
    if known is not None and not stopped():
        return known.sha256
    before = path.stat()
    digest = hashlib.sha256()
    block = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            if stopped():
                raise CancelledError
            digest.update(block[:size])
    found = digest.hexdigest()
    after = path.stat()
    still = time.time() - max(after.st_mtime, after.st_ctime) > _COARSE
    if after.st_size >= _SMALL and still and _tell_apart(before) == _tell_apart(after):
        _write(_describe(path, after, found))
    return found


def recall_digest(path: Path) -> Digest | None:
    """Return what is remembered of a file that has not changed since; None where nothing is. Raises OSError."""
    now = path.stat()
    try:
        known = msgspec.json.decode(_place(path).read_bytes(), type=Digest)
    except (OSError, msgspec.DecodeError):
        # Nothing is remembered, or half of it: the file itself says all.
        return None
    return known if msgspec.structs.replace(known, passed=[]) == _describe(path, now, known.sha256) else None


def remember_check(path: Path, name: str) -> None:
    """Remember that the content of a file, whose digest is remembered, passed a check. Raises OSError."""
    known = recall_digest(path)
    if known is not None and name not in known.passed:
        _write(msgspec.structs.replace(known, passed=[*known.passed[-7:], name]))


def _tell_apart(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _describe(path: Path, stat: os.stat_result, sha256: str) -> Digest:
    device, inode, size, modified, changed = _tell_apart(stat)
    return Digest(
        path=os.fsdecode(path.resolve()).encode("utf-8", "backslashreplace").decode(),
        device=device,
        inode=inode,
        size=size,
        modified=modified,
        changed=changed,
        sha256=sha256,
    )


def _place(path: Path) -> Path:
    return cache_folder() / "digests" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()}.json"


def _write(known: Digest) -> None:
    place = _place(Path(known.path))
    # A cache that cannot be written costs time at the next start, and nothing else.
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=place.parent, prefix=".", suffix=".json")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(msgspec.json.encode(known))
            Path(name).replace(place)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
