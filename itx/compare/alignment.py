"""Two tokenizers on one text: the shortest spans at whose both ends either side has a token's end.

Offsets are bytes of the text's UTF-8. A token that ends within a character is no place to cut, unless its own bytes
are known; then it is one where the other side's token ends at the same byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from itx.models.contract import Vocabulary

LOST = "\ufffd"
"""What stands in a text for bytes that make no character."""


class Places(NamedTuple):
    """Positions of an author and places among a scorer's ids (ends exclusive) that spell the same bytes."""

    author_start: int
    author_end: int
    scorer_start: int
    scorer_end: int


class Reading(NamedTuple):
    """What ids spell: ``ends[i]`` bytes of ``text`` are complete after id i, None where a character is under way."""

    text: str
    ends: list[int | None]


def measure_pieces(pieces: Iterable[bytes]) -> list[int]:
    """Return the bytes that are complete after each piece."""
    return list(accumulate(map(len, pieces)))


def align(author: Sequence[int | None], scorer: Sequence[int | None], *, closed: bool = False) -> list[Places]:
    """Return the shortest common spans, in order, from where each side's tokens end in the text.

    Both sides spell the same text, or the scorer its beginning: then what the author has behind the last common end is
    in no span. An empty piece belongs to the span before it, one at the very start to the first. With ``closed`` the
    last token of each side is its EOS, and these two meet.
    """
    ours, theirs = len(author) - closed, len(scorer) - closed
    if ours < 0 or theirs < 0:
        raise ValueError("a side that is closed has an EOS")
    # Of several tokens that end at one byte the last is kept: the others after the first are empty.
    places = {end: place for place, end in enumerate(scorer[:theirs], start=1) if end}
    cuts = {end: place for place, end in enumerate(author[:ours], start=1) if end in places}
    found = []
    start = (0, 0)
    for end, place in cuts.items():
        stop = (place, places[end or 0])
        found.append(Places(start[0], stop[0], start[1], stop[1]))
        start = stop
    if closed:
        found.append(Places(ours, ours + 1, theirs, theirs + 1))
    return found


def read_pieces(vocabulary: Vocabulary, ids: Sequence[int]) -> Reading:
    """Return what ids say behind a context, and where each ends in it.

    Bytes that make no character stand in the text as U+FFFD; so does a character that the last id leaves unfinished.
    """
    decoder = vocabulary.decoder()
    text: list[str] = []
    ends: list[int | None] = []
    size = 0
    under_way: list[int] = []
    for place, token in enumerate(ids, start=1):
        text.append(decoder.feed(token))
        under_way.append(token)
        whole = _is_whole(vocabulary, under_way)
        if place == len(ids):
            text.append(decoder.flush())
            whole = True
            size += len(text[-2].encode())
        size += len(text[-1].encode())
        ends.append(size if whole else None)
        if whole:
            under_way = []
    return Reading("".join(text), ends)


def _is_whole(vocabulary: Vocabulary, ids: Sequence[int]) -> bool:
    """Return whether nothing is left of a character after ids that begin with one."""
    decoder = vocabulary.decoder()
    for token in ids:
        decoder.feed(token)
    return decoder.flush() == ""


def is_lost(reading: Reading, start: int, end: int) -> bool:
    """Return whether the text of tokens ``start`` to ``end``, both ends of a common span, has bytes that are lost."""
    begin = next((each for each in reversed(reading.ends[:start]) if each is not None), 0)
    stop = reading.ends[end - 1]
    return LOST in reading.text.encode()[begin:stop].decode("utf-8", "replace")
