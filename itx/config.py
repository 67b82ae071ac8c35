"""Where itx keeps things, and the settings that come from the environment (a flag always wins)."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """Return ``$XDG_STATE_HOME/itx`` (``~/.local/state/itx`` where the variable is unset, empty or relative)."""
    root = os.environ.get("XDG_STATE_HOME", "")
    base = Path(root) if root and Path(root).is_absolute() else Path.home() / ".local" / "state"
    return base / "itx"


def runs_folder() -> Path:
    """Return the folder in which ``itx compare`` and ``itx demo`` record when no ``--out`` is given."""
    return state_folder() / "runs"


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/itx`` (``~/.cache/itx`` where the variable is unset, empty or relative)."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(root) if root and Path(root).is_absolute() else Path.home() / ".cache"
    return base / "itx"


def words_folder() -> Path | None:
    """Return the folder of word lists that ``ITX_WORDS`` names, or None."""
    named = os.environ.get("ITX_WORDS", "")
    return Path(named) if named else None


def log_file() -> Path:
    """Return the file that native libraries' output goes to while the screen is up."""
    return state_folder() / "itx.log"


def colours_wanted() -> bool:
    """Return False where ``NO_COLOR`` is set and not empty (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")


def terminal_is_dumb() -> bool:
    """Return True where the terminal can neither move its cursor nor show styles."""
    return os.environ.get("TERM", "") in {"", "dumb", "unknown"}
