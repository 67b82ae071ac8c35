"""What a tuning learned, as one file of safetensors with how it went: written, and put into a model again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file


class Trained(NamedTuple):
    """How it went: mean loss of the last step (nats a learned id), how many steps, and their seconds."""

    last_loss: float
    steps: int
    seconds: float


def write_learned(model: Any, file: Path, trained: Trained) -> None:
    """Write all parameters that are learned. Raises OSError, also for what safetensors makes of a full disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}")
    tensors = {name: parameter.detach().contiguous() for name, parameter in _learned(model).items()}
    try:
        save_file(tensors, new, {name: repr(value) for name, value in trained._asdict().items()})
        new.replace(file)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        new.unlink(missing_ok=True)


def read_learned(model: Any, file: Path) -> Trained | None:
    """Put weights that were written into the model, in place; None where the file is not there, broken or another's."""
    learned = _learned(model)
    try:
        with safe_open(file, "pt") as stored:
            about = stored.metadata() or {}
            trained = Trained(float(about["last_loss"]), int(about["steps"]), float(about["seconds"]))
            if set(stored.keys()) != set(learned):
                return None
            tensors = {name: stored.get_tensor(name) for name in learned}
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    if any(tensors[name].shape != parameter.shape for name, parameter in learned.items()):
        return None
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(tensors[name])
    return trained


def _learned(model: Any) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
