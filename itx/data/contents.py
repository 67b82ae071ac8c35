"""What the files behind a reference contain, as one hash, remembered by sizes and times."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from itx.data.cache import Tell
from itx.data.source import refuse_unreadable

_KNOWN = "known"
_PIECE = 1 << 20
_SETTLED_NS = 2_000_000_000
"""A file touched less long ago than the coarsest clock of a disk may change again without its time changing."""


class Stamp(NamedTuple):
    """What changes with a file's contents, as far as the system tells."""

    size: int
    modified: int
    changed: int
    inode: int


def stamp_files(paths: Sequence[Path]) -> list[Stamp]:
    """Return the stamp of each file. Raises UsageError for one that is not there."""
    return [_stamp(path) for path in paths]


def hash_files(paths: Sequence[Path], root: Path, tell: Tell) -> str:
    """Return ``sha256:…`` over the contents of the files, in order.

    Hashes are remembered under ``root``, where that can be written. Raises UsageError for a file that cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        total.update(bytes.fromhex(_recall(path, root) or _hash(path, root, tell)))
    return f"sha256:{total.hexdigest()}"


def _stamp(path: Path) -> Stamp:
    try:
        facts = path.stat()
    except OSError as error:
        raise refuse_unreadable(path, error) from error
    return Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


def _hash(path: Path, root: Path, tell: Tell) -> str:
    before, moment = _stamp(path), time.time_ns()
    digest = hashlib.sha256()
    done = 0
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                done += len(piece)
                tell(f"reading {path.name}", min(1.0, done / max(before.size, 1)))
    except OSError as error:
        raise refuse_unreadable(path, error) from error
    if _stamp(path) == before and moment - max(before.modified, before.changed) > _SETTLED_NS:
        _remember(path, root, before, digest.hexdigest())
    return digest.hexdigest()


def _note(path: Path, root: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return root / _KNOWN / f"{name}.json"


def _recall(path: Path, root: Path) -> str | None:
    try:
        stamp, digest = json.loads(_note(path, root).read_bytes())
        if tuple(stamp) == _stamp(path) and len(bytes.fromhex(digest)) == hashlib.sha256().digest_size:
            return str(digest)
    except (OSError, ValueError, TypeError):
        pass
    return None


def _remember(path: Path, root: Path, stamp: Stamp, digest: str) -> None:
    note = _note(path, root)
    # Without it the next opening reads the file again: nothing is lost.
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=note.parent)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(json.dumps([stamp, digest]))
        Path(name).replace(note)
