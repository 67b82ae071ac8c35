"""What traces responses, what it is asked, and what it tells: nouns that the screen and the tracing thread share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from itx.compare.events import Loading
from itx.errors import ItxError
from itx.records import Borrowing, Neighbour, Response, Trace

How = Literal["words", "meaning", "near", "verbatim"]
LIMIT = 50
"""Rows that one search finds at most."""


class Tracer(Protocol):
    """Where the words of a response occur in the tuning data. Slow: called on the tracing thread only."""

    def borrow(self, trace: Trace, response: Response) -> Borrowing:
        """Trace one response of a finished trace. Raises ItxError."""
        ...

    def sketch(self, trace: Trace, response: Response) -> Borrowing:
        """Trace what there is of a response that is being written, quickly; of an empty one, the rows near its prompt.

        Raises ItxError.
        """
        ...

    def search(self, text: str, how: How, limit: int) -> list[Neighbour]:
        """Return the rows that ``text`` finds, best first. Raises ItxError."""
        ...


TracerLoader = Callable[[Callable[[Loading], None]], Tracer]
"""Opens the index of the tuning data and tells how far it is. Raises ItxError."""
Writer = Callable[[Borrowing, Response], None]
"""Records a borrowing beside the run. Raises ItxError."""


@dataclass(frozen=True)
class IndexReady:
    """Rows can be searched now."""


@dataclass(frozen=True)
class IndexFailed:
    """The tuning data cannot be traced."""

    error: ItxError


@dataclass(frozen=True)
class Traced:
    """A finished response was traced."""

    borrowing: Borrowing


@dataclass(frozen=True)
class Sketched:
    """A response that is being written was traced as far as it goes; without an author, the rows near its prompt."""

    borrowing: Borrowing


@dataclass(frozen=True)
class TraceFailed:
    """A response could not be traced; without an author, no rows near its prompt could be found."""

    prompt_id: str
    author: str
    error: ItxError


@dataclass(frozen=True)
class NotWritten:
    """What a response borrowed could not be recorded; it stays in memory."""

    prompt_id: str
    author: str
    error: ItxError


@dataclass(frozen=True)
class Query:
    """One search."""

    text: str
    how: How


@dataclass(frozen=True)
class Found:
    """What a search found, or why it found nothing."""

    query: Query
    rows: list[Neighbour]
    error: ItxError | None = None


@dataclass(frozen=True)
class TracingCrashed:
    """The thread ended in an error that nobody foresaw."""

    error: BaseException


TracingNote: TypeAlias = (
    Loading | IndexReady | IndexFailed | Traced | Sketched | TraceFailed | NotWritten | Found | TracingCrashed
)
