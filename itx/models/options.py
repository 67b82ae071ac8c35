"""How models are to be loaded and placed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Tell = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and the total (0 where unknown)."""


@dataclass(frozen=True, slots=True)
class Options:
    """``device`` maps a model's name to its device; the key "" stands for all others. None means: choose well.

    ``gpu_layers`` and ``ctx_size`` are for llama.cpp: layers that a GPU takes, and positions that a context may have.
    """

    device: Mapping[str, str] = field(default_factory=dict)
    dtype: str | None = None
    threads: int | None = None
    trust_remote_code: bool = False
    engine: str = "auto"
    gpu_layers: int | None = None
    ctx_size: int | None = None

    def device_of(self, name: str) -> str | None:
        """Return the device asked for a model, or None."""
        return self.device.get(name, self.device.get(""))

    def gpu_layers_of(self, name: str) -> int | None:
        """Return how many layers of a model a GPU takes: none where the device asked for is the CPU."""
        return 0 if self.device_of(name) == "cpu" else self.gpu_layers
