"""Where torch would place a model, and how much memory is free there."""

from __future__ import annotations

import torch

from itx.models.torch.placement import choose_device


def find_place(wanted: str | None) -> tuple[str, int | None]:
    """Return the device that ``wanted`` means and its free bytes, None for a CPU (the host's are counted elsewhere).

    Raises UsageError for a device that is not there.
    """
    device = choose_device(wanted)
    if device.type != "cuda":
        return device.type, None
    free, _ = torch.cuda.mem_get_info(device)
    return str(device), int(free)
