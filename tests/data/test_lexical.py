from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from itx.data.folding import fold_words
from itx.data.information import is_content
from itx.data.lexical import FIELDS, MOST_WORDS, LexicalIndex, LexicalWriter
from itx.data.row import Row
from tests.data.sets import PAIRS, build_row, build_rows, draw_pairs


def write(rows: list[Row], folder: Path) -> LexicalIndex:
    writer = LexicalWriter(folder)
    for row in rows:
        writer.append(row)
    writer.close()
    return LexicalIndex(folder)


def score_by_hand(rows: list[Row], words: set[str], fields: tuple[str, ...]) -> dict[int, float]:
    """BM25 as its authors wrote it, summed over fields; k1 = 1.2, b = 0.75."""
    scores: Counter[int] = Counter()
    for field in fields:
        texts = [fold_words(row.text(field)) for row in rows]
        mean = sum(map(len, texts)) / len(texts)
        for word in words:
            having = sum(word in text for text in texts)
            rarity = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            for number, text in enumerate(texts):
                times = text.count(word)
                if times:
                    scores[number] += rarity * 2.2 * times / (times + 1.2 * (0.25 + 0.75 * len(text) / mean))
    return dict(scores)


@pytest.mark.parametrize("fields", [FIELDS, ("response",), ("instruction", "system")])
def test_scores_are_those_of_bm25(tmp_path: Path, fields: tuple) -> None:
    # Up to 39 words tantivy keeps lengths exactly.
    rows = [build_row(number, *pair, system="be brief" * (number % 3)) for number, pair in enumerate(draw_pairs(300))]
    index = write(rows, tmp_path)
    for row in rows[::30]:
        words = [*fold_words(row.response)[:12], "nowhere"]
        expected = score_by_hand(rows, set(words), fields)
        found = index.find(words, 300, fields)
        assert dict(found) == pytest.approx(expected, rel=1e-4)
        assert found == sorted(found, key=lambda hit: (-hit[1], hit[0]))
        numbers = list(range(0, 300, 7))
        asked = index.score(words, numbers, fields)
        assert asked == pytest.approx({number: expected.get(number, 0.0) for number in numbers}, rel=1e-4)


@pytest.mark.parametrize("number", [number for number, (_, answer) in enumerate(PAIRS) if answer])
def test_a_row_is_found_by_its_own_words(tmp_path: Path, number: int) -> None:
    index = write(build_rows(), tmp_path)
    asked, answered = PAIRS[number]
    assert index.find(fold_words(answered), 3)[0][0] == number
    if asked:
        assert index.find(fold_words(asked), 3, ("instruction",))[0][0] == number


def test_what_a_person_writes_is_no_query_language(tmp_path: Path) -> None:
    index = write(build_rows(), tmp_path)
    assert index.find(fold_words("Star Wars: A New Hope"), 1)[0][0] == 2
    having = [{word for text in pair for word in fold_words(text)} for pair in PAIRS]
    for text in ("instruction:bread AND -linen", '"linen cloth"~2 (', "* OR *", "number:3", "bread^1000 \ud800 \0"):
        words = set(fold_words(text))
        expected = {number for number, known in enumerate(having) if words & known}
        assert {number for number, _ in index.find(words, 9)} == expected


def share_by_hand(rows: list[Row], query: list[str]) -> list[float]:
    """The share of the query's information that each row has, from the counts of its fields."""
    texts = {field: [set(fold_words(row.text(field))) for row in rows] for field in FIELDS}
    weights = {}
    for word in {word for word in query if is_content(word)}:
        having = max(sum(word in text for text in each) for each in texts.values())
        weights[word] = math.log((len(rows) + 1) / (having + 0.5))
    whole = sum(weights.values())
    return [
        sum(weight for word, weight in weights.items() if any(word in each[number] for each in texts.values())) / whole
        for number in range(len(rows))
    ]


def test_shares_are_those_of_the_prompts_information(tmp_path: Path) -> None:
    rows = [build_row(number, *pair, system="be brief" * (number % 3)) for number, pair in enumerate(draw_pairs(200))]
    index = write(rows, tmp_path)
    for row in rows[::20]:
        words = [*fold_words(row.instruction), *fold_words(row.response)[:6], "the", "nowhere"]
        expected = share_by_hand(rows, words)
        numbers = list(range(0, 200, 3))
        assert index.score_shares(words, numbers) == pytest.approx({number: expected[number] for number in numbers})
        found = index.find_shares(words, 200)
        assert dict(found) == pytest.approx({number: share for number, share in enumerate(expected) if share})
        assert found == sorted(found, key=lambda hit: (-hit[1], hit[0]))
    assert index.score_shares(["the", "nowhere"], [1, 2]) == {1: 0.0, 2: 0.0}
    assert index.find_shares(["the"], 5) == []


def test_nothing_is_found_for_nothing(tmp_path: Path) -> None:
    index = write(build_rows(), tmp_path)
    assert index.find([], 5) == []
    assert index.find(["unheard"], 5) == []
    assert index.find(["bread"], 0) == []
    assert index.score(["unheard"], [1, 2]) == {1: 0.0, 2: 0.0}
    assert index.score(["bread"], []) == {}


def test_of_a_long_text_the_rarest_words_are_looked_up(tmp_path: Path) -> None:
    common = [f"w{number}" for number in range(2 * MOST_WORDS)]
    rows = [build_row(number, " ".join(common), "nothing") for number in range(20)]
    rows.append(build_row(20, "zebra", "nothing"))
    index = write(rows, tmp_path)
    assert dict(index.find([*common, "zebra"], 21))[20] > 0


def test_an_index_without_rows_finds_nothing(tmp_path: Path) -> None:
    assert write([], tmp_path).find(["bread"], 5) == []
