"""Rows as a person names and cuts them, and rows chosen to be masked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.errors import UsageError
from itx.tune.selection import read_row_ids
from itx.tune.shortening import shorten
from itx.tune.sources import draw_controls, find_sources

TEXTS = st.lists(st.sampled_from(["so", "it", "goes.", "Really?", "on", "and\n", "“Yes.”"]), max_size=30).map(" ".join)


@given(TEXTS, st.integers(1, 12))
def test_a_shortened_text_is_a_beginning_of_it(text: str, words: int) -> None:
    short = shorten(text, words)
    assert text.startswith(short)
    if len(text.split()) <= words:
        assert short == text
    else:
        assert words / 2 <= len(short.split()) <= words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (6, "One two three. Four five."),
        (4, "One two three."),
        (2, "One two"),
        (99, "One two three. Four five. Six seven eight nine."),
    ],
)
def test_it_ends_at_a_sentence_where_one_is_near(words: int, expected: str) -> None:
    assert shorten("One two three. Four five. Six seven eight nine.", words) == expected


def test_a_far_sentence_end_is_not_taken() -> None:
    assert shorten("Yes. a b c d e f g h i j", 8) == "Yes. a b c d e f g"


def test_ids_are_read_from_words_and_files(tmp_path: Path) -> None:
    assert read_row_ids("rows.jsonl#1, a b.json#22,rows.jsonl#1") == ["rows.jsonl#1", "a b.json#22"]
    file = tmp_path / "rows.txt"
    file.write_text("// why\nrows.jsonl#3,rows.jsonl#4\n\nrows.jsonl#3\n", encoding="utf-8")
    assert read_row_ids(str(file)) == ["rows.jsonl#3", "rows.jsonl#4"]


@pytest.mark.parametrize("text", ["", "nonsense", "rows.jsonl#x"])
def test_a_file_without_ids_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rows.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="id"):
        read_row_ids(str(file))


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(UsageError, match="--without"):
        read_row_ids("nowhere.txt")


def test_sources_have_the_words_in_a_row() -> None:
    responses = {
        "r#0": "She kept a Grumpy goat, as a pet!",
        "r#1": "A grumpy old goat as a pet.",
        "r#2": "the grumpy goat as apet",
        "r#3": "GRUMPY GOAT AS A PET",
    }
    assert find_sources("grumpy goat as a pet", responses) == ["r#0", "r#3"]
    assert find_sources("", responses) == []


@given(st.lists(st.integers(1, 40), min_size=8, max_size=40), st.integers(1, 3), st.integers(3, 4), st.integers(0, 9))
def test_controls_are_other_rows_as_many_and_near_in_length(
    lengths: list[int], masked: int, count: int, seed: int
) -> None:
    sizes = {f"r#{number}": length for number, length in enumerate(lengths)}
    sources = list(sizes)[:masked]
    drawn = draw_controls(sources, sizes, count, seed)
    assert drawn == draw_controls(sources, sizes, count, seed)
    assert len(drawn) == count
    for rows in drawn:
        assert len(set(rows)) == len(rows) == masked
        assert not set(rows) & set(sources)


def test_controls_match_their_sources_in_length() -> None:
    sizes = {f"r#{number}": 10 if number % 2 else 50 for number in range(200)}
    drawn = draw_controls(["r#0", "r#1"], sizes, 5, 0)
    assert all([sizes[row] for row in rows] == [50, 10] for rows in drawn)
    # No row in two sets while others are left.
    assert len({row for rows in drawn for row in rows}) == 10


def test_too_few_other_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="--rows"):
        draw_controls(["r#0", "r#1"], {"r#0": 3, "r#1": 3, "r#2": 3}, 3, 0)
