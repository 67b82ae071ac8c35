"""Rows that share words with a text, by BM25 (Robertson et al. 1994, as tantivy does it: k1 = 1.2, b = 0.75).

Words are those of ``itx.data.folding``, the same as in verbatim matching. A query is made of terms and never parsed:
what a person or a model wrote is no query language.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from itx.data.folding import fold_words
from itx.data.information import is_content
from itx.data.row import Row

if TYPE_CHECKING:
    import tantivy

Field = Literal["instruction", "response", "system"]
FIELDS: tuple[Field, ...] = ("instruction", "response", "system")
MOST_WORDS = 48
"""Words of a query that are looked up, the rarest: the rest of a long text moves no order and costs time."""
_NUMBER = "number"
_HEAP = 128 << 20


class LexicalWriter:
    """Writes the words of rows into ``folder``, on one thread beside the caller's; ``close`` finishes it.

    One thread keeps the order of rows, and with it that of ties, the same each time. Memory: 128 MB of new postings.
    """

    def __init__(self, folder: Path) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_unsigned_field(_NUMBER, indexed=True, fast=True)
        for field in FIELDS:
            builder.add_text_field(field, tokenizer_name="whitespace", index_option="freq")
        self._schema = builder.build()
        self._writer = tantivy.Index(self._schema, path=str(folder)).writer(_HEAP, 1)
        self._count = 0

    def append(self, row: Row) -> None:
        """Take the next row."""
        import tantivy

        document = tantivy.Document()
        document.add_unsigned(_NUMBER, self._count)
        for field in FIELDS:
            words = fold_words(row.text(field))
            if words:
                document.add_text(field, " ".join(words))
        self._writer.add_document(document)
        self._count += 1

    def close(self) -> None:
        """Write what is left and wait until it is on disk."""
        self._writer.commit()
        self._writer.wait_merging_threads()


class LexicalIndex:
    """The postings of an index, memory-mapped. Raises OSError or ValueError where ``folder`` holds none."""

    def __init__(self, folder: Path) -> None:
        import tantivy

        index = tantivy.Index.open(str(folder))
        # Nobody writes to it: no thread is to watch for that.
        index.config_reader("Manual")
        index.reload()
        self._schema = index.schema
        self._searcher: tantivy.Searcher = index.searcher()

    def find(self, words: Iterable[str], limit: int, fields: Sequence[Field] = FIELDS) -> list[tuple[int, float]]:
        """Return numbers and scores of the rows that have words of the query, best first; ties by number."""
        query = self._build_query(words, fields)
        if query is None or limit < 1:
            return []
        return self._search(query, limit)

    def score(self, words: Iterable[str], numbers: Sequence[int], fields: Sequence[Field] = FIELDS) -> dict[int, float]:
        """Return the score of each of these rows; 0 for one that has none of the words."""
        scores = dict.fromkeys(numbers, 0.0)
        query = self._build_query(words, fields)
        return scores if query is None or not numbers else scores | self._search_among(query, scores)

    def find_shares(self, words: Iterable[str], limit: int) -> list[tuple[int, float]]:
        """Return numbers and shares of the rows that have most of the query's information, as ``find`` does."""
        query = self._build_share_query(words)
        return [] if query is None or limit < 1 else self._search(query, limit)

    def score_shares(self, words: Iterable[str], numbers: Sequence[int]) -> dict[int, float]:
        """Return how much of the query's information each of these rows has: from 0 to 1.

        A content word that *n* of *N* rows have tells ln((N + 1) / (n + ½)) (Spärck Jones 1972, smoothed), once,
        wherever a row has it; *n* is of the field that has it most often. A word that no row has is had by none.
        """
        shares = dict.fromkeys(numbers, 0.0)
        query = self._build_share_query(words)
        return shares if query is None or not numbers else shares | self._search_among(query, shares)

    def _build_share_query(self, words: Iterable[str]) -> tantivy.Query | None:
        import tantivy

        content = {word for word in words if is_content(word)}
        found = self._count_rarest(sorted(content), FIELDS)
        rows = self._searcher.num_docs
        weights = {word: math.log((rows + 1) / (max(counts.values()) + 0.5)) for word, counts in found.items()}
        total = sum(weights.values()) + len(content - found.keys()) * math.log((rows + 1) / 0.5)
        parts = []
        for word, counts in found.items():
            terms = [
                (tantivy.Occur.Should, tantivy.Query.term_query(self._schema, field, word, "freq"))
                for field, count in counts.items()
                if count
            ]
            part = tantivy.Query.const_score_query(tantivy.Query.boolean_query(terms), weights[word] / total)
            parts.append((tantivy.Occur.Should, part))
        return tantivy.Query.boolean_query(parts) if parts else None

    def _search_among(self, query: tantivy.Query, numbers: Collection[int]) -> dict[int, float]:
        """Return the scores of those of these rows that the query finds."""
        import tantivy

        chosen = tantivy.Query.const_score_query(
            tantivy.Query.term_set_query(self._schema, _NUMBER, list(numbers)), 0.0
        )
        both = tantivy.Query.boolean_query([(tantivy.Occur.Must, chosen), (tantivy.Occur.Must, query)])
        return dict(self._search(both, len(numbers)))

    def _build_query(self, words: Iterable[str], fields: Sequence[Field]) -> tantivy.Query | None:
        import tantivy

        terms = [
            tantivy.Query.term_query(self._schema, field, word, "freq")
            for word, counts in self._count_rarest(words, fields).items()
            for field, count in counts.items()
            if count
        ]
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms]) if terms else None

    def _count_rarest(self, words: Iterable[str], fields: Sequence[Field]) -> dict[str, dict[Field, int]]:
        """Return in how many rows each field has a word, of the rarest words that any has."""
        found: dict[str, dict[Field, int]] = {}
        for word in dict.fromkeys(words):
            counts = {field: self._searcher.doc_freq(field, word) for field in fields}
            if any(counts.values()):
                found[word] = counts
        rarest = sorted(found, key=lambda word: max(found[word].values()))[:MOST_WORDS]
        return {word: found[word] for word in rarest}

    def _search(self, query: tantivy.Query, limit: int) -> list[tuple[int, float]]:
        hits = self._searcher.search(query, limit, count=False).hits
        numbers = self._searcher.fast_field_values(_NUMBER, [address for _, address in hits])
        # Every document has a number, and an order by score has figures.
        found = [
            (int(number), float(score))
            for number, (score, _) in zip(numbers, hits, strict=True)
            if number is not None and score is not None
        ]
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))
