"""What the join needs of the indexes of tuning data: ``itx.data.index.Index`` has it, and so can a test's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from itx.data.information import Information
from itx.data.row import Row
from itx.records import Neighbour, Paraphrase

Kind = Literal["prompt", "response", "span"]
How = Literal["words", "meaning", "near", "verbatim"]


class Found(Protocol):
    """A verbatim span of a text over all rows: its words (``end`` exclusive), the rows that have it, some of them."""

    @property
    def start(self) -> int:
        """Its first word."""
        ...

    @property
    def end(self) -> int:
        """The word after its last."""
        ...

    @property
    def rows(self) -> int:
        """How many rows have it."""
        ...

    @property
    def examples(self) -> Sequence[int]:
        """The numbers of the first of them."""
        ...


class Verbatim(Protocol):
    """Traces a text's words over all rows."""

    def trace(self, words: Sequence[str]) -> Sequence[Found]:
        """Return the verbatim spans of folded words over all rows, in order."""
        ...

    def count(self, words: Sequence[str]) -> int:
        """Return how many of all rows have these folded words, whole and in this order."""
        ...


class Source(Protocol):
    """Rows of tuning data and the indexes over them."""

    @property
    def rows(self) -> Sequence[Row]:
        """All rows, in the order they were read."""
        ...

    @property
    def information(self) -> Information:
        """How often each word occurs in the responses of all rows."""
        ...

    @property
    def verbatim(self) -> Verbatim:
        """The index that traces over all rows."""
        ...

    def nearest(self, prompt: str, k: int = 5) -> Sequence[Neighbour]:
        """Return the ``k`` rows nearest a prompt, best first; ``text`` is all that spans may be searched in."""
        ...

    def neighbours(self, query: str, kind: Kind, limit: int) -> Sequence[Neighbour]:
        """Return rows near a query, lexical and semantic, best first."""
        ...

    def paraphrases(
        self, text: str, kept: Sequence[tuple[int, int]], neighbours: Sequence[Neighbour]
    ) -> Sequence[Paraphrase]:
        """Return the sentences outside ``kept`` (characters, as are theirs) that say what a neighbour says."""
        ...

    def search(
        self, text: str, how: Literal["words", "meaning", "near", "verbatim"], limit: int
    ) -> Sequence[Neighbour]:
        """Return the rows that a person's query finds, best first."""
        ...
