"""The Hugging Face hub: a model's files brought here, or what stands in their way."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from huggingface_hub import list_repo_files, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from itx.errors import UsageError, WeightsError
from itx.models.reference import Reference

_WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_WITH_CODE = [*_WANTED, "*.py", "*.tiktoken"]
_FAILURES = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
"""OSError, and the HTTP library's own error, whose name depends on the hub's version."""


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
    except _FAILURES as error:
        raise WeightsError(
            f"{reference.place} cannot be downloaded: {error}",
            "Check the network and the disk, then run the same command again: what is there is kept.",
        ) from error


def list_files(reference: Reference) -> list[str]:
    """Return the names of all files that the hub holds of a model, downloaded or not; none where it cannot say."""
    try:
        return sorted(list_repo_files(reference.place))
    except _FAILURES:
        return []
