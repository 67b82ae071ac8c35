"""What a GGUF file says of itself, read before llama.cpp sees it: metadata, tensors, and whether all of it is there.

The format is ggml's (docs/gguf.md in its repository), versions 2 and 3, little-endian. Arrays are kept as places in the
file: a vocabulary of 262,144 texts is read only when asked for.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from itx.errors import WeightsError
from itx.models.llama.texts import Texts

MAGIC: Final = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_ALIGNMENT = 32
_MOST_DIMENSIONS = 4
_MOST_ENTRIES = 1 << 24
_LONGEST_TEXT = 1 << 24
_BLOCKS: Final = {
    # type: (elements a block, bytes a block), from ggml's table of types
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip
FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""The names of ``general.file_type``, which llama.cpp's tools use."""


@dataclass(frozen=True, slots=True)
class Array:
    """An array of the metadata: its element type, its length, and where it lies in the file (bytes, end exclusive)."""

    kind: int
    length: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: its shape as ggml orders it (the fastest dimension first), ggml's number of its type, its bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


class Header:
    """The header of one file. Scalars and texts of ``metadata`` are values, arrays are ``Array``."""

    def __init__(self, path: Path, block: mmap.mmap) -> None:
        self.path = path
        self._block = block
        self._at = 0
        self.metadata: dict[str, Any] = {}
        self.kinds: dict[str, int] = {}
        """ggml's type of each entry of the metadata: a float of four bytes and one of eight are one in Python."""
        self.tensors: list[Tensor] = []

    @property
    def architecture(self) -> str:
        """What llama.cpp calls the kind of network; empty where the file does not say."""
        found = self.metadata.get("general.architecture")
        return found if isinstance(found, str) else ""

    @property
    def is_adapter(self) -> bool:
        """Whether this is a LoRA and no model."""
        return self.metadata.get("general.type") == "adapter"

    def number(self, name: str) -> int | None:
        """Return a whole number of the architecture's own (``context_length``), or None."""
        found = self.metadata.get(f"{self.architecture}.{name}")
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def texts(self, name: str) -> Texts:
        """Return an array of texts, each read from the file when it is asked for; empty where there is none."""
        array = self.metadata.get(name)
        if not isinstance(array, Array) or array.kind != _STRING:
            return Texts(self._block, 0, 0, 0)
        return Texts(self._block, array.start, array.end, array.length)

    def release(self) -> None:
        """Give back the memory of what was read of the file; it is read again where it is needed."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._block.madvise(mmap.MADV_DONTNEED)

    def numbers(self, name: str) -> NDArray[np.generic]:
        """Return an array of numbers; empty where there is none."""
        array = self.metadata.get(name)
        if not isinstance(array, Array) or array.kind not in _SCALARS:
            return np.zeros(0, np.int32)
        return np.frombuffer(self._block[array.start : array.end], dtype=f"<{_SCALARS[array.kind]}")

    def raw(self, name: str) -> memoryview:
        """Return the bytes of an array, as they stand in the file; none where there is none."""
        array = self.metadata.get(name)
        return memoryview(self._block)[array.start : array.end] if isinstance(array, Array) else memoryview(b"")

    # Reading

    def read(self) -> None:
        """Read it all. Raises WeightsError where something is missing or cannot be."""
        if self._block[:4] != MAGIC:
            raise WeightsError(f"{self.path} is no GGUF file.", "Name a file that llama.cpp's tools wrote.")
        self._at = 4
        version = self._number("I")
        if version not in _VERSIONS:
            self._refuse(f"it says version {version}, and versions 2 and 3 are known")
        count, entries = self._number("Q"), self._number("Q")
        if max(count, entries) > _MOST_ENTRIES:
            self._refuse(f"it says {count} tensors and {entries} entries")
        for _ in range(entries):
            name = self._text()
            self.kinds[name] = self._number("I")
            self.metadata[name] = self._value(self.kinds[name])
        for _ in range(count):
            name = self._text()
            dimensions = self._number("I")
            if dimensions > _MOST_DIMENSIONS:
                self._refuse(f"its tensor {name[:60]} has {dimensions} dimensions")
            shape = tuple(self._number("Q") for _ in range(dimensions))
            self.tensors.append(Tensor(name, shape, self._number("I"), self._number("Q")))
        self._check_tensors()

    def _check_tensors(self) -> None:
        alignment = self.metadata.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment > 1 << 20:
            self._refuse(f"its alignment is {alignment}")
        start = -(-self._at // alignment) * alignment
        for tensor in self.tensors:
            known = _BLOCKS.get(tensor.kind)
            if known is None:
                continue
            elements, size = known
            count = 1
            for length in tensor.shape:
                count *= length
            end = start + tensor.offset + count // elements * size
            if end > len(self._block):
                self._refuse(f"its tensor {tensor.name[:60]} ends at byte {end}, and the file at {len(self._block)}")

    def _refuse(self, why: str) -> NoReturn:
        raise WeightsError(f"{self.path} is cut short or corrupt: {why}.", "Copy or download the file again.")

    def _take(self, size: int) -> int:
        """Move on by ``size`` bytes and return where they begin."""
        start, self._at = self._at, self._at + size
        if self._at > len(self._block):
            self._refuse(f"its header goes on behind the end of the file, at byte {len(self._block)}")
        return start

    def _number(self, code: str) -> Any:
        start = self._take(struct.calcsize(f"<{code}"))
        return struct.unpack_from(f"<{code}", self._block, start)[0]

    def _text(self) -> str:
        size = self._number("Q")
        if size > _LONGEST_TEXT:
            self._refuse(f"at byte {self._at} it says that a text has {size} bytes")
        start = self._take(size)
        return self._block[start : start + size].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            self._refuse(f"an entry is of the unknown type {kind}")
        inner, length = self._number("I"), self._number("Q")
        start = self._at
        if inner in _SCALARS:
            size = struct.calcsize(f"<{_SCALARS[inner]}")
            self._take(size * length if length <= len(self._block) else len(self._block) + 1)
        elif inner == _STRING:
            self._skip_texts(length)
        else:
            self._refuse(f"an array is of the unknown type {inner}")
        return Array(inner, length, start, self._at)

    def _skip_texts(self, length: int) -> None:
        read: Callable[..., tuple[int]] = struct.Struct("<Q").unpack_from
        block, at, end = self._block, self._at, len(self._block)
        for _ in range(length):
            if at + 8 > end:
                self._refuse(f"its header goes on behind the end of the file, at byte {end}")
            at += 8 + read(block, at)[0]
        self._at = at
        self._take(0)


def read_header(path: Path) -> Header:
    """Read a file's header. Raises WeightsError where the file is missing, no GGUF, cut short or corrupt."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size < 4:
                raise WeightsError(f"{path} is no GGUF file.", "Name a file that llama.cpp's tools wrote.")
            header = Header(path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise WeightsError(f"There is no file {path}.", "Check the path.") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error}", "Check the file and its permissions.") from error
    header.read()
    return header


def find_quantization(metadata: Mapping[str, Any], tensors: list[Tensor]) -> str | None:
    """Return the name of a file's quantisation; None where its matrices are plain floats (F32, F16, BF16)."""
    kind = metadata.get("general.file_type")
    named = FILE_TYPES.get(kind) if isinstance(kind, int) else None
    matrices = {tensor.kind for tensor in tensors if len(tensor.shape) > 1}
    if matrices and matrices <= {0, 1, 30}:
        return None
    return named or "mixed"


def find_dtype(tensors: list[Tensor]) -> str:
    """Return the dtype that matrices are kept in where they are plain floats; what llama.cpp computes in otherwise."""
    kinds = {tensor.kind for tensor in tensors if len(tensor.shape) > 1}
    return {frozenset({1}): "float16", frozenset({30}): "bfloat16"}.get(frozenset(kinds - {0}), "float32")
