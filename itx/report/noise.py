"""The noise floor: what a model differs from itself through the same code path."""

from __future__ import annotations

from itx.records import Run

_FLOORS = {
    "float32": "KL below 1e-5 nats and, when greedy, 100 % unshifted",
    "bfloat16": "a mean KL of about 1e-3 nats, and about 1.3 % of positions change class against float32",
}


def describe_noise(run: Run) -> str:
    """Say what part of the figures may be noise, by the dtypes of the run's models."""
    dtypes = sorted({model.quantization or model.dtype for model in run.models})
    said = [
        f"{dtype}: {_FLOORS[dtype]}" if dtype in _FLOORS else f"{dtype}: not known; compare the base with itself"
        for dtype in dtypes
    ]
    return "A model compared with itself gives, in " + "; in ".join(said) + "."
