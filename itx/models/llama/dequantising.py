"""A GGUF file's weights written as plain float32, with a LoRA added to them or without: what its figures are measured
against.

The metadata is copied to the byte, so that the vocabulary and the template are the file's own. Tensors are written one
after the other, some rows at a time: memory stays small, whatever the model.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itx.errors import MissingExtraError, WeightsError
from itx.models.llama.header import MAGIC
from itx.models.llama.layout import Layout, Place, map_bytes, read_layout

_F32: Final = 0
_UINT32: Final = 4
_WHOLE_NUMBERS: Final = range(24, 28)
_AT_ONCE: Final = 1 << 21
"""Values that are made at once."""
_FILE_TYPE: Final = b"general.file_type"
_DOWN, _UP = ".lora_a", ".lora_b"
_EMBEDDING: Final = "token_embd.weight"


class _Pair(NamedTuple):
    """A LoRA's two matrices for one tensor, A [rank, in] and B [out, rank], and alpha / rank."""

    down: NDArray[np.float64]
    up: NDArray[np.float64]
    scale: float


def require_gguf() -> None:
    """Raise MissingExtraError where the package that knows ggml's types is not installed."""
    if find_spec("gguf") is None:
        raise MissingExtraError("gguf", "llama")


def count_bytes(layout: Layout) -> int:
    """Return how large the file becomes with its weights in float32, give or take its padding."""
    return layout.entries_end + sum(128 + 4 * place.elements for place in layout.places())


def write_dequantised(path: Path, target: Path, tell: Callable[[float], None], lora: Path | None = None) -> None:
    """Write the weights of ``path`` in float32 to ``target``, with alpha / rank · B · A of a LoRA added to them.

    ``tell`` is called with the part that is done. Raises WeightsError where a type cannot be dequantised, or the LoRA
    does not fit.
    """
    require_gguf()
    layout = read_layout(path)
    places = layout.places()
    pairs = {} if lora is None else _read_pairs(read_layout(lora))
    unknown = pairs.keys() - {place.tensor.name for place in places}
    if unknown or _EMBEDDING in pairs:
        raise WeightsError(
            f"{lora} changes {min(unknown or {_EMBEDDING})}, which itx does not merge.", "Merge it with its own tools."
        )
    total = sum(place.elements for place in places) or 1
    done = 0
    with target.open("wb") as file:
        _write_header(file, layout, places)
        for place in places:
            file.write(bytes(-file.tell() % layout.alignment))
            for part in read_values(layout, place, pairs):
                file.write(part.tobytes())
            done += place.elements
            tell(done / total)
        file.write(bytes(-file.tell() % layout.alignment))


def _write_header(file: BinaryIO, layout: Layout, places: list[Place]) -> None:
    with layout.path.open("rb") as source:
        entries = source.read(layout.entries_end)
    file.write(MAGIC + _say_floats(entries[4:]))
    offset = 0
    for place in places:
        name, shape = place.tensor.name.encode(), place.tensor.shape
        whole = place.tensor.kind in _WHOLE_NUMBERS
        file.write(struct.pack(f"<Q{len(name)}sI{len(shape)}Q", len(name), name, len(shape), *shape))
        file.write(struct.pack("<IQ", place.tensor.kind if whole else _F32, offset))
        size = place.end - place.begin if whole else 4 * place.elements
        offset += -(-size // layout.alignment) * layout.alignment


def _say_floats(entries: bytes) -> bytes:
    """Return the metadata with F32 as the type of the file, where it names one."""
    mark = struct.pack("<Q", len(_FILE_TYPE)) + _FILE_TYPE + struct.pack("<I", _UINT32)
    before, found, rest = entries.partition(mark)
    return before + found + struct.pack("<I", _F32) + rest[4:] if found else entries


def read_values(
    layout: Layout, place: Place, pairs: Mapping[str, _Pair] | None = None
) -> Iterator[NDArray[np.generic]]:
    """Yield a tensor's values in order, dequantised to float32; whole numbers as they are, in bytes.

    Raises WeightsError where its type cannot be dequantised.
    """
    from gguf import GGMLQuantizationType, dequantize

    kind, shape = GGMLQuantizationType(place.tensor.kind), place.tensor.shape
    values = map_bytes(layout, place)
    if place.tensor.kind in _WHOLE_NUMBERS or not place.elements:
        yield values
        return
    width = shape[0] if shape else 1
    pair = (pairs or {}).get(place.tensor.name)
    if pair is not None and (pair.down.shape[-1], pair.up.shape[-2], *shape[2:]) != (*shape[:2], *_outer(pair)):
        raise WeightsError(f"The LoRA's matrices for {place.tensor.name} do not fit it.", "Name its own base.")
    rows = values.reshape(math.prod(shape[1:]), -1)
    step = max(1, _AT_ONCE // width)
    for begin in range(0, len(rows), step):
        try:
            part = np.asarray(dequantize(np.ascontiguousarray(rows[begin : begin + step]), kind), np.float32)
        except NotImplementedError:
            raise WeightsError(
                f"{layout.path} has weights in {kind.name}, which the package gguf cannot dequantise.",
                "pip install -U gguf",
            ) from None
        if pair is not None:
            part = (part + _add(pair, begin, begin + len(part))).astype(np.float32)
        yield part


def _outer(pair: _Pair) -> tuple[int, ...]:
    """Return the dimensions before the last two, as ggml orders them: the experts."""
    return pair.up.shape[:-2][::-1]


def _add(pair: _Pair, begin: int, end: int) -> NDArray[np.float64]:
    """Return the rows ``begin`` … ``end`` of what a LoRA adds, its experts one below the other."""
    count = pair.up.shape[-2]
    ups, downs = pair.up.reshape(-1, count, pair.up.shape[-1]), pair.down.reshape(-1, *pair.down.shape[-2:])
    parts = []
    while begin < end:
        expert, first = divmod(begin, count)
        last = min(count, first + end - begin)
        parts.append(pair.scale * (ups[expert, first:last] @ downs[expert]))
        begin += last - first
    return np.concatenate(parts)


def _read_pairs(lora: Layout) -> dict[str, _Pair]:
    """Return a LoRA's matrices by the tensors that they are for. llama.cpp scales by 1 where alpha is 0 or missing."""
    matrices = {place.tensor.name: _read_matrix(lora, place) for place in lora.places()}
    alpha = lora.metadata.get("adapter.lora.alpha", 0.0)
    pairs = {}
    for name in sorted({name.removesuffix(_DOWN).removesuffix(_UP) for name in matrices}):
        down, up = matrices.get(f"{name}{_DOWN}"), matrices.get(f"{name}{_UP}")
        if down is None or up is None or down.shape[-2] != up.shape[-1] or down.shape[:-2] != up.shape[:-2]:
            raise WeightsError(f"{lora.path} lacks one of the two matrices for {name}.", "Convert it again.")
        pairs[name] = _Pair(down, up, alpha / up.shape[-1] if alpha else 1.0)
    return pairs


def _read_matrix(layout: Layout, place: Place) -> NDArray[np.float64]:
    values = np.concatenate([part.reshape(-1) for part in read_values(layout, place)])
    return values.astype(np.float64).reshape(place.tensor.shape[::-1])
