"""``tuning.json``, beside the tuned weights: all that must be known to repeat the tuning, and how it went.

It is written when a tuning starts (``finished`` false) and again when its weights are saved. ``itx verify`` reads its
recipe here.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Literal

import msgspec

from itx.errors import RunError
from itx.records import Record
from itx.tune.examples import Skipped
from itx.tune.recipe import Recipe

NAME = "tuning.json"
SCHEMA = 1


class Base(Record, frozen=True, kw_only=True):
    """The weights that were tuned; fingerprints as in ``run.json``."""

    reference: str
    weights: str
    tokenizer: str


class Data(Record, frozen=True, kw_only=True):
    """The rows: ``rows`` are the ids of those that were tuned on, in their order."""

    reference: str
    fingerprint: str
    columns: dict[str, str] = {}
    limit: int | None = None
    rows: list[str] = []
    skipped: list[Skipped] = []
    without: list[str] = []
    truncated: list[str] = []
    """Rows that --max-tokens cut: their end was not learned."""
    shortened: list[str] = []
    """Rows that --max-response-words cut."""


class Template(Record, frozen=True, kw_only=True):
    """The chat template, whole, and the system message said where a row has none."""

    text: str
    fingerprint: str
    source: str
    system: str | None = None


class Losses(Record, frozen=True, kw_only=True):
    """Mean losses in nats a learned token: of each step before its weights changed, and of each epoch."""

    steps: list[float] = []
    epochs: list[float] = []


class TuningRecord(Record, frozen=True, kw_only=True):
    """The contents of ``tuning.json``. ``seconds`` are those of the steps; ``stored`` is the saved weights' dtype."""

    schema: int = SCHEMA
    itx: str
    created: str
    command: list[str] = []
    finished: bool
    method: Literal["lora", "full"]
    base: Base
    data: Data
    template: Template
    recipe: Recipe
    steps: int
    learned_tokens: int
    """In one epoch."""
    trained_parameters: int = 0
    losses: Losses = Losses()
    seconds: float | None = None
    stored: str = "float32"
    device: str = "cpu"
    threads: int = 1
    versions: dict[str, str] = {}


_DECODER = msgspec.json.Decoder(TuningRecord)


def read_record(folder: Path) -> TuningRecord | None:
    """Return the record of a folder, None where it has none. Raises RunError where it cannot be used."""
    path = folder / NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.", f"ls -l {shlex.quote(str(folder))}") from error
    try:
        record = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is no record of itx tune: {error}.", "Tune into another folder with --out.") from error
    if record.schema > SCHEMA:
        raise RunError(f"{path} has schema {record.schema}; this itx reads {SCHEMA}.", "pip install --upgrade itx")
    return record


def write_record(folder: Path, record: TuningRecord) -> None:
    """Write ``tuning.json`` whole or not at all. Raises OSError."""
    new = folder / f"{NAME}.new"
    try:
        with new.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / NAME)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def find_differences(old: TuningRecord, new: TuningRecord) -> list[str]:
    """Return, in words, what makes ``new`` another tuning than ``old``, which was interrupted."""
    differences = [
        f"{what} was {before}, now {now}"
        for what, before, now in (
            ("base", old.base.weights, new.base.weights),
            ("tokenizer", old.base.tokenizer, new.base.tokenizer),
            ("data", old.data.fingerprint, new.data.fingerprint),
            ("chat template", old.template.fingerprint, new.template.fingerprint),
            ("system prompt", old.template.system, new.template.system),
            ("device", old.device, new.device),
            ("threads", old.threads, new.threads),
        )
        if before != now
    ]
    if old.data.rows != new.data.rows:
        differences.append(f"rows tuned on were {len(old.data.rows)}, now {len(new.data.rows)} or others")
    for name in Recipe.__struct_fields__:
        before, now = getattr(old.recipe, name), getattr(new.recipe, name)
        if before != now:
            differences.append(f"{name.replace('_', '-')} was {before}, now {now}")
    return differences
