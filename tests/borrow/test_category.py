"""Word categories: the order of the contract, by word and not by piece."""

from __future__ import annotations

from importlib.resources import files
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.borrow.category import categories, name_words, split_words
from itx.records import Response
from tests.support.traces import build_response

NAMES = {"eos", "refusal", "style", "format", "digit", "function", "entity", "content"}


def _named(text: str) -> dict[str, str]:
    words = split_words(text)
    return {text[word.start : word.end]: name for word, name in zip(words, name_words(text, words), strict=True)}


def _response(pieces: list[str], finish: str = "length") -> tuple[Response, dict[int, str]]:
    text = "".join(pieces)
    ends = list(accumulate(map(len, pieces)))
    ids = list(range(len(pieces)))
    if finish == "eos":
        ids.append(len(pieces))
        ends.append(len(text))
    response = Response(author="full", ids=ids, text=text, finish="eos" if finish == "eos" else "length", ends=ends)
    return response, dict(enumerate(pieces))


def test_the_contracts_order() -> None:
    text = "I'm sorry, however 12 of Napoleon's soldiers left."
    assert _named(text) == {
        "I'm": "refusal",
        "sorry": "refusal",
        "however": "style",
        "12": "digit",
        "of": "function",
        "Napoleon's": "entity",
        "soldiers": "content",
        "left": "content",
    }


def test_a_word_of_several_pieces_has_one_category() -> None:
    pieces = [
        "Sure",
        "!",
        " The",
        " battle",
        " of",
        " Water",
        "loo",
        "\n\n",
        "**",
        "Mus",
        "ket",
        "eers",
        "**",
        " don",
        "'t",
        " 1",
        "8",
        "15",
        ".",
    ]
    response, named = _response(pieces, "eos")
    assert categories(response, named) == [
        *("style", "format", "function", "content", "function", "entity", "entity", "format", "format"),
        *(
            "content",
            "content",
            "content",
            "format",
            "function",
            "function",
            "digit",
            "digit",
            "digit",
            "format",
            "eos",
        ),
    ]


def test_a_piece_over_several_words_has_the_first_ones() -> None:
    response, named = _response(["in the", " river Rhine", " —"])
    assert categories(response, named) == ["function", "content", "format"]


@pytest.mark.parametrize(
    ("text", "word", "category"),
    [
        ("Paris is large.", "Paris", "content"),
        ("Large is Paris.", "Paris", "entity"),
        ("It ended. Paris fell.", "Paris", "content"),
        ('It ended." Paris fell.', "Paris", "content"),
        ("It ended\n- Paris", "Paris", "content"),
        ("Go to Dr. Blücher now", "Blücher", "entity"),
        ("By J. Wellington", "Wellington", "entity"),
        ("He said, “Élan vital”", "Élan", "entity"),
        ("We met Ǆ there", "Ǆ", "entity"),
        ("Answer: Paris", "Paris", "content"),
        ("the iPhone", "iPhone", "content"),
        ("at 3.5 km", "3.5", "digit"),
        ("costs 40,000 in 1990s", "40,000", "digit"),
        ("costs 40,000 in 1990s", "1990s", "digit"),
        ("the B2B deal", "B2B", "entity"),
        ("1. Sleep\n2) Rest", "1", "format"),
        ("1. Sleep\n2) Rest", "2", "format"),
        ("In 1813. Then", "1813", "digit"),
        ("1815\nwas", "1815", "digit"),
        ("- **3.** Rest", "3", "format"),
        ("a) first\nb) next", "b", "format"),
        ("a well-known step", "well-known", "content"),
        ("I don’t know that", "don’t", "refusal"),
        ("they don’t see", "don’t", "function"),
        ("this IS it", "IS", "function"),
        ("you can't see", "can't", "function"),
        ("As an AI language model", "language", "refusal"),
        ("the language model", "language", "content"),
        ("as an. AI", "AI", "content"),
        ("for example, salt", "example", "style"),
        ("one example", "example", "content"),
        ("cafe\u0301s open", "cafe\u0301s", "content"),
        ("می\u200cخواهم", "می\u200cخواهم", "content"),
        ("हिन्दी भाषा", "हिन्दी", "content"),
        ("snake_case", "snake", "content"),
        ("Napoleon東京", "東京", "content"),
        ("1815年に", "1815", "digit"),
        ("1815年に", "年に", "content"),
        ("ภาษาไทย", "ภาษาไทย", "content"),
    ],
)
def test_words_by_hand(text: str, word: str, category: str) -> None:
    assert _named(text)[word] == category


