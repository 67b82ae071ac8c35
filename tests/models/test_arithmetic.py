"""What is done with rows on their device: every step names exhausted memory as what it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from itx.errors import MemoryExhaustedError
from itx.models.reduction import NumpyArithmetic
from itx.models.torch.arithmetic import TorchArithmetic

DEVICE = TorchArithmetic(torch.device("cpu"))
ROWS = torch.arange(12.0).reshape(3, 4)
STEPS: dict[str, tuple[str, Callable[[], object]]] = {
    "stack": ("cat", lambda: DEVICE.stack([ROWS, ROWS])),
    "argmax": ("float", lambda: DEVICE.argmax(ROWS)),
    "row": ("double", lambda: DEVICE.row(ROWS)),
    "export": ("float", lambda: DEVICE.export(ROWS)),
    "adopt": ("to", lambda: DEVICE.adopt(ROWS, DEVICE)),
    "adopt the host's": ("from_numpy", lambda: DEVICE.adopt(ROWS.numpy(), NumpyArithmetic())),
}


def exhaust(*arguments: object, **options: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 96.00 MiB.")


def fail(*arguments: object, **options: object) -> None:
    raise RuntimeError("the sizes do not match")


@pytest.mark.parametrize("step", STEPS)
def test_memory_that_runs_out_is_named(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, take = STEPS[step]
    take()
    monkeypatch.setattr(torch if name in {"cat", "from_numpy"} else torch.Tensor, name, exhaust)
    with pytest.raises(MemoryExhaustedError, match="not enough memory"):
        take()


@pytest.mark.parametrize("step", STEPS)
def test_other_errors_stay_what_they_are(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, take = STEPS[step]
    monkeypatch.setattr(torch if name in {"cat", "from_numpy"} else torch.Tensor, name, fail)
    with pytest.raises(RuntimeError, match="sizes"):
        take()
