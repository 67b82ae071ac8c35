"""Reading tuning data as others call it: rows with ids, broken rows named, errors that say what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from itx.data.reading import Broken, data_files, read_rows
from itx.data.row import Row
from itx.errors import InputError, UsageError

FORMATS = Path(__file__).parents[2].parent / "shared" / "data" / "formats"


def _write(path: Path, *rows: dict[str, Any] | str) -> str:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return str(path)


def _read(reference: str, columns: dict[str, str] | None = None) -> tuple[list[Row], list[Broken]]:
    broken: list[Broken] = []
    return list(read_rows(reference, columns, broken.append)), broken


def test_rows_are_numbered_with_the_broken_ones_among_them(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "rows.jsonl",
        {"instruction": "a", "output": "A"},
        "{broken",
        "",
        {"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "B"}]},
        {"instruction": "c", "output": ["C"]},
        {"title": "d"},
        "[1]",
        {"instruction": "e", "output": ""},
        {"instruction": "a", "output": "A"},
        {"text": "f \ud800\0\x1b[31m"},
    )
    rows, broken = _read(path)
    assert [(row.id, row.instruction, row.response) for row in rows] == [
        ("rows.jsonl#0", "a", "A"),
        ("rows.jsonl#2", "b", "B"),
        ("rows.jsonl#6", "e", ""),
        ("rows.jsonl#7", "a", "A"),
        ("rows.jsonl#8", "", "f \ufffd\0\x1b[31m"),
    ]
    assert [(one.line, one.index) for one in broken] == [(2, 1), (5, 3), (6, 4), (7, 5)]
    assert {one.file for one in broken} == {path}
    assert str(broken[0]).startswith(f"{path}, line 2: not valid JSON")
    assert "among its messages" in broken[1].reason
    assert broken[2].reason == 'no shape that itx knows: it has "title"'
    assert broken[3].reason == "it is a list, and no object"
    assert list(read_rows(path)) == rows


def test_columns_are_overridden(tmp_path: Path) -> None:
    path = _write(tmp_path / "odd.csv", "ask,tell", "a,A")
    with pytest.raises(InputError) as raised:
        _read(path)
    assert path in raised.value.cause
    assert '"ask", "tell"' in raised.value.cause
    assert "chosen/rejected" in raised.value.cause
    assert "--columns instruction=NAME,response=NAME" in raised.value.remedy
    rows, _ = _read(path, {"instruction": "ask", "response": "tell"})
    assert [(row.instruction, row.response) for row in rows] == [("a", "A")]
    with pytest.raises(UsageError):
        read_rows(path, {"reply": "tell"})


def test_conversations_in_parquet_have_nulls_where_a_key_is_missing(tmp_path: Path) -> None:
    call = {"function": {"name": "tide", "arguments": '{"port": "Ash"}'}}
    turns = [
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "04:10"},
    ]
    rows = [
        {"messages": turns, "tools": None, "made": datetime(2026, 1, 2)},
        {"messages": [{"role": "assistant", "content": "So.", "tool_calls": []}], "tools": [{"name": "tide"}]},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (first, second), broken = _read(str(tmp_path / "rows.parquet"))
    assert broken == []
    assert [(turn.role, turn.text) for turn in first.turns] == [
        ("instruction", "When?"),
        ("response", '{"name": "tide", "arguments": {"port": "Ash"}}'),
        ("tool", "04:10"),
    ]
    assert [(turn.role, turn.text) for turn in second.turns] == [("tool", '[{"name": "tide"}]'), ("response", "So.")]


def test_a_missing_file_is_told_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_rows(str(tmp_path / "none.jsonl"))
    with pytest.raises(UsageError, match="does not exist"):
        data_files(str(tmp_path / "none.jsonl"))
    assert data_files("owner/name") == []


def test_a_file_of_which_nothing_can_be_used(tmp_path: Path) -> None:
    broken: list[Broken] = []
    with pytest.raises(InputError, match=r"none of its 2 rows can be used.*line 1: not valid JSON"):
        list(read_rows(_write(tmp_path / "a.jsonl", "{", "{"), on_broken=broken.append))
    assert [one.index for one in broken] == [0, 1]
    with pytest.raises(InputError, match="holds no rows"):
        _read(_write(tmp_path / "b.json", "[]"))
    with pytest.raises(InputError) as raised:
        _read(_write(tmp_path / "c.json", {"version": 1, "data": [{"text": "x"}]}))
    assert raised.value.remedy == f"""jq '.["data"]' {tmp_path / "c.json"} > rows.json"""


def test_a_folder_with_one_bad_file(tmp_path: Path) -> None:
    for name in ("a/x.jsonl", "b/x.jsonl"):
        (tmp_path / name).parent.mkdir()
        _write(tmp_path / name, {"text": name})
    _write(tmp_path / "bad.json", {"version": 3})
    (tmp_path / "empty.csv").touch()
    rows, broken = _read(str(tmp_path))
    assert [(row.id, row.response) for row in rows] == [("a/x.jsonl#0", "a/x.jsonl"), ("b/x.jsonl#0", "b/x.jsonl")]
    assert {Path(one.file).name for one in broken} == {"bad.json", "empty.csv"}
    assert data_files(str(tmp_path)) == [
        tmp_path / name for name in ("a/x.jsonl", "b/x.jsonl", "bad.json", "empty.csv")
    ]
    for name in ("a/x.jsonl", "b/x.jsonl"):
        (tmp_path / name).write_text("{")
    with pytest.raises(InputError, match="None of the 4 files"):
        _read(str(tmp_path))


def test_a_file_name_of_strangers_can_be_written_and_shown(tmp_path: Path) -> None:
    odd = tmp_path / "r\udcff#1.jsonl"
    try:
        odd.write_text('{"text": "x"}\n{')
    except OSError:
        pytest.skip("this file system takes no such name")
    rows, broken = _read(str(odd))
    assert rows[0].id == "r?#1.jsonl#0"
    assert rows[0].id.rsplit("#", 1)[1] == "0"
    str(broken[0]).encode()


def test_reading_lines_loads_nothing_heavy(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", {"text": "x"})
    heavy = ("numpy", "pyarrow", "datasets", "zstandard")
    program = (
        f"import sys\nfrom itx.data.reading import read_rows\nassert len(list(read_rows({path!r}))) == 1\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


REAL = {
    "alpaca_zh_demo.json": (1000, {"instruction response+": 1000}),
    "identity.json": (91, {"instruction response+": 91}),
    "v1_sft_demo.jsonl": (500, {"instruction response+": 500}),
    "v1_dpo_demo.jsonl": (10, {"system instruction response+ rejected": 10}),
    "kto_en_demo.json": (300, {"instruction response+": 112, "instruction rejected": 111}),
    "dpo_en_demo.json": (
        300,
        {"instruction response+ rejected": 114, "system instruction response+ rejected": 80},
    ),
    "glaive_toolcall_en_demo.json": (300, {"tool instruction response+ tool response+": 36}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str) -> None:
    if not FORMATS.is_dir():
        pytest.skip("the real data files are not here")
    count, patterns = REAL[name]
    rows, broken = _read(str(FORMATS / name))
    assert broken == []
    assert [row.id for row in rows] == [f"{name}#{index}" for index in range(count)]
    found = Counter(" ".join(turn.role + "+" * turn.trained for turn in row.turns) for row in rows)
    assert {pattern: found[pattern] for pattern in patterns} == patterns
    raw = (FORMATS / name).read_text()
    values = [json.loads(line) for line in raw.splitlines()] if name.endswith("l") else json.loads(raw)
    for row, value in zip(rows, values, strict=True):
        strings = _list_strings(value)
        # Alpaca's input is joined to its instruction; every other text stands in the row as in the file.
        for turn in row.turns:
            assert all(
                part in strings for part in ([turn.text] if turn.text in strings else turn.text.split("\n\n", 1))
            )


def _list_strings(value: object) -> set[str]:
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for part in inner for text in _list_strings(part)}
