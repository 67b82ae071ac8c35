"""The alignment of two tokenisations of one text, against an oracle that tries every cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.compare.alignment import Places, align, is_lost, measure_pieces, read_pieces
from itx.models.tiny import EOS, TinyVocabulary

TEXTS = st.text(alphabet="ab é東🌸\u0301\n", min_size=1, max_size=12)


@st.composite
def two_cuttings(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    data = draw(TEXTS).encode()
    sides = []
    for _ in range(2):
        cuts = sorted(draw(st.lists(st.integers(1, len(data)), max_size=len(data))))  # twice the same: an empty piece
        sides.append([data[start:end] for start, end in pairwise([0, *cuts, len(data)])])
    return sides[0], sides[1]


def spell(pieces: list[bytes], start: int, end: int) -> bytes:
    return b"".join(pieces[start:end])


@given(two_cuttings())
def test_spans_are_those_of_trying_every_cut(sides: tuple[list[bytes], list[bytes]]) -> None:
    author, scorer = sides
    whole = len(b"".join(author))
    # Every pair of prefixes that spell the same bytes, with all empty pieces that follow taken in, is a cut.
    cuts = {}
    for ours in range(1, len(author) + 1):
        for theirs in range(1, len(scorer) + 1):
            if spell(author, 0, ours) == spell(scorer, 0, theirs) != b"":
                cuts[len(spell(author, 0, ours))] = (ours, theirs)
    expected = [Places(a, b, c, d) for (a, c), (b, d) in pairwise([(0, 0), *(cuts[end] for end in sorted(cuts))])]
    found = align(measure_pieces(author), measure_pieces(scorer))
    assert found == expected
    assert spell(author, 0, found[-1].author_end) == b"".join(author)
    assert found[-1][1::2] == (len(author), len(scorer))
    assert sum(len(spell(author, *each[:2])) for each in found) == whole
    for each in found:
        assert spell(author, *each[:2]) == spell(scorer, *each[2:]) != b""


@given(two_cuttings())
def test_the_two_ends_meet(sides: tuple[list[bytes], list[bytes]]) -> None:
    author, scorer = map(measure_pieces, sides)
    spans = align(author, scorer)
    closed = align([*author, author[-1]], [*scorer, scorer[-1]], closed=True)
    assert closed == [*spans, Places(len(author), len(author) + 1, len(scorer), len(scorer) + 1)]


@given(two_cuttings())
def test_one_cutting_against_itself_is_token_for_token(sides: tuple[list[bytes], list[bytes]]) -> None:
    pieces = [piece for piece in sides[0] if piece]
    ends = measure_pieces(pieces)
    assert align(ends, ends) == [Places(place, place + 1, place, place + 1) for place in range(len(pieces))]


def test_an_empty_piece_belongs_to_the_span_before_it() -> None:
    assert align(measure_pieces([b"", b"a", b"", b"b"]), measure_pieces([b"a", b"b", b""])) == [
        Places(0, 3, 0, 1),
        Places(3, 4, 1, 3),
    ]


def test_nothing_meets_nothing() -> None:
    assert align([], []) == []
    assert align([0], [0], closed=True) == [Places(0, 1, 0, 1)]
    with pytest.raises(ValueError, match="EOS"):
        align([], [1], closed=True)


def test_what_the_scorer_did_not_read_is_in_no_span() -> None:
    assert align(measure_pieces([b"ab", b"cd", b"ef"]), measure_pieces([b"ab", b"c"])) == [Places(0, 1, 0, 1)]


def test_no_cut_within_a_character_whose_bytes_are_not_known() -> None:
    reading = read_pieces(TinyVocabulary(), list("a🌸b".encode()))
    assert reading == ("a🌸b", [1, None, None, None, 5, 6])
    assert align(reading.ends, reading.ends) == [Places(0, 1, 0, 1), Places(1, 5, 1, 5), Places(5, 6, 5, 6)]


@given(st.lists(st.sampled_from([*b"ab", *"é東🌸".encode(), 0xFF]), max_size=10))
def test_a_reading_is_what_the_bytes_spell(ids: list[int]) -> None:
    text, ends = read_pieces(TinyVocabulary(), ids)
    assert text == bytes(ids).decode("utf-8", "replace")
    assert len(ends) == len(ids)
    for place, end in enumerate(ends, start=1):
        before = bytes(ids[:place]).decode("utf-8", "replace")
        after = bytes(ids[place:]).decode("utf-8", "replace")
        assert (end is not None) == ((before + after == text and whole(ids[:place])) or place == len(ids))
        assert end is None or text.encode()[:end].decode() == before


def whole(ids: list[int]) -> bool:
    """Return whether a byte that follows cannot change the end."""
    return all(
        bytes([*ids, *more]).decode("utf-8", "replace").startswith(bytes(ids).decode("utf-8", "replace"))
        for more in ([0x80], [0x80, 0x80], [0x8C, 0xB8], [0x9F, 0x8C, 0xB8], [0xA9], [0xB1])
    )


def test_lost_bytes_are_seen() -> None:
    reading = read_pieces(TinyVocabulary(), [*b"a", 0xFF, *b"b", 0xE6])
    assert reading == ("a\ufffdb\ufffd", [1, 4, 5, 8])
    assert [is_lost(reading, place, place + 1) for place in range(4)] == [False, True, False, True]
    assert read_pieces(TinyVocabulary(), [EOS]).text == "<eos>"
