"""What the C library does with memory that torch frees on a CPU."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``, as glibc's ``malloc.h`` numbers them."""
_HELD = 256 << 20
"""Bytes that may lie free at the end of the heap."""
_APART = 32 << 20
"""Blocks from this size on come from the system one by one, and go back at once; glibc allows no more."""
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def hold_freed_memory() -> bool:
    """Have glibc keep what is freed for the next block of logits; return whether it does.

    Else it gives a chunk's blocks back to the system, which hands the next ones out page by page, filled with zeros:
    that took 3 % of the time of reading a response with three models. Other C libraries have no such call, and what a
    person set in the environment stays.
    """
    if any(os.environ.get(name) for name in _SETTINGS):
        return False
    try:
        set_parameter = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        # No such library, no such call, or a system on which a program has no symbols of its own.
        return False
    return bool(set_parameter(_MMAP_THRESHOLD, _APART)) and bool(set_parameter(_TRIM_THRESHOLD, _HELD))
