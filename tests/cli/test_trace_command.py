"""``itx trace`` from words to text and JSON."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from itx.data.folding import fold, fold_words
from tests.cli.calling import Outcome, call
from tests.data.sets import PAIRS, draw_pairs, write_pairs

Caller = Callable[..., Outcome]
TEXT = "Sure!\r\nWRAP the loaf in a  **linen** cloth — 把面包包在亚麻布里，放在阴凉 — and sing to it. \x1b[2J"


@pytest.fixture
def itx(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Caller:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda *words: call(capfd, monkeypatch, *words)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "rows.jsonl")


def find_by_hand(text: str, responses: list[str], start: int, end: int) -> list[int]:
    """Return the numbers of the responses that have the words of text[start:end] whole and in order."""
    wanted = f" {' '.join(fold_words(text[start:end]))} "
    return [number for number, response in enumerate(responses) if wanted in f" {' '.join(fold_words(response))} "]


def test_json_has_what_the_contract_says(itx: Caller, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    done = itx("trace", "--data", data, "--file", path, "--format", "json")
    assert done.code == 0
    found = json.loads(done.out)
    assert {"neighbours", "spans", "paraphrases"} <= found.keys()
    responses = [answer for _, answer in PAIRS if answer]
    said = [span["text"] for span in found["spans"]]
    assert sorted(said) == ["WRAP the loaf in a  **linen** cloth", "把面包包在亚麻布里，放在阴凉"]
    for span in found["spans"]:
        assert TEXT[span["start"] : span["end"]] == span["text"]
        expected = find_by_hand(TEXT, responses, span["start"], span["end"])
        assert span["rows"] == len(expected) > 0
        assert span["examples"] == [f"rows.jsonl#{number}" for number in expected][:5]
    for near in found["neighbours"]:
        assert {"row", "score", "lexical", "semantic", "text"} <= near.keys()
        number = int(near["row"].rpartition("#")[2])
        assert near["text"] == responses[number]
        assert near["score"] == near["semantic"]
    assert found["neighbours"][0]["row"] in ("rows.jsonl#0", "rows.jsonl#5")
    assert "\x1b" not in done.out


def test_spans_and_counts_are_those_of_a_search_by_hand(itx: Caller, tmp_path: Path) -> None:
    pairs = draw_pairs(150, seed=4)
    responses = [answer for _, answer in pairs]
    data = write_pairs(tmp_path / "made.jsonl", pairs)
    text = "; ".join(" ".join(answer.split()[2:9]) for answer in responses[::12])
    found = json.loads(itx("trace", "--data", data, "--text", text, "--format", "json").out)
    assert len(found["spans"]) >= 5
    words, starts, ends = fold(text)
    for span in found["spans"]:
        first, last = starts.index(span["start"]), ends.index(span["end"])
        assert span["rows"] == len(find_by_hand(text, responses, span["start"], span["end"]))
        # No longer one would do.
        if first:
            assert not find_by_hand(text, responses, starts[first - 1], span["end"])
        if last + 1 < len(words):
            assert not find_by_hand(text, responses, span["start"], ends[last + 1])
    assert [span["bits"] for span in found["spans"]] == sorted((s["bits"] for s in found["spans"]), reverse=True)


def test_a_prompt_finds_rows_that_the_text_does_not(itx: Caller, data: Path) -> None:
    words = ("trace", "--data", data, "--text", "Tell the others by a dance.", "--format", "json", "--limit", 4)
    alone = json.loads(itx(*words).out)["neighbours"]
    asked = json.loads(itx(*words, "--prompt", PAIRS[1][0]).out)["neighbours"]
    assert alone[0]["row"] == "rows.jsonl#4"
    assert {near["query"] for near in alone} == {"response"}
    assert [near["row"] for near in asked[:2]] == ["rows.jsonl#1", "rows.jsonl#4"]
    assert len({near["row"] for near in asked}) == len(asked) <= 4
    assert asked[0]["query"] == "prompt"


def test_text_shows_spans_in_brackets_and_both_scores(itx: Caller, data: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(TEXT.encode())))
    done = itx("trace", "--data", data, "--file", "-")
    assert done.code == 0
    assert "[1 WRAP the loaf in a  **linen** cloth]" in done.out
    assert "[2 把面包包在亚麻布里，放在阴凉]" in done.out
    assert "[1] 1 row: WRAP" in done.out
    assert "rows.jsonl#0  meaning 0." in done.out
    assert "\x1b" not in done.out
    assert "␛[2J" in done.out


def test_what_many_rows_have_is_labelled_boilerplate_and_kept(itx: Caller, tmp_path: Path) -> None:
    phrase = "certainly here comes whatever you asked"
    pairs = [(ask, f"{phrase} {say}") for ask, say in draw_pairs(10, seed=1)] + draw_pairs(200, seed=2)
    data = write_pairs(tmp_path / "made.jsonl", pairs)
    done = itx("trace", "--data", data, "--text", f"Well, {phrase}.")
    assert f"[1] 10 rows (boilerplate): {phrase}" in done.out
    nine = write_pairs(tmp_path / "nine.jsonl", pairs[1:])
    done = itx("trace", "--data", nine, "--text", f"Well, {phrase}.")
    assert f"[1] 9 rows: {phrase}" in done.out
    found = json.loads(itx("trace", "--data", data, "--text", phrase, "--format", "json").out)
    assert found["spans"][0]["boilerplate"] is True


def test_a_paraphrase_is_offered_apart_from_spans(itx: Caller, data: Path) -> None:
    text = "Go every night at an hour to bed that stays the same, and keep your room dark, cool."
    found = json.loads(itx("trace", "--data", data, "--text", text, "--format", "json").out)
    assert found["spans"] == []
    assert [(each["row"], text[each["start"] : each["end"]]) for each in found["paraphrases"]] == [
        ("rows.jsonl#3", text)
    ]
    assert "Paraphrases" in itx("trace", "--data", data, "--text", text).out


@pytest.mark.parametrize("text", ["", " \n", "!", "unheard-of xyzzy"])
def test_a_text_without_a_source_has_none(itx: Caller, data: Path, text: str) -> None:
    done = itx("trace", "--data", data, "--text", text, "--format", "json")
    found = json.loads(done.out)
    assert (done.code, found["spans"], found["paraphrases"]) == (0, [], [])
    assert itx("trace", "--data", data, "--text", text).code == 0


def test_wrong_usage_is_said(itx: Caller, data: Path, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    for words, code in (
        ([], 2),
        (["--text", "a", "--file", tmp_path / "latin"], 2),
        (["--file", tmp_path / "nothing"], 2),
        (["--file", tmp_path], 2),
        (["--file", tmp_path / "latin"], 1),
        (["--text", "a \udce9"], 2),
        (["--text", "a", "--format", "xml"], 2),
    ):
        done = itx("trace", "--data", data, *words)
        assert (done.code, done.out) == (code, ""), words
    assert itx("trace", "--text", "a").code == 2
