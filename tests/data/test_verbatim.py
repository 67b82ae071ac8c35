from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itx.data import verbatim_building
from itx.data.folding import fold_words
from itx.data.spans import find_spans
from itx.data.verbatim import VerbatimIndex
from tests.data.runs import count_words, find_kept, list_runs

REAL = Path(__file__).parents[3] / "shared" / "data" / "formats"
_word = st.sampled_from(["a", "b", "ab", "abc", "the", "cat", "cats", "s", "的", "猫", "é"])
_texts = st.lists(st.lists(_word, max_size=15).map(" ".join), max_size=9)


def _build(folder: Path, texts: list[str]) -> VerbatimIndex:
    VerbatimIndex.build(texts, folder)
    return VerbatimIndex.open(folder)


def _check(index: VerbatimIndex, rows: list[list[str]], queries: list[list[str]]) -> int:
    """Compare with the oracle, and return how many spans there were."""
    counts = count_words(rows)
    assert index.rows == len(rows) and index.information.total == sum(counts.values())
    known = list_runs(rows, max(map(len, queries), default=0))
    spans = 0
    for words in queries:
        expected = find_kept(words, rows, counts, known)
        found = index.trace(words)
        assert {(each.start, each.end): each.rows for each in found} == {
            run: len(have) for run, have in expected.items()
        }
        for each in found:
            have = expected[each.start, each.end]
            assert each.examples == sorted(have)[:5]
            run = words[each.start : each.end]
            assert index.count(run) == len(have) and index.find(run, 3) == sorted(have)[:3]
        matches = find_spans(words, rows, index.information)
        assert [match for match, _ in matches] == [pytest.approx(each[:3]) for each in found]
        assert [set(have) for _, have in matches] == [expected[each.start, each.end] for each in found]
        spans += len(found)
    return spans


@pytest.mark.parametrize("shard", [1, 200, 1 << 30])
def test_spans_of_small_alphabets_equal_the_oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: int) -> None:
    monkeypatch.setattr(verbatim_building, "SHARD", shard)
    spans = 0

    @settings(max_examples=100, deadline=None, database=None)
    @given(_texts, st.lists(st.lists(_word, max_size=15), max_size=8), st.booleans())
    def compare(texts: list[str], queries: list[list[str]], filled: bool) -> None:
        nonlocal spans
        texts = [*texts, *texts[:2], *(["zz " * 2000] if filled else [])]
        rows = [fold_words(text) for text in texts]
        spans += _check(_build(tmp_path, texts), rows, [*queries, *rows[:3]] if filled is False else queries)

    compare()
    assert spans > 20


def test_thousands_of_texts_with_copied_passages_equal_the_oracle(tmp_path: Path) -> None:
    draw = random.Random(5)
    vocabulary = [f"{letter}{number}" for number in range(150) for letter in ("x", "é")] + ["the", "of", "a", "it"] * 20
    shares = [1 / (1 + place) for place in range(len(vocabulary))]
    draw.shuffle(vocabulary)
    rows = [draw.choices(vocabulary, shares, k=draw.randrange(0, 60)) for _ in range(150)]
    rows += [rows[3], rows[77], rows[3], []]
    queries = []
    for _ in range(1500):
        words: list[str] = []
        while len(words) < 20:
            source = draw.choice(rows)
            start = draw.randrange(len(source) + 1)
            words += source[start : start + draw.randrange(14)] + draw.choices(vocabulary, shares, k=draw.randrange(3))
        queries.append(words)
    assert _check(_build(tmp_path, [" ".join(row) for row in rows]), rows, queries) > 1500


@pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")
@pytest.mark.parametrize(
    "name", ["alpaca_zh_demo.json", "dpo_en_demo.json", "glaive_toolcall_en_demo.json", "identity.json"]
)
def test_spans_of_real_texts_equal_the_oracle(tmp_path: Path, name: str) -> None:
    entries = json.loads((REAL / name).read_text(encoding="utf-8"))
    texts = []
    for entry in entries:
        if "output" in entry:
            texts.append(entry["output"])
        elif "chosen" in entry:
            texts.append(entry["chosen"]["value"])
        else:
            texts.append("\n\n".join(turn["value"] for turn in entry["conversations"] if turn["from"] != "human"))
    texts = [text[:1200] for text in texts[:60]]
    rows = [fold_words(text) for text in texts]
    mixed = [rows[place][10:40] + rows[place - 1][5:35] + rows[place // 2][:20] for place in range(40)]
    assert _check(_build(tmp_path, texts), rows, [*mixed, *(row[:100] for row in rows[:20])]) > 40


def test_words_end_on_both_sides_and_rows_part_runs(tmp_path: Path) -> None:
    index = _build(tmp_path, ["Concatenate cats", "the cat", "s at once", "", "?!", "cat", "the cats s", "cat"])
    assert index.find(["cat"], 9) == [1, 5, 7]
    assert (index.count(["cat"]), index.count(["cats"]), index.count(["ca"]), index.count(["at"])) == (3, 2, 0, 1)
    assert (index.count(["cat", "s"]), index.count(["cats", "s"]), index.count(["s", "at"])) == (0, 1, 1)
    assert (index.count(["concatenate"]), index.count(["once"]), index.count(["zzz"])) == (1, 1, 0)
    assert (index.count([]), index.find([], 5), index.find(["cat"], 2)) == (0, [], [1, 5])


@pytest.mark.parametrize("texts", [[], [""], ["", "...", "\0\ud800"], ["word"]])
def test_rows_without_words_are_counted_and_found_by_nothing(tmp_path: Path, texts: list[str]) -> None:
    index = _build(tmp_path, texts)
    assert index.rows == len(texts)
    assert index.trace(["word", "other"]) == [] and index.trace([]) == []
    assert index.count(["word"]) == texts.count("word")


def test_hostile_text_is_indexed(tmp_path: Path) -> None:
    texts = [
        "nul\0zebra quagga okapi",
        "lone \ud800 zebra quagga okapi",
        "\x1b[31m zebra\u200d quagga\nokapi",
        "x" * 1_000_000,
    ]
    index = _build(tmp_path, [*texts, "filler " * 500])
    found = index.trace(fold_words("zebra QUAGGA **okapi**"))
    assert [(each.start, each.end, each.rows, each.examples) for each in found] == [(0, 3, 3, [0, 1, 2])]
    assert index.count(["x" * 1_000_000]) == 1 and index.count(["x" * 999_999]) == 0
    assert index.count(["\ud800", "zebra"]) == 0


def test_parts_of_a_response_are_joined(tmp_path: Path) -> None:
    VerbatimIndex.build([("one two", "three"), "four"], tmp_path)
    assert VerbatimIndex.open(tmp_path).find(["two", "three"], 5) == [0]


def test_frequent_spans_are_counted_once_a_row_and_in_time(tmp_path: Path) -> None:
    farewell = "kind regards from zanzibar and all who keep okapi there"
    texts = [f"{farewell} {number} {farewell}" for number in range(20_000)]
    index = _build(
        tmp_path, [*texts, *(" ".join(f"f{number}x{each}" for each in range(300)) for number in range(3000))]
    )
    start = time.perf_counter()
    found = index.trace(fold_words(f"So: {farewell.upper()}, " + "never mind " * 140))
    assert time.perf_counter() - start < 0.5
    assert [(each.start, each.end, each.rows, each.examples) for each in found] == [(1, 11, 20_000, [0, 1, 2, 3, 4])]
    assert index.count(["kind"]) == 20_000 and index.find(["19999", "kind"], 5) == [19_999]


def test_long_texts_are_traced_in_time(tmp_path: Path) -> None:
    draw = random.Random(2)
    words = [f"w{draw.randrange(3000)}" for _ in range(10_000)]
    index = _build(tmp_path, [" ".join(words[:6000]), "ab " * 60_000, " ".join(words[4000:]), *["filler"] * 50])
    for query in (words, words[:5000] + words[3000:8000], ["ab"] * 10_000, (["ab"] * 4999 + ["b"]) * 2):
        start = time.perf_counter()
        assert index.trace(query)
        assert time.perf_counter() - start < 3


def test_progress_counts_rows(tmp_path: Path) -> None:
    seen: list[int] = []
    VerbatimIndex.build(["x y"] * 1200, tmp_path, seen.append)
    assert seen == [500, 1000, 1200]


def test_an_index_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    _build(tmp_path, ["some words of a row", "and of another"])
    assert not list(tmp_path.glob("*.part"))
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, whole in files.items():
        for bad in (None, b"", whole[:-1], whole + b"x"):
            if bad is None:
                (tmp_path / name).unlink()
            else:
                (tmp_path / name).write_bytes(bad)
            with pytest.raises(ValueError, match=str(tmp_path)):
                VerbatimIndex.open(tmp_path)
            (tmp_path / name).write_bytes(whole)
    manifest = json.loads(files["verbatim.json"])
    for change in ({"format": 99}, {"byteorder": "middle"}, {"shards": "x"}):
        (tmp_path / "verbatim.json").write_text(json.dumps(manifest | change))
        with pytest.raises(ValueError, match=str(tmp_path)):
            VerbatimIndex.open(tmp_path)
    with pytest.raises(ValueError, match="absent"):
        VerbatimIndex.open(tmp_path / "absent")


def test_a_build_that_fails_leaves_no_index(tmp_path: Path) -> None:
    _build(tmp_path, ["an old row"])

    def read() -> object:
        yield "a new row"
        raise RuntimeError("the file ended")

    with pytest.raises(RuntimeError):
        VerbatimIndex.build(read(), tmp_path)
    with pytest.raises(ValueError, match="verbatim"):
        VerbatimIndex.open(tmp_path)


def test_an_index_replaces_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(verbatim_building, "SHARD", 1)
        old = _build(tmp_path, ["an old row", "and one more"])
    index = _build(tmp_path, ["a new row"])
    assert len(list(tmp_path.iterdir())) == 5
    assert (index.find(["new", "row"], 5), index.count(["old"])) == ([0], 0)
    # What was opened before stays what it was.
    assert (old.find(["one", "more"], 5), old.count(["new"])) == ([1], 0)
