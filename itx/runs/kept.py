"""Figures of runs that are kept beside them in the cache folder, so that they need not be counted again.

A figure is known by the run's path and by the time and size of every file it was made from: when one of them differs,
or the figure's own version does, it is made anew. Nothing is ever written into a run.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from itx.config import cache_folder
from itx.records import Record
from itx.runs.lines import BORROW, DESCRIPTION, FACTS, MARKS, TRACES, VERIFY

Shape = TypeVar("Shape")
Stamp = list[tuple[str, int, int]]
"""Name, time of the last change in nanoseconds, and size of each file there is."""

_FILES = (DESCRIPTION, TRACES, BORROW, MARKS, FACTS, VERIFY)


class _Kept(Record, frozen=True, kw_only=True):
    path: str
    version: int
    stamp: Stamp
    value: msgspec.Raw


def stamp_run(folder: Path) -> Stamp:
    """Return what a run's files look like now; those that are not there, or cannot be looked at, are left out."""
    found: Stamp = []
    for name in _FILES:
        with suppress(OSError):
            status = (folder / name).stat()
            found.append((name, status.st_mtime_ns, status.st_size))
    return found


def _place(kind: str, folder: Path) -> Path:
    path = str(folder.resolve())
    return cache_folder() / "figures" / f"{hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()}.{kind}"


def find_kept(kind: str, folder: Path, version: int, shape: type[Shape]) -> Shape | None:
    """Return the figures of a kind that were kept of a run as it is now; None where there are none, or broken ones."""
    try:
        kept = msgspec.msgpack.decode(_place(kind, folder).read_bytes(), type=_Kept)
        if kept.path != str(folder.resolve()) or kept.version != version or kept.stamp != stamp_run(folder):
            return None
        return msgspec.msgpack.decode(kept.value, type=shape)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return None


def keep(kind: str, folder: Path, version: int, stamp: Stamp, value: object) -> bool:
    """Keep figures that were made from files as ``stamp`` says (taken before they were read); return whether it went.

    A cache that cannot be written is no failure: the figures are made again the next time.
    """
    place = _place(kind, folder)
    new = place.with_suffix(f"{place.suffix}.{os.getpid()}")
    try:
        raw = msgspec.Raw(msgspec.msgpack.encode(value))
        data = msgspec.msgpack.encode(
            _Kept(path=str(folder.resolve()), version=version, stamp=stamp, value=raw),
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(data)
        new.replace(place)
    except (OSError, UnicodeEncodeError):
        with suppress(OSError):
            new.unlink(missing_ok=True)
        return False
    return True
