"""The files behind a reference to tuning data, what format each is of, and its rows as the file has them."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from itx.data.columnar import read_arrow, read_hub, read_parquet
from itx.data.entries import BYTE_ORDER_MARK, Entry, read_lines, read_table, read_values
from itx.data.source import CHUNK, Source, refuse_unreadable
from itx.errors import InputError, UsageError
from itx.records import Record

Format = Literal["parquet", "arrow stream", "arrow file", "lines", "array", "values", "table"]

KINDS = ".json, .jsonl, .csv, .tsv, .parquet, .arrow, the text ones also as .gz or .zst"
_SUFFIXES = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow"}
_PACKED = {".gz", ".zst"}
_LINES = {".jsonl", ".ndjson"}
_DELIMITERS = {".csv": None, ".tsv": "\t"}
_STATE = "state.json"
_SPLITS = "dataset_dict.json"
_DESCRIPTIONS = {_STATE, _SPLITS, "dataset_info.json", "dataset_infos.json"}
_SPLIT_NAME = re.compile(r"(train|test|validation|valid|val|dev|eval)(?![a-z0-9])", re.IGNORECASE)
_HUB = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:/(\w[\w.-]*))?(?::(\w[\w.-]*))?")
_HEAD = 1 << 16
_PARQUET, _ARROW_FILE, _ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_WIDE = (b"\xff\xfe", b"\xfe\xff")


class DataFile(Record, frozen=True, kw_only=True):
    """A file of rows. ``name`` is what the ids of its rows begin with; ``path`` is None for a data set on the hub."""

    name: str
    shown: str
    path: Path | None


def find_files(reference: str) -> list[DataFile]:
    """Return the files behind a reference: a file, a folder, a pattern such as ``data/train-*``, a data set's id.

    Of a folder whose files (or subfolders) are named after splits, those of the split ``train`` count. A file's name
    stands in the ids of its rows, with the folder it is in where two files have the same. Raises UsageError for what
    is not there, InputError for a folder without data.
    """
    path = _expand(reference)
    try:
        if path.is_dir():
            return _name_files(path, _list_folder(path))
        if path.is_file():
            return [_name_file(path, path.name)]
        if path.exists():
            raise UsageError(f"{path} is not a file.", f"Name a file ({KINDS}) or a folder of such files.")
        if any(mark in reference for mark in "*?["):
            top = Path(path.anchor)
            found = [file for file in sorted(top.glob(str(path.relative_to(top)))) if file.is_file()]
            if found:
                return _name_files(None, found)
    except OSError as error:
        raise refuse_unreadable(path, error) from error
    if parse_hub(reference):
        return [DataFile(name=reference, shown=reference, path=None)]
    raise UsageError(
        f"{reference} does not exist.", f"Name a file ({KINDS}), a folder of such files, or a data set OWNER/NAME."
    )


def parse_hub(reference: str) -> tuple[str, str | None, str | None] | None:
    """Return name, configuration and split of ``OWNER/NAME``, ``OWNER/NAME:SPLIT``, ``OWNER/NAME/CONFIG:SPLIT``."""
    match = _HUB.fullmatch(reference)
    if match is None or _kind(Path(reference)) in _SUFFIXES or Path(reference).suffix.lower() in _PACKED:
        return None
    return match[1], match[2], match[3]


def read_entries(file: DataFile) -> Iterator[Entry]:
    """Yield the rows of a file in order.

    Raises InputError for a file of no known format, UsageError for one that cannot be opened, MissingExtraError. A
    text file that grows is read up to its size at opening; one that breaks off ends with an entry that says so.
    """
    if file.path is None:
        name, config, split = parse_hub(file.name) or (file.name, None, None)
        yield from read_hub(name, config, split)
        return
    with Source(file.path) as source:
        stream = io.BufferedReader(source, CHUNK)
        form = _find_format(file.path, stream.peek(_HEAD)[:_HEAD], source)
        if form in ("parquet", "arrow stream", "arrow file"):
            read: dict[str, Callable[[Path], Iterator[Entry]]] = {
                "parquet": read_parquet,
                "arrow stream": lambda path: read_arrow(path, "stream"),
                "arrow file": lambda path: read_arrow(path, "file"),
            }
            yield from read[form](file.path)
        else:
            yield from _explain_breaks(_read_text(file.path, form, stream), source)


def _read_text(path: Path, form: Format, stream: BinaryIO) -> Iterator[Entry]:
    if form == "table":
        return read_table(stream, _DELIMITERS.get(_kind(path)))
    if form == "lines":
        return read_lines(stream)
    return read_values(stream, in_array=form == "array")


def _explain_breaks(entries: Iterator[Entry], source: Source) -> Iterator[Entry]:
    """Give the row that a break cut the break as its reason; where it cut none, say it in an entry of its own."""
    index, told = 0, False
    for entry in entries:
        reason = entry.fault
        if reason and source.fault:
            reason, told = source.fault, True
        elif reason and source.at_end and source.grew:
            reason = f"the file grew while it was read, and this row was cut: {reason}"
        yield entry if reason == entry.fault else Entry(index=entry.index, line=entry.line, fault=reason)
        index = entry.index + 1
    if source.fault and not told:
        yield Entry(index=index, fault=source.fault)


def _expand(reference: str) -> Path:
    if not reference or "\0" in reference:
        raise UsageError("The reference to the tuning data is empty.", f"Name a file ({KINDS}) or a folder.")
    try:
        return Path(reference).expanduser()
    except RuntimeError as error:
        raise UsageError(f"There is no folder {reference}: {error}", "Write the whole path.") from error


def _kind(path: Path) -> str:
    """Return a path's suffix in lower case, that of the packing aside."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in _PACKED else suffix


