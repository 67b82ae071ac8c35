"""Where and in which precision torch computes."""

from __future__ import annotations

import torch

from itx.errors import UsageError

_DTYPES = {
    "float64": torch.float64, "fp64": torch.float64, "double": torch.float64,
    "float32": torch.float32, "fp32": torch.float32, "f32": torch.float32,
    "bfloat16": torch.bfloat16, "bf16": torch.bfloat16,
    "float16": torch.float16, "fp16": torch.float16, "half": torch.float16,
}  # fmt: skip


def choose_device(wanted: str | None) -> torch.device:
    """Return the device asked for, else the first CUDA device that is there, else the CPU.

    Raises UsageError for a device that torch does not know or does not see, or that has no float64 (MPS).
    """
    if wanted is None or wanted == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"{wanted!r} is no device.", "Use cpu, cuda or cuda:1.") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            seen = f"torch sees {count} CUDA devices" if count else "torch sees no CUDA device"
            raise UsageError(f"There is no device {wanted}: {seen}.", "Use --device cpu, or install torch with CUDA.")
        return torch.device("cuda", device.index or 0)
    if device.type == "mps":
        raise UsageError("itx does not compute on mps: its figures need float64, which MPS lacks.", "Use --device cpu.")
    if device.type != "cpu":
        raise UsageError(f"itx does not compute on {wanted!r}.", "Use cpu, cuda or cuda:1.")
    return device


def choose_dtype(wanted: str | None, device: torch.device, stored: torch.dtype | None) -> torch.dtype:
    """Return the dtype asked for, else float32 on a CPU and the checkpoint's own elsewhere.

    On CPUs bfloat16 decodes faster but scores several times slower than float32, and moves figures by its noise
    floor; so it must be asked for. Raises UsageError for a name that is no dtype.
    """
    if wanted is not None and wanted != "auto":
        if wanted not in _DTYPES:
            raise UsageError(f"{wanted!r} is no dtype.", "Use float32, bfloat16, float16 or float64.")
        return _DTYPES[wanted]
    if device.type == "cpu" or stored is None or not stored.is_floating_point:
        return torch.float32
    return stored


def name_dtype(dtype: torch.dtype) -> str:
    """Return the plain name of a dtype: ``float32``."""
    return str(dtype).removeprefix("torch.")
