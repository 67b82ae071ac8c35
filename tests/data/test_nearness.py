"""The rows nearest a prompt: against a plain sum over all rows."""

from __future__ import annotations

import pytest

from itx.data.folding import fold_words
from itx.data.index import Index, open_index
from itx.data.nearness import POOL, WEIGHT
from tests.data.sets import draw_pairs, write_pairs

MANY = 2 * POOL + 300


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("nearness")
    return open_index(str(write_pairs(folder / "rows.jsonl", draw_pairs(MANY))), folder=folder / "index")


@pytest.mark.parametrize("number", range(0, MANY, 97))
def test_the_nearest_are_those_of_all_rows(index: Index, number: int) -> None:
    prompt = " ".join(index.rows[number].instruction.split()[::2]) + " nowhere"
    numbers = list(range(MANY))
    meant = index._semantic.score(index.embedder.embed([prompt])[0], numbers)
    shares = index._lexical.score_shares(fold_words(prompt), numbers)
    scores = [score + WEIGHT * shares[each] for each, score in zip(numbers, meant, strict=True)]
    best = sorted(numbers, key=lambda each: (-scores[each], each))[:5]
    found = index.nearest(prompt)
    assert [near.score for near in found] == pytest.approx([scores[each] for each in best], rel=1e-6)
    assert [near.semantic for near in found] == pytest.approx([meant[index.rows.number(near.row)] for near in found])
    assert {near.row for near in found} == {index.rows[each].id for each in best}


def test_nothing_is_near_nothing(index: Index) -> None:
    assert index.nearest(" \ud800 ") == []
    assert index.nearest("bread", 0) == []
