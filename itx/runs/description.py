"""``run.json``: reading and writing what describes a run, and telling two descriptions apart."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import msgspec

from itx.errors import RunError
from itx.records import EXACT_DTYPES, SCHEMA, DataReference, Model, Record, Run
from itx.runs.check import check_run
from itx.runs.lines import BORROW, DESCRIPTION, FACTS, MARKS, TORN, TRACES, VERIFY, decode


class _Schema(Record, frozen=True, kw_only=True):
    schema: int


_PARTS = {DESCRIPTION, TRACES, TORN, MARKS, BORROW, VERIFY, FACTS}
_SCHEMA = msgspec.json.Decoder(_Schema)
_RUN = msgspec.json.Decoder(Run)


def is_run(folder: Path) -> bool:
    """Return True where the folder holds a ``run.json``."""
    return (folder / DESCRIPTION).is_file()


def is_part_of_run(path: Path) -> bool:
    """Return True where ``path``, through whatever links, names a file that a run is made of."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError):
        # A circle of links leads to no file.
        return False
    # Some file systems take two spellings for one name.
    return real.name.casefold() in _PARTS and is_run(real.parent)


def read_description(folder: Path) -> Run:
    """Read ``run.json``. Raises RunError naming the file where there is none or it cannot be used."""
    path = folder / DESCRIPTION
    if not path.is_file():
        if not folder.exists():
            raise RunError(f"There is no folder {folder}.", "itx open --last opens the newest run.")
        raise RunError(f"{folder} is not a run: it has no {DESCRIPTION}.", "Name a folder that itx run --out made.")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.", f"ls -l {shlex.quote(str(folder))}") from error
    try:
        schema = decode(_SCHEMA, raw).schema
        if schema > SCHEMA:
            raise RunError(f"{path} has schema {schema}; this itx reads schema {SCHEMA}.", "pip install --upgrade itx")
        run = decode(_RUN, raw)
        check_run(run)
    except ValueError as error:
        raise RunError(f"{path}: {error}.", "Record the run again, or mend the file by hand.") from error
    return run


def write_description(folder: Path, run: Run) -> None:
    """Write ``run.json`` whole or not at all. Raises OSError."""
    new = folder / f"{DESCRIPTION}.new"
    data = msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n"
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / DESCRIPTION)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names of new files in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def find_differences(recorded: Run, wanted: Run) -> list[str]:
    """Return, in words, what would make the figures of ``wanted`` differ in meaning from those of ``recorded``.

    Where a model has a fingerprint its path does not matter; neither do device, threads, versions and the command.
    Tuning data may be named later, and so may control rows: traces do not depend on them.
    """
    differences: list[str] = []

    def compare(what: str, old: object, new: object) -> None:
        if old != new:
            differences.append(f"{what} was {_say(old)}, now {_say(new)}")

    compare("models", [model.name for model in recorded.models], [model.name for model in wanted.models])
    for old, new in zip(recorded.models, wanted.models, strict=False):
        if old.name != new.name:
            break
        compare(f"weights of {old.name}", *_identities(old, new))
        for field in ("role", "engine", "dtype", "quantization", "tokenizer"):
            compare(f"{field} of {old.name}", getattr(old, field), getattr(new, field))
    if recorded.authors and wanted.authors:
        compare("authors", recorded.authors, wanted.authors)
    for field in recorded.decoding.__struct_fields__:
        compare(field.replace("_", "-"), getattr(recorded.decoding, field), getattr(wanted.decoding, field))
    for field in ("policy", "template", "base_template", "system"):
        compare(f"context {field.replace('_', ' ')}", getattr(recorded.context, field), getattr(wanted.context, field))
    for field in recorded.thresholds.__struct_fields__:
        compare(f"threshold {field}", getattr(recorded.thresholds, field), getattr(wanted.thresholds, field))
    differences += find_data_differences(recorded.data, wanted.data)
    if recorded.shard != wanted.shard:
        same = recorded.shard and wanted.shard and str(recorded.shard) == str(wanted.shard)
        parts = [str(run.shard or "the whole list") for run in (recorded, wanted)]
        differences.append(
            "the list of prompts was another one" if same else f"the shard was {parts[0]}, now {parts[1]}"
        )
    for field in ("chunk", "flash_attention", "kv"):
        compare(field, getattr(recorded.engine, field), getattr(wanted.engine, field))
    if None not in {recorded.engine.given_chunk, wanted.engine.given_chunk}:
        compare("chunk of given responses", recorded.engine.given_chunk, wanted.engine.given_chunk)
    if not all(model.dtype in EXACT_DTYPES and model.quantization is None for model in recorded.models):
        # In float32 a batch moves nothing that is recorded; below it does, within the noise floor.
        compare("batch-size", recorded.engine.batch_size, wanted.engine.batch_size)
    return differences


def find_data_differences(recorded: DataReference | None, wanted: DataReference | None) -> list[str]:
    """Return, in words, what would make two responses of one run be traced by different rules."""
    if recorded is None:
        return []
    if wanted is None or wanted.fingerprint != recorded.fingerprint:
        return [f"tuning data was {recorded.fingerprint}, now {_say(wanted and wanted.fingerprint)}"]
    facts: list[tuple[str, object, object]] = [
        ("columns", recorded.columns or None, wanted.columns or None),
        ("embedder", recorded.embedder, wanted.embedder),
        ("train-max-tokens", recorded.train_max_tokens, wanted.train_max_tokens),
    ]
    if recorded.control_fingerprint is not None:
        facts.append(("control rows", recorded.control_fingerprint, wanted.control_fingerprint))
    return [f"{what} was {_say(old)}, now {_say(new)}" for what, old, new in facts if old != new]


def _identities(old: Model, new: Model) -> tuple[object, object]:
    if old.weights and new.weights:
        return old.weights, new.weights
    return (old.reference, old.adapter), (new.reference, new.adapter)


def _say(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "not set" if value is None else str(value)
