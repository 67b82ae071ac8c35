"""Safetensors read without an engine: headers, and a scan for values that are no numbers.

The format: eight bytes, little-endian, the length of a JSON header; the header, from a tensor's name to its dtype,
shape and place; the tensors (https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from itx.errors import WeightsError

_LONGEST_HEADER = 100_000_000
_BLOCK = 1 << 22
_EXPONENTS: dict[str, np.unsignedinteger] = {
    "F64": np.uint64(0x7FF0_0000_0000_0000),
    "F32": np.uint32(0x7F80_0000),
    "F16": np.uint16(0x7C00),
    "BF16": np.uint16(0x7F80),
}
"""A dtype's exponent's bits, in an integer of its size: NaN and Inf are where all of them are set."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file: its bytes are ``begin`` … ``end`` of it."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


def read_header(file: Path) -> list[Tensor]:
    """Return the tensors of a safetensors file. Raises WeightsError where it is cut short or no such file."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length <= min(size - 8, _LONGEST_HEADER):
                raise ValueError("its header is longer than the file")
            header = json.loads(opened.read(length))
        start = 8 + length
        header.pop("__metadata__", None)
        tensors = [_read_entry(file, start, name, entry) for name, entry in header.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", "Download or save it again.") from error
    end = max((tensor.end for tensor in tensors), default=start)
    if end > size:
        raise WeightsError(
            f"{file} is cut short: it has {size:,} bytes of {end:,}.", "Download or copy it again, whole."
        )
    return tensors


def _read_entry(file: Path, start: int, name: str, entry: dict[str, Any]) -> Tensor:
    begin, end = (int(offset) for offset in entry["data_offsets"])
    shape = tuple(map(int, entry["shape"]))
    if not 0 <= begin <= end or any(size < 0 for size in shape):
        raise ValueError(f"its header gives {name} no place")
    return Tensor(file, name, str(entry["dtype"]), shape, start + begin, start + end)


def _read_blocks(tensor: Tensor, kind: DTypeLike) -> Iterator[NDArray[np.unsignedinteger]]:
    count = (tensor.end - tensor.begin) // np.dtype(kind).itemsize
    if not count:
        return
    values = np.memmap(tensor.file, dtype=np.uint8, mode="r", offset=tensor.begin, shape=(tensor.end - tensor.begin,))
    typed = values[: count * np.dtype(kind).itemsize].view(kind)
    for begin in range(0, count, _BLOCK):
        yield typed[begin : begin + _BLOCK]


def count_broken(tensor: Tensor) -> int:
    """Return how many values of a tensor are NaN or infinite (0 for a dtype that has no such values, or is packed)."""
    if tensor.dtype not in _EXPONENTS:
        return 0
    mask = _EXPONENTS[tensor.dtype]
    return sum(int(np.count_nonzero((block & mask) == mask)) for block in _read_blocks(tensor, mask.dtype))


def is_zero(tensor: Tensor) -> bool:
    """Return whether all values of a tensor are 0 (of either sign)."""
    if tensor.dtype not in _EXPONENTS:
        return not any(block.any() for block in _read_blocks(tensor, np.uint8))
    # Shifted by one, the sign is gone.
    return not any((block << 1).any() for block in _read_blocks(tensor, _EXPONENTS[tensor.dtype].dtype))


def count_elements(tensors: Sequence[Tensor]) -> int:
    """Return how many values the tensors have together."""
    return sum(tensor.elements for tensor in tensors)
