"""Building all indexes of tuning data: one pass over the rows, and one over what it stored for each suffix array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from itx.data.cache import Tell
from itx.data.embedder import Embedder
from itx.data.lexical import LexicalWriter
from itx.data.row import Row
from itx.data.semantic import SemanticWriter
from itx.data.store import RowStore, RowWriter
from itx.data.verbatim import VerbatimIndex

_REPORT = 500


def write_indexes(rows: Iterable[Row], place: Path, embedder: Embedder, size: int, tell: Tell) -> int:
    """Write rows, words, vectors and suffix arrays into folders of ``place`` and return how many rows there were.

    ``size``, the bytes of the data, is what progress is measured by. Memory is bounded by the postings not yet written
    and by what sorting a shard takes; the data is never held whole.
    """
    folders = {name: place / name for name in ("rows", "lexical", "semantic", "response", "instruction")}
    for folder in folders.values():
        folder.mkdir()
    store = RowWriter(folders["rows"])
    lexical = LexicalWriter(folders["lexical"])
    semantic = SemanticWriter(folders["semantic"], embedder)
    tell("reading rows", 0.0)
    for row in rows:
        store.append(row)
        lexical.append(row)
        semantic.append(row)
        if len(store) % _REPORT == 0:
            tell("reading rows", min(0.99, store.size / size) if size else 0.0)
    count = len(store)
    store.close()
    tell("reading rows", 1.0)
    tell("finishing the index of words", 0.0)
    lexical.close()
    tell("finishing the index of words", 1.0)
    tell("finishing the index of meanings", 0.0)
    semantic.close(lambda done: tell("finishing the index of meanings", done))
    tell("finishing the index of meanings", 1.0)
    stored = RowStore(folders["rows"])
    for name, doing, texts in (
        ("response", "sorting the responses", _responses(stored)),
        ("instruction", "sorting the instructions", _instructions(stored)),
    ):
        VerbatimIndex.build(texts, folders[name], _reporter(doing, count, tell))
        tell(doing, 1.0)
    return count


def _responses(rows: RowStore) -> Iterator[str]:
    return (row.response for row in rows)


def _instructions(rows: RowStore) -> Iterator[str]:
    return ("\n\n".join(filter(None, (row.text("system"), row.instruction))) for row in rows)


def _reporter(doing: str, count: int, tell: Tell) -> Callable[[int], None]:
    def report(done: int) -> None:
        # Folding is about a third of it; sorting, which tells nothing, the rest.
        tell(doing, min(1.0, done / max(count, 1)) / 3)

    return report
