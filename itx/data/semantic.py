"""Rows near a text in meaning.

A prompt is near a row by the cosine to what the row asks plus the cosine to what it asks and answers together: of 120
rows the true source of a paraphrased prompt came among the first three for 87 % of the prompts with the default
embedder (BM25: 53 %). A response, or a part of one, is near by the second cosine alone: half of a row's own response
found the row first in 64 to 99 % of cases so, in 51 to 74 % with both (five data sets). The two vectors of a row stand
side by side, so that one scalar product is the score: from −2 to 2 for both, from −1 to 1 for one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from itx.data.row import Row

if TYPE_CHECKING:
    import usearch.index
    from numpy.typing import NDArray

    from itx.data.embedder import Embedder

By = Literal["both", "whole"]
VECTORS = "vectors.f16"
SHAPE = "vectors.json"
GRAPH = "vectors.usearch"
MOST_EXACT = 1_000_000
"""Rows up to which every one is looked at: 7 ms a query for 52k, 39 ms for 210k. Above, usearch's graph (HNSW).

A graph is quicker to ask, but was built for 210k rows in 130 s on one busy core, and misses rows: of the
ten nearest of 210k made-up ones it had 83 % with its default settings and 99.6 % with ``_EXPANSION`` (24 ms); for a
query by one vector alone, 39 % and 89 %.
"""
_EXPANSION = 2000
_BATCH = 512
_GRAPH_BATCH = 4096
_SPARE = 16
"""Hits beyond those wanted: in half precision the order of close ones is not to be trusted."""


class SemanticWriter:
    """Writes the vectors of rows into ``folder``, batch by batch; ``close`` finishes it."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self._folder = folder
        self._embedder = embedder
        self._file: BinaryIO = (folder / VECTORS).open("wb")
        self._waiting: list[Row] = []
        self._count = 0

    def append(self, row: Row) -> None:
        """Take the next row."""
        self._waiting.append(row)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def close(self, report: Callable[[float], None]) -> None:
        """Write what is left, and the graph where there are more rows than ``MOST_EXACT``.

        ``report`` hears of the fraction of the graph that is built: a million rows take minutes.
        """
        self._flush()
        self._file.close()
        width = 2 * self._embedder.dimensions
        (self._folder / SHAPE).write_text(json.dumps([self._count, width]), encoding="ascii")
        if self._count > MOST_EXACT:
            from usearch.index import Index

            graph = Index(ndim=width, metric="ip", dtype="f16")
            vectors = _map_vectors(self._folder / VECTORS, self._count, width)
            for start in range(0, self._count, _GRAPH_BATCH):
                report(start / self._count)
                part = np.asarray(vectors[start : start + _GRAPH_BATCH])
                graph.add(np.arange(start, start + len(part), dtype=np.uint64), part)
            graph.save(str(self._folder / GRAPH))

    def _flush(self) -> None:
        rows, self._waiting = self._waiting, []
        if rows:
            asked = self._embedder.embed([row.instruction for row in rows])
            whole = self._embedder.embed([f"{row.instruction}\n{row.response}" for row in rows])
            self._file.write(np.hstack([asked, whole]).astype(np.float16).tobytes())
            self._count += len(rows)


class SemanticIndex:
    """The vectors of an index, memory-mapped. Raises OSError or ValueError where ``folder`` holds no whole ones."""

    def __init__(self, folder: Path) -> None:
        count, width = json.loads((folder / SHAPE).read_bytes())
        self._vectors = _map_vectors(folder / VECTORS, count, width)
        self._graph_file = folder / GRAPH if count > MOST_EXACT else None
        self._graph: usearch.index.Index | None = None

    def find(self, query: NDArray[np.float32], limit: int, by: By = "both") -> list[tuple[int, float]]:
        """Return numbers and scores of the rows nearest to a text's vector, best first; ties by number.

        Nothing is near a text without words.
        """
        count = min(len(self._vectors), limit + _SPARE)
        if count <= 0 or limit < 1 or not query.any():
            return []
        wide = _widen(query, by)
        half = wide.astype(np.float16)
        numbers = self._search_graph(half, count) if self._graph_file else self._search_all(half, count)
        scores = self._vectors[numbers].astype(np.float32) @ wide
        best = sorted(zip(numbers, map(float, scores), strict=True), key=lambda hit: (-hit[1], hit[0]))
        return best[:limit]

    def score(self, query: NDArray[np.float32], numbers: Sequence[int], by: By = "both") -> list[float]:
        """Return the score of each of these rows for a text's vector."""
        if not numbers:
            return []
        return [float(score) for score in self._vectors[list(numbers)].astype(np.float32) @ _widen(query, by)]

    def _search_all(self, query: NDArray[np.float16], count: int) -> list[int]:
        from usearch.compiled import MetricKind
        from usearch.index import search

        found = search(self._vectors, query, count, MetricKind.IP, exact=True, threads=1)
        return [int(key) for key in found.keys]

    def _search_graph(self, query: NDArray[np.float16], count: int) -> list[int]:
        from usearch.index import Index

        if self._graph is None:
            self._graph = Index(ndim=len(query), metric="ip", dtype="f16", expansion_search=_EXPANSION)
            self._graph.view(self._graph_file)
        found = self._graph.search(query, count)
        return [int(key) for key in found.keys]


def _widen(query: NDArray[np.float32], by: By) -> NDArray[np.float32]:
    return np.concatenate([query if by == "both" else np.zeros_like(query), query])


def _map_vectors(path: Path, count: int, width: int) -> NDArray[np.float16]:
    if path.stat().st_size != 2 * count * width:
        raise ValueError(f"{path} is not whole")
    if not count:
        return np.zeros((0, width), dtype=np.float16)
    return np.memmap(path, dtype=np.float16, mode="r", shape=(count, width))
