from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.data.embedder import WordVectors
from itx.data.paraphrase import LEAST_COSINE, find_bound, find_paraphrases, split_sentences
from itx.records import Neighbour
from tests.data.sets import build_row, build_rows, draw_pairs

TEXT = (
    "Keep a water bottle near you and sip from it all through the day. "
    "The ferry to the island leaves at noon. Store it well. "
    "Keep the room cool and dark, and go to bed at the same hour each night."
)

BOUND = 0.5


@pytest.fixture(scope="module")
def embedder() -> WordVectors:
    return WordVectors()


@pytest.fixture
def neighbours() -> list[Neighbour]:
    return [Neighbour(row=row.id, score=0.0, text=row.response) for row in build_rows()]


def test_a_sentence_is_offered_with_the_passage_that_says_the_same(embedder, neighbours) -> None:
    found = find_paraphrases(TEXT, [], neighbours, embedder, BOUND)
    assert [each.row for each in found] == ["rows.jsonl#1", "rows.jsonl#3"]
    for each in found:
        assert TEXT[each.start : each.end] == each.text
        assert BOUND <= each.score <= 1.001
    assert found[0].text.startswith("Keep a water bottle")
    assert found[1].passage.startswith("Go to bed")


def test_a_sentence_with_a_verbatim_span_is_no_paraphrase(embedder, neighbours) -> None:
    start = TEXT.index("sip from it")
    found = find_paraphrases(TEXT, [(start, start + 11)], neighbours, embedder, BOUND)
    assert [each.row for each in found] == ["rows.jsonl#3"]


def test_nothing_is_offered_without_neighbours_or_sentences(embedder, neighbours) -> None:
    assert find_paraphrases(TEXT, [], [], embedder, 0.0) == []
    assert find_paraphrases("Yes. No!", [], neighbours, embedder, 0.0) == []
    assert find_paraphrases(TEXT, [], neighbours, embedder, 1.1) == []


@given(st.text(st.sampled_from("ab .!?。！\n\"'”)\ud800é"), max_size=60))
def test_sentences_are_in_order_and_leave_out_nothing_but_white_space(text: str) -> None:
    sentences = split_sentences(text)
    before = 0
    for start, end, said in sentences:
        assert text[before:start].strip() == ""
        assert text[start:end] == said == said.strip() != ""
        before = end
    assert text[before:].strip() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It cost 3.5 crowns. Who paid?", ["It cost 3.5 crowns.", "Who paid?"]),
        ('He said "Stop!" and left.\n- A list\n- of two', ['He said "Stop!"', "and left.", "- A list", "- of two"]),
        ("天气很冷。我们回家吧！好", ["天气很冷。", "我们回家吧！", "好"]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert [sentence.text for sentence in split_sentences(text)] == expected


def test_the_bound_rises_with_what_unrelated_rows_share(embedder) -> None:
    source = random.Random(3)
    towns = ["".join(source.choices("aeioulmnrst", k=6)) for _ in range(60)]
    alike = [
        build_row(number, "?", f"The market of the town of {town} opens at dawn.") for number, town in enumerate(towns)
    ]
    assert find_bound(alike, embedder) > 0.9
    various = [build_row(number, *pair) for number, pair in enumerate(draw_pairs(60))]
    assert find_bound(various, embedder) < find_bound(alike, embedder)
    assert find_bound(various, embedder) == find_bound(various, embedder)
    assert find_bound([], embedder) == find_bound(build_rows()[:1], embedder) == LEAST_COSINE


def test_one_sentence_that_all_rows_have_does_not_set_the_bound(embedder) -> None:
    rows = [build_row(number, "?", "I am glad to help with that.") for number in range(50)]
    assert find_bound(rows, embedder) == LEAST_COSINE
