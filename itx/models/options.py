"""How models are to be loaded and placed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Tell = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and the total (0 where unknown)."""


@dataclass(frozen=True, slots=True)
class Options:
    """``device`` maps a model's name to its device; the key "" stands for all others. None means: choose well."""

    device: Mapping[str, str] = field(default_factory=dict)
    dtype: str | None = None
    threads: int | None = None
    trust_remote_code: bool = False

    def device_of(self, name: str) -> str | None:
        """Return the device asked for a model, or None."""
        return self.device.get(name, self.device.get(""))
