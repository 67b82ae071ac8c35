"""The runs that itx keeps when no folder is named."""

from __future__ import annotations

import datetime
import os
import re
import shlex
from pathlib import Path

from itx.config import runs_folder
from itx.errors import RunError
from itx.runs.description import is_run
from itx.runs.lines import DESCRIPTION, TRACES
from itx.runs.lock import LOCK

_LONGEST_NAME = 60
DEEPEST = 4
"""How many folders below a named one runs are sought in."""
_MOST_FOLDERS = 10_000
"""Folders that are looked into at most: somebody may name their home."""


def newest_run() -> Path:
    """Return the kept run that was written to last. Raises RunError where there is none."""
    root = runs_folder()
    try:
        runs = [folder for folder in root.iterdir() if is_run(folder) and (folder / TRACES).is_file()]
    except FileNotFoundError:
        runs = []
    except OSError as error:
        raise RunError(f"{root} cannot be read: {error.strerror}.", f"ls -ld {shlex.quote(str(root))}") from error
    if not runs:
        raise RunError(f"No run is recorded under {root}.", "Record one with itx demo, or name a folder.")
    return max(runs, key=lambda folder: ((folder / TRACES).stat().st_mtime_ns, folder.name))


def list_runs(root: Path, deepest: int = DEEPEST) -> list[Path]:
    """Return the runs at and below a folder, by path; a run is not searched for others, links are not followed.

    Hidden folders below ``root``, and what cannot be read, are passed over.
    """
    found: list[Path] = []
    waiting = [(root, 0)]
    for folder, depth in waiting:
        if is_run(folder):
            found.append(folder)
            continue
        if depth >= deepest:
            continue
        try:
            with os.scandir(folder) as entries:
                below = [
                    Path(entry.path)
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            continue
        waiting.extend((path, depth + 1) for path in sorted(below)[: _MOST_FOLDERS - len(waiting)])
    return sorted(found)


def new_run_folder(name: str) -> Path:
    """Make and return an empty folder ``DATE-NAME`` under the kept runs, numbered where that one exists.

    ``name`` may be anything; what a file's name should not have becomes ``-``. Raises RunError.
    """
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:_LONGEST_NAME] or "run"
    stem = f"{datetime.date.today().isoformat()}-{plain}"
    root = runs_folder()
    number = 1
    while True:
        folder = root / (stem if number == 1 else f"{stem}-{number}")
        try:
            root.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if not root.is_dir():
                raise RunError(f"{root} is not a folder.", "Name a folder with --out.") from None
            number += 1
        except OSError as error:
            raise RunError(f"{folder} cannot be made: {error.strerror}.", "Name a folder with --out.") from error
        else:
            return folder


def discard_unused(folder: Path) -> bool:
    """Remove a folder from ``new_run_folder`` in which no prompt was recorded; return True where it is gone.

    Call it when the recorder is closed: it removes nothing but what an unused recorder leaves.
    """
    if not folder.is_dir():
        return not folder.exists()
    paths = list(folder.iterdir())
    if {path.name for path in paths} - {LOCK, TRACES, DESCRIPTION}:
        return False
    if any(path.name == TRACES and path.stat().st_size for path in paths):
        return False
    for path in paths:
        path.unlink()
    folder.rmdir()
    return True
