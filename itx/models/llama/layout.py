"""Where the tensors of a GGUF file lie, and a look through them for values that are no numbers.

A quantised block keeps its scales as half floats among packed whole numbers (``block_q4_K`` and the others of ggml's
ggml-common.h): only these can be NaN or infinite.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itx.errors import WeightsError
from itx.models.llama.header import Header, Tensor

_ALIGNMENT: Final = 32
_BLOCKS_AT_ONCE: Final = 1 << 18
_FLOATS: Final[Mapping[int, np.unsignedinteger]] = {
    0: np.uint32(0x7F80_0000),
    1: np.uint16(0x7C00),
    28: np.uint64(0x7FF0_0000_0000_0000),
    30: np.uint16(0x7F80),
}
"""Plain floats (F32, F16, F64, BF16): the exponent's bits, in a whole number of the float's size."""
_SCALES: Final = {
    # type: (bytes a block, where its half floats begin)
    2: (18, (0,)), 3: (20, (0, 2)), 6: (22, (0,)), 7: (24, (0, 2)), 8: (34, (0,)), 9: (36, (0, 2)),
    10: (84, (80, 82)), 11: (110, (108,)), 12: (144, (0, 2)), 13: (176, (0, 2)), 14: (210, (208,)),
    16: (66, (0,)), 17: (74, (0,)), 18: (98, (0,)), 19: (50, (0,)), 20: (18, (0,)), 21: (110, (0,)), 22: (82, (0,)),
    23: (136, (0,)), 34: (54, (52,)), 35: (66, (64,)),
}  # fmt: skip
_HALF: Final = np.uint16(0x7C00)
_WHOLE_NUMBERS: Final = range(24, 28)


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor and its bytes in the file: ``begin`` … ``end``."""

    tensor: Tensor
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """How many values it has."""
        return math.prod(self.tensor.shape)


class Layout(Header):
    """A header that also says where the file's metadata and tensors lie."""

    @property
    def entries_end(self) -> int:
        """The byte at which the metadata ends, and the list of tensors begins."""
        listed = sum(8 + len(tensor.name.encode()) + 4 + 8 * len(tensor.shape) + 12 for tensor in self.tensors)
        return self._at - listed

    @property
    def alignment(self) -> int:
        """What tensors begin at multiples of."""
        return int(self.metadata.get("general.alignment", _ALIGNMENT))

    def places(self) -> list[Place]:
        """Return every tensor with its bytes. Raises WeightsError where its type is unknown."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        start = -(-self._at // self.alignment) * self.alignment
        found = []
        for tensor in self.tensors:
            try:
                elements, size = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
            except (ValueError, KeyError):
                raise WeightsError(
                    f"{self.path} has weights of ggml's type {tensor.kind}, which the package gguf does not know.",
                    "pip install -U gguf",
                ) from None
            begin = start + tensor.offset
            found.append(Place(tensor, begin, begin + math.prod(tensor.shape) // elements * size))
        return found


def read_layout(path: Path) -> Layout:
    """Read a file's header. Raises WeightsError where it cannot be read or is corrupt."""
    try:
        with path.open("rb") as file:
            layout = Layout(path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}", "Check the file and its permissions.") from error
    layout.read()
    return layout


def map_bytes(layout: Layout, place: Place) -> NDArray[np.uint8]:
    """Return a tensor's bytes, which are read from the file when they are looked at."""
    if place.begin == place.end:
        return np.zeros(0, np.uint8)
    size = place.end - place.begin
    return np.memmap(layout.path, dtype=np.uint8, mode="r", offset=place.begin, shape=(size,))


def count_broken(layout: Layout, place: Place) -> int | None:
    """Return how many values that a tensor keeps as floats are NaN or infinite: weights, or scales of whole blocks.

    None where nothing is known of the type's floats.
    """
    kind = place.tensor.kind
    if kind in _WHOLE_NUMBERS:
        return 0
    if kind in _FLOATS:
        return sum(_count(values, _FLOATS[kind]) for values in _read_floats(layout, place, _FLOATS[kind]))
    if kind in _SCALES:
        return sum(_count(values, _HALF) for values in _read_scales(layout, place))
    return None


def _count(values: NDArray[np.unsignedinteger], exponent: np.unsignedinteger) -> int:
    return int(np.count_nonzero((values & exponent) == exponent))


def _read_floats(layout: Layout, place: Place, exponent: np.unsignedinteger) -> Iterator[NDArray[np.unsignedinteger]]:
    values = map_bytes(layout, place).view(exponent.dtype)
    for begin in range(0, len(values), 16 * _BLOCKS_AT_ONCE):
        yield values[begin : begin + 16 * _BLOCKS_AT_ONCE]


def _read_scales(layout: Layout, place: Place) -> Iterator[NDArray[np.uint16]]:
    size, starts = _SCALES[place.tensor.kind]
    blocks = map_bytes(layout, place).reshape(-1, size)
    for begin in range(0, len(blocks), _BLOCKS_AT_ONCE):
        for start in starts:
            # A copy of two bytes a block, in order, is what can be looked at as whole numbers.
            yield np.ascontiguousarray(blocks[begin : begin + _BLOCKS_AT_ONCE, start : start + 2]).view(np.uint16)
