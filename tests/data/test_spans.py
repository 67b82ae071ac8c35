from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itx.data.folding import fold_words
from itx.data.information import Information, content_sums, is_content
from itx.data.spans import Match, find_spans, keep, own_words
from tests.data.runs import count_words, find_kept, is_kept

_COMMON = {"the": 50_000, "of": 40_000, "a": 30_000}
_word = st.sampled_from(["a", "b", "ab", "abc", "the", "cat", "cats", "s", "的", "猫", "é"])
_words = st.lists(_word, max_size=24)


def _as_runs(found: list[tuple[Match, list[int]]]) -> dict[tuple[int, int], set[int]]:
    assert [match.start for match, _ in found] == sorted({match.start for match, _ in found})
    assert all(rows == sorted(set(rows)) for _, rows in found)
    return {(match.start, match.end): set(rows) for match, rows in found}


@settings(max_examples=1500, deadline=None)
@given(_words, st.lists(_words, max_size=6), st.sampled_from([1, 300, 30_000]))
def test_spans_equal_the_oracle(words: list[str], rows: list[list[str]], rarity: int) -> None:
    counts = {"filler": 20 * rarity, **count_words(rows)}
    found = find_spans(words, rows, Information.from_counts(counts))
    assert _as_runs(found) == find_kept(words, rows, counts)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_copied_passages_equal_the_oracle(data: st.DataObject) -> None:
    vocabulary = [*_COMMON, *(f"w{number}" for number in range(60))]
    row = st.lists(st.sampled_from(vocabulary), min_size=0, max_size=40)
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    words: list[str] = []
    for _ in range(data.draw(st.integers(1, 5))):
        source = data.draw(st.sampled_from(rows))
        start = data.draw(st.integers(0, len(source)))
        words += source[start : start + data.draw(st.integers(0, 12))] + data.draw(st.lists(_word, max_size=2))
    counts = {**_COMMON, **dict.fromkeys(vocabulary[3:], 3)}
    found = find_spans(words, rows, Information.from_counts(counts))
    assert _as_runs(found) == find_kept(words, rows, counts)
    for match, _ in found:
        assert is_kept(words[match.start : match.end], counts, sum(map(len, rows)), len(words))


def test_runs_end_where_words_and_rows_end() -> None:
    information = Information.from_counts({"filler": 10**9})
    words = fold_words("cat sat on")
    assert (
        find_spans(words, [fold_words("concat sat"), fold_words("cat s at on"), fold_words("on cat")], information)
        == []
    )
    assert find_spans(words, [["cat"], ["sat", "on"]], information)[0][0][:2] == (1, 3)


@pytest.mark.parametrize(("words", "rows"), [([], []), ([], [["a"]]), (["x", "y"], []), (["x", "y"], [[], []])])
def test_nothing_is_found_in_nothing(words: list[str], rows: list[list[str]]) -> None:
    assert find_spans(words, rows, Information.from_counts({})) == []


def test_the_rule_counts_words_content_and_chance() -> None:
    assert keep(2, 1, 13.4, 100, 100) is False
    assert keep(2, 1, 16.7, 100, 100) is True
    assert keep(1, 1, 99.0, 100, 100) is False
    assert keep(5, 0, 99.0, 100, 100) is False
    assert keep(5, 5, 99.0, 0, 100) is False


def test_the_rarest_span_owns_a_word() -> None:
    spans = [(Match(0, 5, 20.0), 9), (Match(3, 8, 10.0), 1), (Match(6, 9, 30.0), 1), (Match(8, 9, 30.0), 1)]
    assert own_words(spans) == {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 1, 6: 2, 7: 2, 8: 2}
    assert own_words([]) == {}


def test_words_of_grammar_are_no_content() -> None:
    function = ["the", "don't", "的", "は", "า", "with"]
    content = ["cat", "5", "-5", "c++", "猫", "ท", "don", "é"]
    assert not any(is_content(word) for word in function)
    assert all(is_content(word) for word in content)
    assert content_sums([*function, *content]) == [0] * 7 + list(range(1, 9))
    assert all(fold_words(word) == [word] for word in function)


def test_every_listed_word_is_one_that_folding_makes() -> None:
    from importlib.resources import files

    for name in ("function", "characters"):
        text = files("itx.data").joinpath("words", f"{name}.txt").read_text(encoding="utf-8")
        for word in " ".join(line for line in text.splitlines() if not line.startswith("#")).split():
            assert fold_words(word) == [word] and not is_content(word), word


@given(
    st.dictionaries(st.text(max_size=5), st.integers(1, 10**6), max_size=30), st.lists(st.text(max_size=5), max_size=9)
)
def test_information_is_that_of_the_counts(counts: dict[str, int], others: list[str]) -> None:
    from math import log2

    information = Information.from_counts(counts)
    assert information.total == sum(counts.values()) and len(information) == len(counts)
    for word in [*counts, *others]:
        assert information.count(word) == counts.get(word, 0)
        expected = log2(max(information.total, 1) / max(counts.get(word, 0), 1))
        assert information.bits(word) == pytest.approx(expected, abs=1e-9)


def test_information_is_kept_on_disk(tmp_path) -> None:
    counts = {f"word{number}": number + 1 for number in range(1000)}
    path = tmp_path / "words"
    Information.from_counts(counts).save(path)
    again = Information.load(path)
    assert [again.count(word) for word in counts] == list(counts.values())
    whole = path.read_bytes()
    for bad in (b"", whole[:30], whole[:-1], whole + b"x", b"y" + whole[1:]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="words"):
            Information.load(path)


def test_long_texts_are_done_in_time() -> None:
    information = Information.from_counts({"x": 500, "filler": 10**6})
    start = time.perf_counter()
    assert len(find_spans(["x"] * 10_000, [["x"] * 5_000 + ["y"]] * 5, information)) == 5_001
    words = [f"w{number % 3000}" for number in range(10_000)]
    find_spans(words, [words[:5000], words[2000:9000]], information)
    assert time.perf_counter() - start < 10
