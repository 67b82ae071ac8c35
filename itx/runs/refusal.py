"""What a disk refuses, in words."""

from __future__ import annotations

import errno
import shlex
from pathlib import Path

from itx.errors import RunError


def refuse_writing(folder: Path, error: OSError) -> RunError:
    """Return the error for a run's folder that the system does not let be written, with what to do about it."""
    remedy = "Name another folder with --out."
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        room = f"Free space (df -h {shlex.quote(str(folder))})"
        remedy = f"{room}, then give the same command again: finished prompts are kept."
    elif error.errno == errno.EFBIG:
        remedy = "Raise the limit (ulimit -f), then give the same command again: finished prompts are kept."
    return RunError(f"{folder} cannot be written: {error.strerror}.", remedy)
