"""Rows of logits on disk, for models that are not in memory together: what an author said, until others have said it.

A file has the rows of one response, float32, in order. Only a folder that dies with its owner is used.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from itx.errors import MemoryExhaustedError
from itx.models.contract import Arithmetic, Rows
from itx.models.reduction import NumpyArithmetic

_HOST = NumpyArithmetic()
_BYTES = 4


class Spool:
    """A folder of rows, below ``$TMPDIR``."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="itx-rows-")
        self._count = 0

    @staticmethod
    def measure_room() -> int:
        """Return how many bytes a spool may take: half of what is free."""
        return shutil.disk_usage(tempfile.gettempdir()).free // 2

    def open(self, columns: int) -> SpooledRows:
        """Return room for the rows of one response."""
        self._count += 1
        return SpooledRows(Path(self._folder.name) / f"{self._count}.rows", columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()


class SpooledRows:
    """The rows of one response."""

    def __init__(self, path: Path, columns: int) -> None:
        self._path = path
        self._columns = columns

    def append(self, rows: Rows, arithmetic: Arithmetic) -> None:
        """Write rows behind those that are there. Raises MemoryExhaustedError where the disk has no room."""
        values = arithmetic.export(rows)
        try:
            with self._path.open("ab") as file:
                values.tofile(file)
        except OSError as error:
            raise MemoryExhaustedError(
                f"The rows of a response cannot be kept in {self._path.parent}: {error.strerror}.",
                "Name a folder with more room: TMPDIR=FOLDER itx run …, or use a smaller --max-new-tokens.",
            ) from error

    def read(self, start: int, stop: int, arithmetic: Arithmetic) -> Rows:
        """Return the rows of these positions as rows of an engine."""
        count = (stop - start) * self._columns
        values = np.fromfile(self._path, np.float32, count, offset=start * self._columns * _BYTES)
        return arithmetic.adopt(values.reshape(stop - start, self._columns), _HOST)


def measure_rows(positions: int, columns: int) -> int:
    """Return the bytes that so many rows take."""
    return positions * columns * _BYTES
