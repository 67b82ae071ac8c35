"""The tidy table as a Parquet file, a group of rows at a time.

It needs the package pyarrow, which is imported when it is called for; MissingExtraError says so.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from itx.errors import MissingExtraError, RunError
from itx.records import Run, Trace
from itx.report.borrowing import FindBorrowings
from itx.report.table import COLUMNS, Value, tidy_blocks

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 1 << 16
"""Rows of a group: what is in memory at a time."""

_TEXTS = ("prompt_id", "author", "scorer", "piece", "shift", "category", "borrow")
_COUNTS = ("position", "token_id", "rank", "ties", "span_id")
_FLAGS = ("exact", "initiation")


def _import_pyarrow() -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data") from error
    return pa


def build_schema() -> pa.Schema:
    """Return the columns' types: texts by dictionary, counts as 64-bit integers, figures as doubles."""
    pa = _import_pyarrow()
    kinds = {
        **dict.fromkeys(_TEXTS, pa.dictionary(pa.int32(), pa.string())),
        **dict.fromkeys(_COUNTS, pa.int64()),
        **dict.fromkeys(_FLAGS, pa.bool_()),
    }
    return pa.schema([(column, kinds.get(column, pa.float64())) for column in COLUMNS])


def tidy_batches(
    run: Run, traces: Iterable[Trace], find_borrowings: FindBorrowings | None = None, group: int = GROUP
) -> Iterator[pa.RecordBatch]:
    """Yield the tidy table in batches of about ``group`` rows (whole responses). Raises RunError for a count beyond
    64 bits.
    """
    schema = build_schema()
    gathered: dict[str, list[Value]] = {column: [] for column in COLUMNS}
    for block in tidy_blocks(run, traces, find_borrowings):
        for column, values in block.columns.items():
            gathered[column].extend(values)
        if len(gathered["position"]) >= group:
            yield _make_batch(schema, gathered)
            gathered = {column: [] for column in COLUMNS}
    if gathered["position"]:
        yield _make_batch(schema, gathered)


def build_table(run: Run, traces: Iterable[Trace], find_borrowings: FindBorrowings | None = None) -> pa.Table:
    """Return the tidy table, whole in memory. Raises MissingExtraError, RunError."""
    pa = _import_pyarrow()
    batches = list(tidy_batches(run, traces, find_borrowings))
    # Dictionaries of batches are made one, which readers of a table expect.
    return pa.Table.from_batches(batches, build_schema()).unify_dictionaries()


def _make_batch(schema: pa.Schema, gathered: dict[str, list[Value]]) -> pa.RecordBatch:
    pa = _import_pyarrow()
    try:
        arrays = [_make_array(field.type, gathered[field.name]) for field in schema]
    except (OverflowError, pa.ArrowInvalid) as error:
        raise RunError(
            f"The table has a figure that Arrow cannot hold: {error}.", "itx export --format jsonl"
        ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _make_array(kind: pa.DataType, values: Sequence[Value]) -> pa.Array:
    pa = _import_pyarrow()
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, kind)


class _Pieces(io.RawIOBase):
    """A file whose bytes are taken away while it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._waiting.append(piece)
        self._size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._waiting)
        self._waiting.clear()
        return taken


def write_parquet(
    run: Run, traces: Iterable[Trace], find_borrowings: FindBorrowings | None = None, group: int = GROUP
) -> Iterator[bytes]:
    """Yield the bytes of a Parquet file, one group of about ``group`` rows after the other.

    Raises MissingExtraError, RunError.
    """
    _import_pyarrow()
    import pyarrow.parquet as pq

    sink = _Pieces()
    with pq.ParquetWriter(sink, build_schema(), compression="zstd", use_dictionary=list(_TEXTS)) as writer:
        for batch in tidy_batches(run, traces, find_borrowings, group):
            writer.write_batch(batch, row_group_size=len(batch))
            yield sink.take()
    yield sink.take()
