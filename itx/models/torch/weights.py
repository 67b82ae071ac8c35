"""Weights on disk: found (hub or folder), refused where pickled, fingerprinted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError, safe_open

from itx.errors import UsageError, WeightsError
from itx.models.reference import ADAPTER_CONFIG, Reference

_WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_WITH_CODE = [*_WANTED, "*.py"]
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def locate(reference: Reference, *, trust_remote_code: bool) -> Path:
    """Return the local folder of a reference, downloading a hub id where the cache does not hold it.

    ``HF_HOME``, ``HF_HUB_OFFLINE`` and ``HF_TOKEN`` mean what they mean elsewhere. Raises WeightsError where it
    cannot be had.
    """
    if reference.kind == "folder":
        return reference.folder
    patterns = _WITH_CODE if trust_remote_code else _WANTED
    try:
        return Path(snapshot_download(reference.place, allow_patterns=patterns))
    except RepositoryNotFoundError as error:
        raise WeightsError(
            f"The hub has no model {reference.place}, or it is private.",
            "Check the name (a local folder is written ./NAME), or log in: hf auth login",
        ) from error
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            f"{reference.place} is not in the local cache, and the hub cannot be reached (or HF_HUB_OFFLINE is set).",
            f"Connect and run: hf download {reference.place} — or name a local folder, written ./NAME.",
        ) from error
    except HFValidationError as error:
        raise UsageError(
            f"{reference.place!r} is no hub id.", "Use owner/model, or a folder written ./NAME."
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise WeightsError(
            f"{reference.place} cannot be downloaded: {error}",
            "Check the network and the disk, then run the same command again: what is there is kept.",
        ) from error


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds a PEFT adapter."""
    return (folder / ADAPTER_CONFIG).is_file()


def find_weights(folder: Path, text: str) -> list[Path]:
    """Return the safetensors files of a model's or an adapter's folder, sorted by name.

    Raises WeightsError for a folder without config, without weights, or with pickled weights only.
    """
    adapter = is_adapter(folder)
    if not adapter and not (folder / "config.json").is_file():
        raise WeightsError(
            f"{text} holds no config.json (a model) and no {ADAPTER_CONFIG} (an adapter).",
            "Name the folder that save_pretrained wrote.",
        )
    stem = "adapter_model*" if adapter else "model*"
    files = sorted(folder.glob(f"{stem}.safetensors"))
    if files:
        return files
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if pickled:
        raise WeightsError(
            f"{text} holds pickled weights ({pickled[0]}), which can run code when opened; itx reads safetensors only.",
            _conversion(folder, adapter=adapter),
        )
    raise WeightsError(f"{text} holds no {stem}.safetensors.", "Save the model again: save_pretrained writes them.")


def _conversion(folder: Path, *, adapter: bool) -> str:
    """Return the command that converts pickled weights, for those who trust their source."""
    if adapter:
        code = (
            "import torch, safetensors.torch as s; "
            f"s.save_file(torch.load('{folder}/adapter_model.bin', weights_only=True), "
            f"'{folder}/adapter_model.safetensors')"
        )
    else:
        code = (
            "from transformers import AutoModelForCausalLM as M; "
            f"M.from_pretrained('{folder}').save_pretrained('{folder}')"
        )
    return f'If you trust where they come from, convert them: python -c "{code}"'


def read_shapes(file: Path) -> dict[str, list[int]]:
    """Return the names and shapes of a safetensors file's tensors. Raises WeightsError where it is damaged."""
    try:
        with safe_open(str(file), framework="pt") as tensors:
            names: list[str] = tensors.keys()
            return {name: list(tensors.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", "Download or save it again.") from error


def fingerprint_files(files: list[Path], tell: Callable[[int], None] | None = None) -> str:
    """Return ``sha256:…`` of one file's bytes; for several, of the lines ``digest␠␠name`` that sha256sum prints."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        if tell:
            tell(path.stat().st_size)
    if len(digests) == 1:
        return f"sha256:{digests[0]}"
    lines = "".join(f"{digest}  {path.name}\n" for digest, path in zip(digests, files, strict=True))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
