"""Weights on disk: the files that will be read, and the refusal of pickled ones."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError, safe_open

from itx.errors import WeightsError
from itx.models.reference import ADAPTER_CONFIG, Reference
from itx.models.torch.hub import list_files

_ADAPTER = "adapter_model.safetensors"
_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_WEIGHTS = ("pytorch_model", "adapter_model", "model", "consolidated")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds a PEFT adapter."""
    return (folder / ADAPTER_CONFIG).is_file()


def find_weights(folder: Path, reference: Reference) -> list[Path]:
    """Return the safetensors files that a model's or an adapter's folder is loaded from, sorted by name.

    Raises WeightsError for a folder without config, without weights, with a part of them, or with pickled ones only.
    """
    adapter = is_adapter(folder)
    if not adapter and not (folder / "config.json").is_file():
        raise WeightsError(
            f"{reference.text} holds no config.json (a model) and no {ADAPTER_CONFIG} (an adapter).",
            "Name the folder that save_pretrained wrote.",
        )
    # PEFT and transformers read these very names; any other file beside them is not what they would load.
    whole = folder / (_ADAPTER if adapter else _WHOLE)
    if whole.is_file():
        return [whole]
    if not adapter and (folder / _INDEX).is_file():
        return _read_index(folder, reference)
    raise _refuse(folder, reference, adapter=adapter)


def _read_index(folder: Path, reference: Reference) -> list[Path]:
    """Return the files that the index of sharded weights names."""
    path = folder / _INDEX
    try:
        names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        files = sorted(folder / name for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} cannot be read: {error}", "Download or save the model again.") from error
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        cause = f"lacks {missing[0]}, which {_INDEX} names" if missing else f"has an {_INDEX} that names no file"
        raise WeightsError(f"{reference.text} {cause}.", "Download or copy the model again, whole.")
    return files


def _refuse(folder: Path, reference: Reference, *, adapter: bool) -> WeightsError:
    """Return the error for a folder without safetensors: pickled weights are named with their conversion."""
    hub = reference.kind == "hub"
    # A download leaves pickled files out, so the hub is asked; what other programs have downloaded lies in the folder.
    pickled = _find_pickled(path.name for path in folder.iterdir())
    if pickled is None and hub:
        pickled = _find_pickled(list_files(reference))
    if pickled is not None:
        return WeightsError(
            f"{reference.text} holds pickled weights ({pickled}), which can run code when opened; "
            "itx reads safetensors only.",
            _advise_conversion(folder, reference, adapter=adapter),
        )
    wanted = _ADAPTER if adapter else _WHOLE
    remedy = "Save the model again: save_pretrained writes it."
    if hub:
        remedy = f"Complete the download: hf download {reference.place} — or name a model that has safetensors."
    return WeightsError(f"{reference.text} holds no {wanted}.", remedy)


def _find_pickled(names: Iterable[str]) -> str | None:
    return min((name for name in names if name.startswith(_WEIGHTS) and name.endswith(_PICKLED)), default=None)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _advise_conversion(folder: Path, reference: Reference, *, adapter: bool) -> str:
    """Return the command that converts pickled weights, for those who trust their source.

    A hub id is converted into a folder of its own, because nothing may write into the hub's cache.
    """
    source, target = str(folder), str(folder)
    advice = "If you trust where they come from, convert them"
    if reference.kind == "hub":
        source, target = reference.place, f"./{PurePosixPath(reference.place).name}-safetensors"
        advice += f", and name {target} instead"
    if not adapter:
        kinds = ["AutoModelForCausalLM", *(["AutoTokenizer"] if reference.kind == "hub" else [])]
        steps = [f"{kind}.from_pretrained({_quote(source)}).save_pretrained({_quote(target)})" for kind in kinds]
        code = f"from transformers import {', '.join(kinds)}; {'; '.join(steps)}"
        return f"{advice}: python -c {shlex.quote(code)}"
    before = f"hf download {source} --local-dir {target} && " if reference.kind == "hub" else ""
    code = (
        "import torch, safetensors.torch as s; "
        f"s.save_file(torch.load({_quote(f'{target}/adapter_model.bin')}, weights_only=True), "
        f"{_quote(f'{target}/{_ADAPTER}')})"
    )
    return f"{advice}: {before}python -c {shlex.quote(code)}"


def read_shapes(file: Path) -> dict[str, list[int]]:
    """Return the names and shapes of a safetensors file's tensors. Raises WeightsError where it is damaged."""
    try:
        with safe_open(str(file), framework="pt") as tensors:
            names: list[str] = tensors.keys()
            return {name: list(tensors.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", "Download or save it again.") from error
