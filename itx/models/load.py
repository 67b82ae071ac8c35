"""Loads the models of a run, each with the engine that its reference asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from itx.errors import MissingExtraError, UsageError
from itx.models.contract import Engine
from itx.models.options import Options, Tell
from itx.models.reference import Reference, read_adapter_base

_TORCH_PACKAGES = ("torch", "transformers", "peft", "safetensors", "accelerate")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The engines in the order of the references, and what loading found that a reader must know."""

    engines: list[Engine]
    warnings: list[str]


def _require_torch() -> None:
    for package in _TORCH_PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "torch")


def find_base(adapter: Reference) -> str:
    """Return the base that an adapter's config names. Raises ItxError where it is no adapter or names none."""
    if adapter.kind == "hub":
        _require_torch()
        from itx.models.torch.hub import locate

        folder = locate(adapter, trust_remote_code=False)
    elif adapter.kind == "folder":
        folder = adapter.folder
    else:
        raise UsageError(f"{adapter.text} is no adapter.", "Name the base, too: itx compare BASE TUNED")
    base = read_adapter_base(folder)
    if base is None:
        raise UsageError(f"{adapter.text} does not name its base.", f"Name it: itx compare BASE {adapter.text}")
    beside = folder / base
    return str(beside) if not Path(base).is_dir() and beside.is_dir() else base


def load_engines(references: Sequence[Reference], options: Options, tell: Tell) -> Loaded:
    """Load every reference, the base first. Raises ItxError; MissingExtraError where a package is not installed."""
    kinds = {reference.kind == "tiny" for reference in references}
    if kinds == {True}:
        from itx.models.tiny import load_tiny

        return Loaded([load_tiny(reference) for reference in references], [])
    if True in kinds:
        raise UsageError("A tiny test engine can only be compared with another.", "itx compare tiny:1 tiny:1?tuned=1")
    _require_torch()
    tell("starting torch", 0, 0)
    from itx.models.torch.load import TorchLoader

    loader = TorchLoader(options, tell)
    return Loaded([loader.load(reference) for reference in references], loader.warnings)
