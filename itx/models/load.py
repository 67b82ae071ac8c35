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
from itx.models.seats import Seats

_TORCH_PACKAGES = ("torch", "transformers", "peft", "safetensors", "accelerate")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The engines in the order of the references, and what loading found that a reader must know.

    With ``seats`` they are loaded one after the other.
    """

    engines: list[Engine]
    warnings: list[str]
    seats: Seats | None = None


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


def load_in_turn(references: Sequence[Reference], options: Options, tell: Tell) -> Loaded:
    """Load every reference once, and keep one seat at a time: the engines load their weights when they are asked.

    Adapters are loaded with the base. Raises UsageError where all are, and ItxError as ``load_engines``.
    """
    base, *tuned = references
    if any(reference.kind == "gguf" for reference in references):
        raise UsageError(
            "--sequential is for the torch engine: llama.cpp maps GGUF files from the disk, and they need not fit into "
            "memory together.",
            "Leave out --sequential.",
        )
    shared = [reference for reference in tuned if _is_adapter(reference, options)]
    if len(shared) == len(tuned):
        raise UsageError(
            "Adapters share the weights of their base: there is nothing to load one after the other.",
            "Leave out --sequential.",
        )
    warnings: list[str] = []

    def load(seat: Sequence[Reference], options: Options, tell: Tell) -> list[Engine]:
        loaded = load_engines(seat, options, tell)
        warnings.extend(warning for warning in loaded.warnings if warning not in warnings)
        return loaded.engines

    alone = [[reference] for reference in tuned if reference not in shared]
    seats = Seats([[base, *shared], *alone], options, tell, load)
    names = [reference.name for reference in references]
    engines: list[Engine] = sorted(seats.guests, key=lambda guest: names.index(guest.name))
    return Loaded(engines, warnings, seats)


def _is_adapter(reference: Reference, options: Options) -> bool:
    """Return whether a reference is weights that need the base's."""
    if reference.kind == "tiny":
        return False
    require_torch()
    from itx.models.torch.hub import locate
    from itx.models.torch.weights import is_adapter

    return is_adapter(locate(reference, trust_remote_code=options.trust_remote_code))


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
