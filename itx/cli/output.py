"""Results go to a file, whole or not at all, or to standard output."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path

import typer

from itx.errors import ItxError, UsageError
from itx.runs.description import is_part_of_run


def write_text(text: str, path: Path | None) -> None:
    """Write ``text`` to ``path``, or to standard output where it is None."""
    if path is None:
        typer.echo(text, nl=False)
    else:
        write_pieces([text], path)


def write_pieces(pieces: Iterable[str | bytes], path: Path) -> None:
    """Write the pieces to ``path`` through a file beside it, so that a failure leaves what was there before.

    Raises UsageError where the folder is missing or the file is a run's own, and ItxError where the disk refuses.
    """
    if not path.parent.is_dir():
        raise UsageError(f"The folder {path.parent} does not exist.", f"mkdir -p {shlex.quote(str(path.parent))}")
    if is_part_of_run(path):
        raise UsageError(f"{path} is a part of a recorded run and would be lost.", "Name another file with -o.")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ItxError(f"{path} cannot be written: {error.strerror}.", "Name another file with -o.") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(piece.encode() if isinstance(piece, str) else piece for piece in pieces)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ItxError(f"{path} cannot be written: {error.strerror}.", "Name another file with -o.") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
