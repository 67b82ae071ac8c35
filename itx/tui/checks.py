"""What ``itx verify`` found of the spans of a run, as the screen asks for it; one made meanwhile is seen, too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itx.records import Borrowing, Span

if TYPE_CHECKING:
    from itx.runs.verifications import Verification

_FILE = "verify.jsonl"


class Checks:
    """The checks of a run's folder, read again whenever their file is another one."""

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / _FILE if folder is not None else None
        self._stamp: tuple[int, int] | None = None
        self._checks: list[Verification] = []

    def find(self, borrowing: Borrowing, span: Span) -> Verification | None:
        """Return the last check of a span of a response as it stands in the run; None where there is none.

        Raises RunError for a line that cannot be used, once: none of that file is known then.
        """
        if self._file is None:
            return None
        self._read(self._file)
        wanted = borrowing.prompt_id, borrowing.author, span.start, span.end, borrowing.response
        return next(
            (
                check
                for check in reversed(self._checks)
                if (check.prompt_id, check.author, check.start, check.end, check.response) == wanted
            ),
            None,
        )

    def _read(self, file: Path) -> None:
        try:
            status = file.stat()
        except OSError:
            # Nothing was checked yet; what is gone is known no more.
            self._stamp, self._checks = None, []
            return
        stamp = status.st_mtime_ns, status.st_size
        if stamp == self._stamp:
            return
        from itx.runs.verifications import read_verifications

        self._stamp, self._checks = stamp, []
        self._checks = read_verifications(file.parent)
