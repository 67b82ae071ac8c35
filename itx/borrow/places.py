"""From characters of a response to its positions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from itx.records import Response


def find_positions(response: Response, start: int, end: int) -> tuple[int, int]:
    """Return the positions (first, last + 1) that the characters ``start`` to ``end`` (exclusive, not empty) come from.

    A token that ends within a character belongs to the character that it begins. Text behind the last token's belongs
    to it. A closing EOS is none of them, where there is any other position. The response has positions.
    """
    ends = response.ends[: response.length] or response.ends
    first = min(bisect_right(ends, start), len(ends) - 1)
    if response.span(first)[0] == start:
        while first and response.span(first - 1)[0] == start:
            first -= 1
    last = min(bisect_left(ends, end), len(ends) - 1)
    return first, max(first, last) + 1
