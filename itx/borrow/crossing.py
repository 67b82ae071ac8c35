"""The cross-table of a response: positions shifted, marginal or unshifted for base, of borrowed words or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from itx.borrow.category import categories
from itx.records import Borrowing, Record, Response, Score, ShiftClass, Thresholds

SHIFTS: tuple[ShiftClass, ...] = ("shifted", "marginal", "unshifted")
Cell = tuple[str, ShiftClass, bool]
"""A position's category, its class, and whether it belongs to a borrowed word."""


class Row(Record, frozen=True, kw_only=True):
    """Positions of one class: of borrowed words, and all others."""

    borrowed: int = 0
    other: int = 0


class CrossTable(Record, frozen=True, kw_only=True):
    """Positions without EOS, by the class that base gives them."""

    shifted: Row
    marginal: Row
    unshifted: Row


def count_cells(
    response: Response, score: Score, borrowing: Borrowing, pieces: Mapping[int, str], thresholds: Thresholds
) -> Counter[Cell]:
    """Count the response's positions, without a closing EOS and without those that have no rank."""
    named = categories(response, pieces)
    return Counter(
        (named[position], thresholds.classify(rank), position in borrowing.positions)
        for position, rank in enumerate(score.rank[: response.length])
        if rank is not None
    )


def cross(cells: Mapping[Cell, int], category: str | None = None) -> CrossTable:
    """Return the cross-table of all cells, or of one category."""

    def count(shift: ShiftClass) -> Row:
        found = {
            inside: sum(
                number
                for (name, each, borrowed), number in cells.items()
                if each == shift and borrowed == inside and category in {None, name}
            )
            for inside in (True, False)
        }
        return Row(borrowed=found[True], other=found[False])

    return CrossTable(shifted=count("shifted"), marginal=count("marginal"), unshifted=count("unshifted"))
