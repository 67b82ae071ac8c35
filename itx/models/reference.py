"""What a person writes to name a model, read: ``name=REF``, a folder, a GGUF file, a hub id, ``demo:…``, ``tiny:…``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from itx.errors import UsageError, WeightsError

Kind = Literal["folder", "hub", "tiny", "gguf"]

_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.+)", re.DOTALL)
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Reference:
    """A model as named: ``text`` is what was written, ``place`` the folder, file, hub id or seed that it means."""

    name: str
    text: str
    kind: Kind
    place: str

    @property
    def folder(self) -> Path:
        """The local folder (only where ``kind`` is folder)."""
        return Path(self.place)


def split_name(text: str) -> tuple[str | None, str]:
    """Return the name (None where there is none) and the rest of ``name=REF``."""
    match = _NAME.fullmatch(text)
    return (match[1], match[2]) if match and not Path(text).exists() else (None, text)


def parse_reference(text: str, name: str, resolved: Mapping[str, Path]) -> Reference:
    """Read one reference. ``resolved`` maps short references (``demo:base``) to folders.

    Raises UsageError for what cannot be a model, WeightsError for a folder that is not there.
    """
    place = str(resolved.get(text, text))
    if place.startswith("tiny:"):
        return Reference(name, text, "tiny", place.removeprefix("tiny:"))
    if place.startswith("demo:"):
        raise UsageError(f"There is no model {text} in the demo.", "Use demo:base, demo:lora or demo:full.")
    if place.lower().endswith(".gguf"):
        if not Path(place).expanduser().is_file():
            raise WeightsError(f"There is no file {text}.", "Check the path.")
        return Reference(name, text, "gguf", str(Path(place).expanduser()))
    if "://" in place:
        raise UsageError(
            f"{text} is an address, and this build of itx has no engine for remote models yet.",
            "Name a safetensors folder or a hub id.",
        )
    try:
        path = Path(place).expanduser()
    except RuntimeError as error:
        raise WeightsError(f"There is no folder {text}: {error}", "Write the whole path.") from error
    if place and path.is_dir():
        return Reference(name, text, "folder", str(path))
    if path.is_file():
        raise UsageError(f"{text} is a file.", "Name the folder that holds config.json (or adapter_config.json).")
    if place.startswith((".", "/", "~")) or place.count("/") > 1 or place.endswith("/") or "\\" in place:
        raise WeightsError(f"There is no folder {text}.", "Check the path, or name a hub id such as owner/model.")
    if not _HUB.fullmatch(place):
        raise UsageError(f"{text!r} names no model.", "Use a folder, or a hub id such as owner/model.")
    return Reference(name, text, "hub", place)


def parse_references(base: str, tuned: Sequence[str], resolved: Mapping[str, Path] | None = None) -> list[Reference]:
    """Read the base and the tuned references, base first, and name them.

    The base is always ``base``; one tuned model without a name is ``tuned``, several are ``tuned1``, ``tuned2``, ….
    Raises UsageError for a name given twice or for no tuned model.
    """
    known = resolved or {}
    if not tuned:
        raise UsageError("A comparison needs a base and at least one tuned model.", "itx compare BASE TUNED")
    name, text = split_name(base)
    if name not in {None, "base"}:
        raise UsageError(f"The first model is the base, and its name is always base, not {name}.", f"Write {text}.")
    references = [parse_reference(text, "base", known)]
    for number, written in enumerate(tuned, 1):
        name, text = split_name(written)
        default = "tuned" if len(tuned) == 1 else f"tuned{number}"
        references.append(parse_reference(text, name or default, known))
    names = [reference.name for reference in references]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two models have the name {name}.", "Name them apart: first=REF second=REF.")
    return references


def read_adapter_base(folder: Path) -> str | None:
    """Return the base model that a PEFT folder names in its config, or None where it names none.

    Raises WeightsError where the folder is no PEFT folder or its config cannot be read.
    """
    path = folder / ADAPTER_CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{folder} is no adapter: it has no {ADAPTER_CONFIG}.", "Name BASE and TUNED.") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}", "Save the adapter again.") from error
    name = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return name if isinstance(name, str) and name else None
