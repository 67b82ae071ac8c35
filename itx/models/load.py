"""Loads the models of a run, each with the engine that its reference asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

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


def require_torch() -> None:
    """Raise MissingExtraError where a package of the torch engine is not installed."""
    for package in _TORCH_PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "torch")


def find_base(adapter: Reference) -> str:
    """Return the base that an adapter's config names. Raises ItxError where it is no adapter or names none."""
    if adapter.kind == "hub":
        require_torch()
        from itx.models.torch.hub import locate

        folder = locate(adapter, trust_remote_code=False)
    elif adapter.kind == "folder":
        folder = adapter.folder
    elif adapter.kind == "gguf":
        raise UsageError(f"{adapter.text} does not name its base.", f"Name it: itx compare BASE.gguf {adapter.text}")
    else:
        raise UsageError(f"{adapter.text} is no adapter.", "Name the base, too: itx compare BASE TUNED")
    base = read_adapter_base(folder)
    if base is None:
        raise UsageError(f"{adapter.text} does not name its base.", f"Name it: itx compare BASE {adapter.text}")
    beside = folder / base
    return str(beside) if not Path(base).is_dir() and beside.is_dir() else base


def foresee(references: Sequence[Reference], options: Options) -> bool | None:
    """Check what can be checked of a run's models without their weights; the base comes first.

    Returns whether one of them brings a chat template, None where that is not known before. Raises ItxError.
    """
    _check_engine(references, options.engine)
    if not any(reference.kind == "gguf" for reference in references):
        return None
    from itx.models.llama.foresight import foresee_files

    found = foresee_files(references)
    return found if all(reference.kind == "gguf" for reference in references) else None


def load_engines(references: Sequence[Reference], options: Options, tell: Tell) -> Loaded:
    """Load every reference, the base first. Raises ItxError; MissingExtraError where a package is not installed."""
    kinds = {reference.kind == "tiny" for reference in references}
    if kinds == {True}:
        from itx.models.tiny import load_tiny

        return Loaded([load_tiny(reference) for reference in references], [])
    if True in kinds:
        raise UsageError("A tiny test engine can only be compared with another.", "itx compare tiny:1 tiny:1?tuned=1")
    _check_engine(references, options.engine)
    loaders: dict[str, _Loader] = {}
    engines: list[Engine] = []
    for reference in references:
        kind = "llama" if reference.kind == "gguf" else "torch"
        if kind not in loaders:
            loaders[kind] = _start(kind, options, tell)
        engines.append(loaders[kind].load(reference))
    return Loaded(engines, [warning for loader in loaders.values() for warning in loader.warnings])


class _Loader(Protocol):
    warnings: list[str]

    def load(self, reference: Reference) -> Engine: ...


def _start(kind: str, options: Options, tell: Tell) -> _Loader:
    if kind == "llama":
        from itx.models.llama.load import LlamaLoader

        return LlamaLoader(options, tell)
    require_torch()
    tell("starting torch", 0, 0)
    from itx.models.torch.load import TorchLoader

    return TorchLoader(options, tell)


def _check_engine(references: Sequence[Reference], engine: str) -> None:
    """Raise UsageError where an engine was asked for that cannot run one of the references."""
    for reference in references:
        is_gguf = reference.kind == "gguf"
        if (engine == "torch" and is_gguf) or (engine == "llama" and not is_gguf):
            what = "a GGUF file" if is_gguf else "no GGUF file"
            raise UsageError(
                f"{reference.text} is {what}, which --engine {engine} does not run.", "Leave out --engine."
            )
