"""Torch's ways of saying that memory ran out, as one error of itx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from itx.errors import MemoryExhaustedError

_SAYINGS = ("can't allocate memory", "not enough memory", "out of memory")


def is_exhaustion(error: BaseException) -> bool:
    """Return whether an error says that the machine or the device has no memory left."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error) for saying in _SAYINGS)


@contextmanager
def memory_watched(doing: str) -> Iterator[None]:
    """Turn exhaustion within the block into MemoryExhaustedError, which says what was being done."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_exhaustion(error):
            raise
        raise MemoryExhaustedError(
            f"There was not enough memory for {doing}.",
            "Use a smaller --dtype (bfloat16), fewer authors (--authors tuned), or another --device.",
        ) from error
