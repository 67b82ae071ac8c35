"""What a model's figures depend on, as one fingerprint of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from itx.models.digest import digest_file
from itx.models.reference import ADAPTER_CONFIG

_CONFIGS = (ADAPTER_CONFIG, "config.json", "generation_config.json")


def list_decisive(folder: Path, weights: Sequence[Path], *, trust_remote_code: bool) -> list[Path]:
    """Return the files that decide a model's figures, sorted by name.

    These are its weights; for an adapter its config (rank and alpha scale what it adds), for a checkpoint its config
    and its generation config (which says where responses end); and where it may run code of its own, that code.
    """
    names = _CONFIGS[:1] if (folder / ADAPTER_CONFIG).is_file() else _CONFIGS[1:]
    found = [folder / name for name in names if (folder / name).is_file()]
    code = folder.glob("*.py") if trust_remote_code else []
    return sorted([*found, *weights, *code], key=lambda path: path.name)


def fingerprint_files(files: Sequence[Path], stopped: Callable[[], bool] = lambda: False) -> str:
    """Return ``sha256:…`` of the lines that sha256sum prints of the files, in their order.

    So ``sha256sum adapter_config.json adapter_model.safetensors | sha256sum`` in an adapter's folder gives the same.
    Raises CancelledError soon after ``stopped`` says so, and OSError.
    """
    lines = hashlib.sha256()
    for path in files:
        lines.update(f"{digest_file(path, stopped)}  {path.name}\n".encode())
    return f"sha256:{lines.hexdigest()}"
