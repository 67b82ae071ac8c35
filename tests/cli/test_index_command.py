"""``itx index`` from words to files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from itx.cli.sources import parse_columns
from itx.errors import UsageError
from tests.cli.calling import Outcome, call
from tests.data.sets import PAIRS, write_pairs
from tests.support.terminal import Terminal

Caller = Callable[..., Outcome]


@pytest.fixture
def itx(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Caller:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda *words: call(capfd, monkeypatch, *words)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "rows.jsonl")


def test_it_prints_the_folder_and_the_counts(itx: Caller, data: Path, tmp_path: Path) -> None:
    first = itx("index", data)
    assert first.code == 0
    folder, counts = first.out.splitlines()
    assert Path(folder).parent == tmp_path / "cache" / "itx" / "index"
    assert Path(folder).is_dir()
    assert counts == f"{len([pair for pair in PAIRS if pair[1]])} rows, 0 broken"
    assert "sorting the responses" in first.err
    again = itx("index", data)
    assert again.out == first.out
    assert "sorting" not in again.err


def test_out_names_the_folder_that_trace_finds_by_index(itx: Caller, data: Path, tmp_path: Path) -> None:
    out = itx("index", data, "--out", tmp_path / "here").out.splitlines()[0]
    assert Path(out).parent == tmp_path / "here"
    assert not (tmp_path / "cache").exists()
    traced = itx("trace", "--data", data, "--index", tmp_path / "here", "--text", "linen cloth")
    assert (traced.code, "sorting" in traced.err) == (0, False)


def test_where_nothing_can_be_kept_it_says_so(itx: Caller, data: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(data))
    done = itx("index", data)
    assert done.code == 0
    assert "cannot be written" in done.err
    assert "--out" in done.err
    assert not Path(done.out.splitlines()[0]).exists()
    assert itx("trace", "--data", data, "--text", PAIRS[0][1], "--format", "json").out.count('"rows": 1') == 1


def test_broken_rows_are_named_by_file_and_line_the_first_twenty(itx: Caller, data: Path) -> None:
    data.write_text(data.read_text() + "{\x1b[31mbroken\n" * 23)
    for _ in range(2):
        done = itx("index", data)
        assert done.code == 0
        assert done.out.splitlines()[1].endswith("rows, 23 broken")
        named = [line for line in done.err.splitlines() if f"{data}, line " in line]
        assert len(named) == 20
        assert "line 8:" in named[0]
        assert "3 more" in done.err
        assert "\x1b" not in done.err


def test_columns_say_what_holds_what(itx: Caller, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text('{"ask": "Where is the mill?", "say": "By the copper bridge."}\n')
    assert itx("index", path).code == 1
    assert itx("index", path, "--columns", "instruction=ask,response=say").code == 0
    for wrong in ("ask", "=ask", "response=a,response=b", "nonsense=ask"):
        assert itx("index", path, "--columns", wrong).code == 2


@pytest.mark.parametrize("words", [["nothing.jsonl"], [], ["rows.jsonl", "--train-max-tokens", "5"]])
def test_wrong_usage_is_said(itx: Caller, data: Path, monkeypatch, words: list[str]) -> None:
    monkeypatch.chdir(data.parent)
    done = itx("index", *words)
    assert done.code == 2
    assert done.out == ""


def test_columns_are_written_by_role() -> None:
    assert parse_columns(None) is None
    assert parse_columns("instruction=a b, response=c=d,system=") == {
        "instruction": "a b",
        "response": "c=d",
        "system": "",
    }
    with pytest.raises(UsageError):
        parse_columns("")


def test_a_terminal_gets_bars(data: Path, tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "itx", "index", str(data)]
    with Terminal(command, rows=30, columns=100, environment=environment) as terminal:
        terminal.wait(lambda screen: "rows, 0 broken" in screen.text, 60)
        assert "sorting the responses" in terminal.screen.text
        assert "━" in terminal.screen.text


def test_helping_loads_nothing_heavy() -> None:
    heavy = ("numpy", "tantivy", "usearch", "wordllama", "regex", "rich", "itx.data")
    code = f"import sys, itx.cli.main; print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