def _name_file(path: Path, name: str) -> DataFile:
    shown = name.encode("utf-8", "replace").decode()
    return DataFile(name=shown, shown=str(path).encode("utf-8", "replace").decode(), path=path)


def _name_files(top: Path | None, paths: list[Path]) -> list[DataFile]:
    names = [path.name for path in paths]
    return [_name_file(path, path.name if names.count(path.name) == 1 else _relate(path, top, paths)) for path in paths]


def _relate(path: Path, top: Path | None, paths: list[Path]) -> str:
    if top is None:
        shared = set.intersection(*(set(other.parents) for other in paths))
        top = max(shared, key=lambda parent: len(parent.parts))
    return path.relative_to(top).as_posix()


def _list_folder(folder: Path) -> list[Path]:
    if (folder / _SPLITS).is_file():
        splits = _read_names(folder / _SPLITS, "splits")
        split = "train" if "train" in splits else splits[0]
        if len(splits) > 1 and split != "train":
            raise UsageError(
                f"{folder} holds the splits {', '.join(splits)}, and none named train.",
                f"Name the one that was tuned on: {shlex.quote(str(folder / split))}",
            )
        return _list_folder(folder / split)
    if (folder / _STATE).is_file():
        return _list_shards(folder)
    found = [
        path
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix())
        if _kind(path) in _SUFFIXES
        and path.name not in _DESCRIPTIONS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not (path.name.startswith("cache-") and path.suffix == ".arrow")
        and path.is_file()
    ]
    if not found:
        raise InputError(f"{folder} holds no data file.", f"itx reads {KINDS}.")
    return _keep_training(folder, found)


def _list_shards(folder: Path) -> list[Path]:
    shards = [folder / name for name in _read_names(folder / _STATE, "_data_files")]
    for shard in shards:
        if not shard.is_file():
            raise InputError(f"{folder} is not whole: {shard.name} is missing.", "Save the data set again.")
    return shards


def _read_names(path: Path, key: str) -> list[str]:
    """Return the file or split names that a description of a saved data set lists; none leads out of its folder."""
    try:
        listed = json.loads(path.read_bytes())[key]
        names = [entry["filename"] if isinstance(entry, dict) else entry for entry in listed]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} does not say what the data set's {key} are.", "Save the data set again.") from error
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise InputError(f"{path} names no {key} in its folder.", "Save the data set again.")
    return names


def _keep_training(folder: Path, paths: list[Path]) -> list[Path]:
    splits = [_find_split(path.relative_to(folder)) for path in paths]
    if "train" not in splits:
        return paths
    return [path for path, split in zip(paths, splits, strict=True) if split in ("train", None)]


def _find_split(path: Path) -> str | None:
    for part in reversed(path.parts):
        match = _SPLIT_NAME.match(part)
        if match:
            return match[1].lower()
    return None


def _find_format(path: Path, head: bytes, source: Source) -> Format:
    """Return the format that the first bytes and the name of a file tell."""
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not text:
        if source.fault:
            raise InputError(f"{path}: {source.fault}.", "Write or download it again.")
        raise InputError(f"{path} is empty.", f"itx reads {KINDS}.")
    if not source.packed and head.startswith(_PARQUET):
        return "parquet"
    if not source.packed and head.startswith(_ARROW_FILE):
        return "arrow file"
    kind = _kind(path)
    if not source.packed and kind == ".arrow" and head.startswith(_ARROW_STREAM):
        return "arrow stream"
    if head.startswith(_WIDE) or head[1:4:2] == b"\0\0" or head[0:3:2] == b"\0\0":
        raise InputError(
            f"{path} is UTF-16; itx reads UTF-8.", f"iconv -f UTF-16 -t UTF-8 {shlex.quote(str(path))} > new{kind}"
        )
    if kind in _DELIMITERS:
        return "table"
    if kind in _LINES:
        # An array under the name of lines: what follows its bracket is an object, where a line would hold a value.
        return "array" if re.match(rb"\[\s*(\{|$)", text) else "lines"
    if kind in (".parquet", ".arrow") or text[:1] not in (b"[", b"{"):
        raise InputError(
            f"{path} is no data that itx knows; it begins with {head[:24].decode('latin-1')!a}.",
            f"itx reads {KINDS}.",
        )
    if text.startswith(b"["):
        return "array"
    return "lines" if any(map(_is_object, text.split(b"\n")[:-1])) else "values"


def _is_object(line: bytes) -> bool:
    try:
        return line.startswith(b"{") and bool(json.loads(line, strict=False))
    except (ValueError, RecursionError):
        return False
