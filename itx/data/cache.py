"""Folders of finished indexes, each named by a hash of all that went into it: built once, whole or not at all.

An index is built in a folder beside its place and renamed when it is finished, with a list of its files and their
sizes. What a killed process left, a file cut short, another version: none of it is taken for an index.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from itx.errors import ItxError

DESCRIPTION = "index.json"
Tell = Callable[[str, float], None]
"""Takes what is being done and the fraction done, from 0 to 1; with ``NOTICE``, something a person must know."""
NOTICE = -1.0
_BUILDING = ".building"
_ABANDONED = 86_400
_POLL = 0.2
"""Seconds between two looks at a lock: waiting in flock itself would leave the person without a word."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


def be_silent(doing: str, fraction: float) -> None:
    """Tell nobody."""


class Cache:
    """Finished indexes under one folder. Nothing is created before something is built."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str) -> Path | None:
        """Return the folder of a finished index, or None where there is none or it is not whole."""
        folder = self.root / key
        return folder if read_description(folder) is not None else None

    def build(self, key: str, write: Callable[[Path], Mapping[str, Any]], tell: Tell) -> Path:
        """Return the folder of an index that ``write`` fills; what it returns is the description, kept beside it.

        Only one process builds a key: the others wait for it and take what it built. Raises OSError where the cache
        cannot be written, and ItxError where the disk is full.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with self._alone(key, tell):
            found = self.find(key)
            if found is not None:
                return found
            self._sweep(key)
            place = Path(tempfile.mkdtemp(prefix=f".{key}.", suffix=_BUILDING, dir=self.root))
            try:
                self._fill(place, write)
                self._put(place, self.root / key)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise
        return self.root / key

    def discard(self, key: str) -> None:
        """Remove an index that turned out not to be readable. Raises OSError where the cache cannot be written."""
        if (self.root / key).exists():
            self._remove(self.root / key)

    def forget_others(self, key: str) -> None:
        """Remove the indexes of the same data under the same options as ``key``'s that are of other contents.

        A process that has one open keeps what it has.
        """
        mine = read_description(self.root / key)
        for other in self.root.iterdir() if mine else ():
            if other.name == key or not (other / DESCRIPTION).is_file():
                continue
            with contextlib.suppress(OSError, ValueError):
                theirs = json.loads((other / DESCRIPTION).read_bytes())
                if isinstance(theirs, dict) and theirs.get("subject") == (mine or {}).get("subject"):
                    self._remove(other)

    def _fill(self, place: Path, write: Callable[[Path], Mapping[str, Any]]) -> None:
        try:
            description = dict(write(place))
            description["sizes"] = _measure(place)
            (place / DESCRIPTION).write_text(json.dumps(description), encoding="ascii")
        except OSError as error:
            if error.errno in _FULL:
                raise ItxError(
                    f"The disk of {self.root} is full: the index was not built.", "Name another folder with --out."
                ) from error
            raise
        place.chmod(0o755)

    def _put(self, place: Path, target: Path) -> None:
        if target.exists():
            self._remove(target)
        try:
            place.rename(target)
        except OSError:
            # Without a lock (some network disks have none) another process may have been faster.
            if self.find(target.name) is None:
                raise
            shutil.rmtree(place, ignore_errors=True)

    def _remove(self, folder: Path) -> None:
        """Take a folder out of its place at once, and then delete it."""
        aside = Path(tempfile.mkdtemp(prefix=".old.", suffix=_BUILDING, dir=self.root))
        folder.rename(aside / folder.name)
        shutil.rmtree(aside, ignore_errors=True)

    def _sweep(self, key: str) -> None:
        """Remove what builders left that were killed: all of this key, and of others what is a day old."""
        for left in self.root.glob(f".*{_BUILDING}"):
            with contextlib.suppress(OSError):
                if left.name.startswith(f".{key}.") or time.time() - left.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self, key: str, tell: Tell) -> Iterator[None]:
        path = self.root / f".{key}.lock"
        handle = self._lock(path, tell)
        try:
            yield
        finally:
            # Removed while still locked, so that nobody can lock the name in between.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(handle)

    def _lock(self, path: Path, tell: Tell) -> int:
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(handle), path.lstat()):
                        return handle
            except BlockingIOError:
                tell("waiting for another process that builds this index", NOTICE)
                time.sleep(_POLL)
            except OSError:
                # A disk without locks: two may build, and the first to finish is taken.
                return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)


def read_description(folder: Path) -> dict[str, Any] | None:
    """Return what is known of a finished index; None where it is none, or a file of it is missing or cut short."""
    try:
        description = json.loads((folder / DESCRIPTION).read_bytes())
        sizes = description["sizes"]
        whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return description if whole else None


def _measure(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()
    }