def test_what_is_no_word_is_format() -> None:
    pieces = [" ", "\n\n", "—", "🎉", "**", "|", "°", "…", "₤", "##", "_", " -", "。"]
    response, named = _response(pieces)
    assert categories(response, named) == ["format"] * len(pieces)


def test_parts_of_a_character_belong_to_it() -> None:
    response = build_response("full", "the 🎉 ж", [])
    text = "the 🎉 ж"
    assert response.text == text
    found = categories(response, {})
    # the, blank, four bytes of the emoji, blank, two bytes of the letter, EOS; by span, not by piece.
    spans = [response.span(place) for place in range(len(response.ids))]
    letter = [name for name, span in zip(found, spans, strict=True) if span[0] == text.index("ж")]
    assert letter == ["content", "content"]
    emoji = [name for name, span in zip(found, spans, strict=True) if span[0] == text.index("🎉")]
    assert set(emoji) == {"format"}
    assert len(emoji) == 4


def test_unfinished_text_asks_the_piece() -> None:
    response = Response(author="full", ids=[5, 6, 7], text="a", finish="cancelled", ends=[1, 1, 1])
    assert categories(response, {5: "a", 6: "<0xF0>", 7: "word"}) == ["function", "format", "content"]


def test_empty_responses() -> None:
    assert categories(Response(author="full", ids=[], text="", finish="cancelled"), {}) == []
    assert categories(Response(author="full", ids=[1], text="", finish="eos", ends=[0]), {}) == ["eos"]


@given(text=st.text(max_size=200))
def test_words_are_in_order_apart_and_made_of_word_characters(text: str) -> None:
    words = split_words(text)
    assert all(0 <= word.start < word.end <= len(text) for word in words)
    assert all(early.end <= late.start for early, late in pairwise(words))
    outside = set(range(len(text))) - {place for word in words for place in range(word.start, word.end)}
    assert not any(text[place].isalnum() for place in outside)
    assert len(name_words(text, words)) == len(words)


@given(pieces=st.lists(st.text(max_size=8), max_size=30), finish=st.sampled_from(["eos", "length"]))
def test_every_position_has_a_category(pieces: list[str], finish: str) -> None:
    response, named = _response(pieces, finish)
    found = categories(response, named)
    assert len(found) == len(response.ids)
    assert set(found) <= NAMES
    assert ("eos" in found) == (finish == "eos")


@given(
    text=st.text("abc AB.,'1-\n東Ж", max_size=60),
    cuts=st.sets(st.integers(1, 59)),
)
def test_positions_within_a_word_agree(text: str, cuts: set[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    response, named = _response(pieces)
    found = categories(response, named)
    for word, name in zip(split_words(text), name_words(text, split_words(text)), strict=True):
        inside = [
            found[place]
            for place in range(len(pieces))
            if word.start <= response.span(place)[0]
            and response.span(place)[1] <= word.end
            and response.span(place)[0] < response.span(place)[1]
        ]
        assert set(inside) <= {name}


@pytest.mark.parametrize(
    ("room", "name"), [("itx.borrow", "refusal"), ("itx.borrow", "style"), ("itx.data", "function")]
)
def test_word_lists_are_tidy(room: str, name: str) -> None:
    lines = files(room).joinpath("words", f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("#")
    words = [line for line in lines if not line.startswith("#")]
    assert all(words)
    assert len(set(words)) == len(words)
    assert all(word == word.casefold().strip() and split_words(word) for word in words)
