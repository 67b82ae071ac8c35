"""Building the verbatim index: rows folded into shards, each sorted and written. See ``itx.data.verbatim``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from pydivsufsort import divsufsort

from itx.data.folding import fold_words
from itx.data.information import Information

SHARD = 768 << 20
"""Bytes of text that a shard holds, but for its last row; sorting takes four more bytes for each."""
_BLOCK = 7
_CHUNK = 1 << 22
_REPORT = 500


def build(texts: Iterable[str | tuple[str, ...]], folder: Path, progress: Callable[[int], None] | None) -> list[int]:
    """Write every file of the index but the manifest, each whole under its name or not at all.

    Returns the number of rows of each shard. Raises OSError, and ValueError for a row of 4 GiB.
    """
    counts: Counter[str] = Counter()
    shards: list[int] = []
    text, starts = bytearray(b"\0"), [1]
    rows = 0
    for rows, response in enumerate(texts, start=1):
        words = fold_words(response if isinstance(response, str) else "\n\n".join(response))
        counts.update(words)
        if words:
            text += " ".join(words).encode()
            text += b" "
        text += b"\0"
        starts.append(len(text))
        if len(text) >= SHARD:
            _write_shard(text, starts, folder, len(shards))
            shards.append(len(starts) - 1)
            text, starts = bytearray(b"\0"), [1]
        if progress and rows % _REPORT == 0:
            progress(rows)
    if len(starts) > 1:
        _write_shard(text, starts, folder, len(shards))
        shards.append(len(starts) - 1)
    written = folder / "words.part"
    Information.from_counts(counts).save(written)
    written.replace(folder / "words")
    if progress:
        progress(rows)
    return shards


def _write_shard(text: bytearray, starts: list[int], folder: Path, number: int) -> None:
    """Sort the suffixes of ``text`` and write those at the start of a word, each with its row.

    ``starts`` holds where each row begins, and the end of the text.
    """
    if len(text) >= 1 << 32:
        raise ValueError("a row of 4 GiB cannot be indexed: split it")
    codes = np.frombuffer(text, np.uint8)
    order = divsufsort(codes)
    # Suffixes that begin with a NUL or a blank begin no word, and sort first.
    skipped = sum(int(np.count_nonzero(codes[at : at + _CHUNK] <= 32)) for at in range(0, len(codes), _CHUNK))
    bounds = np.array(starts, np.int64)
    # The row of a place: that of the first byte of its block, and as many more as end between the two.
    first_rows = np.searchsorted(bounds, np.arange(0, len(text), 1 << _BLOCK), side="right").clip(1) - 1
    paths = [folder / f"{number}.{part}" for part in ("text", "suffixes", "rows")]
    parts = [path.with_name(f"{path.name}.part") for path in paths]
    with ExitStack() as stack:
        text_file, suffix_file, row_file = (stack.enter_context(part.open("wb")) for part in parts)
        text_file.write(text)
        for at in range(skipped, len(order), _CHUNK):
            places = order[at : at + _CHUNK]
            places = places[codes[places - 1] <= 32].astype(np.int64)
            rows = first_rows[places >> _BLOCK]
            while (later := bounds[rows + 1] <= places).any():
                rows += later
            suffix_file.write(places.astype(np.uint32))
            row_file.write(rows.astype(np.uint32))
    for part, path in zip(parts, paths, strict=True):
        part.replace(path)
