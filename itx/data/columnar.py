"""The rows of Parquet and Arrow files and of data sets on the hub, a batch at a time, without columns of no text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from itx.data.entries import Entry
from itx.errors import InputError, MissingExtraError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 256
"""Rows that are made at once."""


def read_parquet(path: Path) -> Iterator[Entry]:
    """Yield the rows of a Parquet file. Raises InputError for a file that is none, MissingExtraError."""
    pa = _load_arrow()
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refuse(path, "Parquet", error) from error
    with file:
        names = _choose_columns(file.schema_arrow)
        batches = file.iter_batches(batch_size=_BATCH, columns=names)
        yield from _read_batches(batches, pa.ArrowException)


def read_arrow(path: Path, layout: Literal["stream", "file"]) -> Iterator[Entry]:
    """Yield the rows of an Arrow file (``save_to_disk`` writes streams). Errors as for Parquet."""
    pa = _load_arrow()
    try:
        # Not mapped: a file that is cut short while it is mapped kills the process.
        opened = pa.OSFile(str(path))
        reader = pa.ipc.open_stream(opened) if layout == "stream" else pa.ipc.open_file(opened)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refuse(path, "Arrow", error) from error
    with opened, reader:
        batches = reader if layout == "stream" else map(reader.get_batch, range(reader.num_record_batches))
        yield from _read_batches(iter(batches), pa.ArrowException)


def read_hub(name: str, config: str | None, split: str | None) -> Iterator[Entry]:
    """Yield the rows of a data set on the hub, of its split ``train`` where none is named.

    Raises MissingExtraError without the package datasets, UsageError where the data set or its split cannot be had.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", "hub") from error
    pa = _load_arrow()
    with _without_bars():
        try:
            data = datasets.load_dataset(name, config, split=split or "train")
        except Exception as error:  # the package raises whatever its parts raise
            raise UsageError(
                f"There is no file or folder {name}, and no data set of that name could be loaded: {error}",
                "Check the path; a data set is named OWNER/NAME, OWNER/NAME:SPLIT or OWNER/NAME/CONFIG:SPLIT.",
            ) from error
    tables = data.with_format("arrow").iter(batch_size=_BATCH)
    yield from _read_batches((batch for table in tables for batch in table.to_batches()), pa.ArrowException)


@contextmanager
def _without_bars() -> Iterator[None]:
    import datasets

    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not shown:
            datasets.enable_progress_bars()


def _load_arrow() -> ModuleType:
    try:
        return import_module("pyarrow")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data") from error


def _refuse(path: Path, kind: str, error: Exception) -> InputError:
    return InputError(f"{path} is no whole {kind} file: {error}.", "Write or download it again.")


def _read_batches(batches: Iterator[pa.RecordBatch], failure: type[Exception]) -> Iterator[Entry]:
    index = 0
    while True:
        try:
            batch = next(batches, None)
        except (failure, OSError, ValueError) as error:
            yield Entry(index=index, fault=f"the file breaks off here ({error})")
            return
        if batch is None:
            return
        batch = batch.select(_choose_columns(batch.schema))
        for start in range(0, batch.num_rows, _BATCH):
            piece = batch.slice(start, _BATCH)
            yield from _read_piece(piece, index)
            index += piece.num_rows


def _read_piece(piece: pa.RecordBatch, index: int) -> Iterator[Entry]:
    try:
        piece.validate(full=True)
        rows = piece.to_pylist() if piece.num_columns else [{}] * piece.num_rows
    except (ValueError, OverflowError) as error:
        if piece.num_rows > 1:
            for place in range(piece.num_rows):
                yield from _read_piece(piece.slice(place, 1), index + place)
        else:
            yield Entry(index=index, fault=f"not valid: {error}")
        return
    for place, row in enumerate(rows):
        yield Entry(index=index + place, value=row)


def _choose_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _can_hold_text(field.type)]


def _can_hold_text(kind: pa.DataType) -> bool:
    """Whether values of a type are text, numbers, booleans, lists of such, or objects with one of them."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _can_hold_text(kind.value_type)
    if types.is_struct(kind):
        return any(_can_hold_text(field.type) for field in kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _can_hold_text(kind.value_type)
    plain = (types.is_string, types.is_large_string, types.is_string_view, types.is_boolean, types.is_null)
    return any(is_one(kind) for is_one in plain) or types.is_integer(kind) or types.is_floating(kind)
