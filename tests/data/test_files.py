"""Formats: what was written comes back, and what is broken is named while the rest is read."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from itx.data import entries, splitting
from itx.data.entries import read_lines, read_table, read_values
from itx.data.files import find_files, read_entries
from itx.errors import InputError, MissingExtraError, UsageError

Row = dict[str, Any]


def _lines(rows: list[Row], **options: Any) -> bytes:
    return "".join(json.dumps(row, **options) + "\n" for row in rows).encode()


def _table(rows: list[Row], delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["prompt", "response"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[Row]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=2)
    return buffer.getvalue()


def _arrow(rows: list[Row], open_writer: Callable[..., Any]) -> bytes:
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with open_writer(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return buffer.getvalue()


FORMATS: dict[str, Callable[[list[Row]], bytes]] = {
    "a.jsonl": _lines,
    "a.ndjson": lambda rows: b"\xef\xbb\xbf" + _lines(rows, ensure_ascii=False).replace(b"\n", b"\r\n\n"),
    "lines.json": _lines,
    "pretty.json": lambda rows: _lines(rows, indent=2),
    "array.json": lambda rows: json.dumps(rows).encode(),
    "array.jsonl": lambda rows: json.dumps(rows, indent=1).encode(),
    "indented.json": lambda rows: b"\xef\xbb\xbf" + json.dumps(rows, indent=4, ensure_ascii=False).encode(),
    "a.csv": lambda rows: _table(rows, ","),
    "bom.csv": lambda rows: b"\xef\xbb\xbf" + _table(rows, ";"),
    "a.tsv": lambda rows: _table(rows, "\t"),
    "a.json.gz": lambda rows: gzip.compress(json.dumps(rows).encode()),
    "a.csv.gz": lambda rows: gzip.compress(_table(rows, ",")),
    "members.jsonl.gz": lambda rows: b"".join(gzip.compress(_lines([row])) for row in rows) + bytes(9),
    "a.jsonl.zst": lambda rows: zstandard.compress(_lines(rows)),
    "frames.jsonl.zst": lambda rows: b"".join(zstandard.compress(_lines([row])) for row in rows),
    "a.parquet": _parquet,
    "stream.arrow": lambda rows: _arrow(rows, pa.ipc.new_stream),
    "file.arrow": lambda rows: _arrow(rows, pa.ipc.new_file),
}

rows_of_text = st.lists(st.fixed_dictionaries({"prompt": st.text(), "response": st.text()}), min_size=1, max_size=5)


@pytest.mark.parametrize("name", FORMATS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(rows=rows_of_text)
def test_what_was_written_comes_back(name: str, tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / name
    path.write_bytes(FORMATS[name](rows))
    (file,) = find_files(str(path))
    found = list(read_entries(file))
    assert [entry.fault for entry in found] == [None] * len(rows)
    assert [entry.value for entry in found] == rows
    assert [entry.index for entry in found] == list(range(len(rows)))


def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path: Path) -> None:
    rows = [{"prompt": "a\nb", "response": "c"}, {"prompt": "d", "response": "e\nf"}, {"prompt": "g", "response": "h"}]
    expected = {"a.ndjson": [1, 3, 5], "pretty.json": [1, 5, 9], "array.json": [1, 1, 1], "indented.json": [2, 6, 10],
                "a.csv": [2, 4, 6], "a.parquet": [None] * 3}  # fmt: skip
    for name, lines in expected.items():
        (tmp_path / name).write_bytes(FORMATS[name](rows))
        (file,) = find_files(str(tmp_path / name))
        assert [entry.line for entry in read_entries(file)] == lines, name


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=6), st.integers(1, 12), st.sampled_from([None, 1]), st.booleans())
def test_an_array_is_cut_where_json_says_whatever_is_read_at_once(
    values: list[object], chunk: int, indent: int | None, escaped: bool
) -> None:
    raw = json.dumps(values, indent=indent, ensure_ascii=escaped).encode()
    found = list(_with_chunk(chunk, lambda: list(read_values(io.BytesIO(raw), in_array=True))))
    assert [entry.value for entry in found] == values
    assert all(entry.fault is None for entry in found)


def _with_chunk(chunk: int, read: Callable[[], list[entries.Entry]]) -> list[entries.Entry]:
    whole = splitting.CHUNK
    splitting.CHUNK = chunk
    try:
        return read()
    finally:
        splitting.CHUNK = whole


objects = st.builds(
    lambda first, more: {"a": first, "b": [{"c": text} for text in more]}, st.text(), st.lists(st.text())
)
BREAKS = [
    *('{"a": "said "no" twice"}', '{"a": oops, "b": []}', '{"a": "x, "b": []}', '{"a": "x", "b": [}'),
    *('{"a": "x" "b": []}', '{"a": "\\q"}', '{"a": "x"', '{"a": "x" 7}'),
]


@given(st.lists(objects, min_size=2, max_size=6), st.data(), st.sampled_from([None, 2]), st.integers(1, 40))
def test_one_broken_object_costs_no_other(
    values: list[Row], data: st.DataObject, indent: int | None, chunk: int
) -> None:
    place = data.draw(st.integers(0, len(values) - 1))
    parts = [json.dumps(value, indent=indent) for value in values]
    parts[place] = data.draw(st.sampled_from(BREAKS))
    raw = f"[{', '.join(parts)}]".encode()
    found = _with_chunk(chunk, lambda: list(read_values(io.BytesIO(raw), in_array=True)))
    assert [entry.index for entry in found if entry.fault] == [place]
    assert [entry.value for entry in found if not entry.fault] == values[:place] + values[place + 1 :]


@given(st.binary(max_size=60), st.integers(1, 9), st.booleans())
def test_no_bytes_break_the_splitting(raw: bytes, chunk: int, in_array: bool) -> None:
    _with_chunk(chunk, lambda: list(read_values(io.BytesIO(raw), in_array=in_array)))


@given(st.text('[]{}",:\\ \nab1-tn', max_size=40), st.integers(1, 9))
def test_splitting_agrees_with_json_on_what_is_an_array(text: str, chunk: int) -> None:
    raw = f"[{text}]".encode()
    found = _with_chunk(chunk, lambda: list(read_values(io.BytesIO(raw), in_array=True)))
    try:
        values = json.loads(raw, strict=False)
    except ValueError:
        return
    assert [entry.value for entry in found] == values
    assert all(entry.fault is None for entry in found)


@pytest.mark.parametrize(
    ("raw", "reasons"),
    [
        (b'[{"a": 1}, {"a": 2}', [None, None, "closing ] is missing"]),
        (b'[{"a": 1}, {"a": ', [None, "breaks off"]),
        (b'[{"a": 1}] {"a": 2}', [None, "after the end"]),
        (b'[{"a": 1} {"a": 2},,{"a": 3}]', [None, None, None]),
        (b'[{"a": "caf\xe9"}, {"a": 2}]', ["UTF-8", None]),
        (b'[{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b'}, {"a": 2}]', ["nested too deeply", None]),
    ],
)
def test_arrays_that_are_not_whole(raw: bytes, reasons: list[str | None]) -> None:
    found = list(read_values(io.BytesIO(raw), in_array=True))
    assert len(found) == len(reasons)
    for entry, reason in zip(found, reasons, strict=True):
        assert (entry.fault is None) if reason is None else (reason in str(entry.fault))


def test_lines_of_strangers() -> None:
    raw = b'{"a": "\\ud800\\u0000"}\n{"a": "x\x00\ty"}\n{"a": "caf\xe9"}\n{"a": NaN}\n\n{"a"\n' + b"[" * 100_000
    found = list(read_lines(io.BytesIO(raw)))
    assert [entry.line for entry in found] == [1, 2, 3, 4, 6, 7]
    assert [entry.value for entry in found[:2]] == [{"a": "\ud800\0"}, {"a": "x\0\ty"}]
    assert [entry.fault is None for entry in found] == [True, True, False, True, False, False]
    assert found[2].fault == "not valid UTF-8"
    assert found[5].fault == "nested too deeply"


def test_a_line_or_value_past_the_bound_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "LONGEST_ROW", 50)
    monkeypatch.setattr(splitting, "CHUNK", 10)
    rows = [{"a": "x"}, {"a": "y" * 300}, {"a": "z"}]
    for found in (
        list(read_lines(io.BytesIO(_lines(rows)))),
        list(read_values(io.BytesIO(json.dumps(rows).encode()), in_array=True)),
    ):
        assert [entry.value for entry in found] == [rows[0], None, rows[2]]
        assert found[1].fault == "longer than 50 bytes"


def test_tables_of_strangers() -> None:
    raw = b'prompt,response\na,"b\nc"\n\nd,"e"f\ng\nh,caf\xe9\ni,"j\nk,l\nm,\n'
    found = list(read_table(io.BytesIO(raw)))
    assert [(entry.line, entry.value) for entry in found if not entry.fault] == [
        (2, {"prompt": "a", "response": "b\nc"}),
        (9, {"prompt": "k", "response": "l"}),
        (10, {"prompt": "m", "response": ""}),
    ]
    faults = {entry.line: str(entry.fault) for entry in found if entry.fault}
    assert list(faults) == [5, 6, 7, 8]
    assert "1 fields, where the first line names 2" in faults[6]
    assert faults[7] == "not valid UTF-8"


def test_a_field_of_a_megabyte_is_read(tmp_path: Path) -> None:
    long = "many words " * 100_000
    for name, write in FORMATS.items():
        (tmp_path / name).write_bytes(write([{"prompt": "a", "response": long}]))
        (file,) = find_files(str(tmp_path / name))
        assert [entry.value for entry in read_entries(file)] == [{"prompt": "a", "response": long}], name


@pytest.mark.parametrize("name", ["array.json", "a.jsonl", "a.json.gz", "a.jsonl.zst", "a.csv"])
def test_memory_is_bounded_by_the_row_and_not_by_the_file(name: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {number}", "response": "word " * 200} for number in range(20_000)]
    (tmp_path / name).write_bytes(FORMATS[name](rows))
    del rows
    (file,) = find_files(str(tmp_path / name))
    tracemalloc.start()
    count = sum(entry.fault is None for entry in read_entries(file))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 6_000_000  # of 20 MB


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_packed_file_that_breaks_off_gives_what_it_holds(name: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"{number**7}", "response": f"{number**9} " * 9} for number in range(4_000)]
    raw = _lines(rows)
    packed = gzip.compress(raw) if name.endswith("gz") else zstandard.compress(raw)
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])
    (file,) = find_files(str(tmp_path / name))
    *found, last = list(read_entries(file))
    assert 100 < len(found) < 4_000
    assert [entry.value for entry in found] == rows[: len(found)]
    assert last.index == len(found)
    assert "breaks off here" in str(last.fault)
    again = (gzip.compress if name.endswith("gz") else zstandard.compress)(raw)
    (tmp_path / name).write_bytes(packed + again[:12])
    *found, last = list(read_entries(file))
    assert [entry.value for entry in found] == rows
    assert (last.index, "breaks off here" in str(last.fault)) == (len(rows), True)
    (tmp_path / name).write_bytes(packed[:12])
    with pytest.raises(InputError, match="breaks off here"):
        list(read_entries(file))


def test_a_file_that_grows_is_read_to_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for tail, faults in (("\n", 0), ('\n{"prompt": "cut', 1)):
        path.write_text('{"prompt": "a"}\n{"prompt": "b"}' + tail)
        (file,) = find_files(str(path))
        reading = read_entries(file)
        found = [next(reading)]
        with path.open("a") as more:
            more.write(' here"}\n{"prompt": "c"}\n')
        found += list(reading)
        assert [entry.value for entry in found if not entry.fault] == [{"prompt": "a"}, {"prompt": "b"}]
        told = [str(entry.fault) for entry in found if entry.fault]
        assert len(told) == faults
        assert all("grew while it was read" in reason for reason in told)


def test_a_long_file_that_grows_is_read_to_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"prompt": "word " * 60, "number": number} for number in range(6_000)]
    path.write_bytes(_lines(rows))
    (file,) = find_files(str(path))
    reading = read_entries(file)
    found = [next(reading)]
    with path.open("ab") as more:
        more.write(_lines(rows))
    found += list(reading)
    assert [entry.value for entry in found] == rows


def test_a_folder_of_shards(tmp_path: Path) -> None:
    for name in ("b/part-0.parquet", "a/part-0.parquet", "a/part-1.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(_parquet([{"text": name}]))
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "README.md").write_text("# Rows")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.jsonl").write_text("{}")
    files = find_files(str(tmp_path))
    assert [file.name for file in files] == ["a/part-0.parquet", "part-1.parquet", "b/part-0.parquet"]
    assert [file.name for file in find_files(f"{tmp_path}/*/part-0.*")] == ["a/part-0.parquet", "b/part-0.parquet"]


def test_of_a_folder_with_splits_the_rows_tuned_on_are_read(tmp_path: Path) -> None:
    for name in ("train-0.jsonl", "train-1.jsonl", "test-0.jsonl", "validation.jsonl", "trainer.jsonl"):
        (tmp_path / name).write_text('{"text": "x"}')
    assert [file.name for file in find_files(str(tmp_path))] == ["train-0.jsonl", "train-1.jsonl", "trainer.jsonl"]
    for name in ("train-0.jsonl", "train-1.jsonl"):
        (tmp_path / name).unlink()
    assert [file.name for file in find_files(str(tmp_path))] == ["test-0.jsonl", "trainer.jsonl", "validation.jsonl"]


def test_saved_data_sets(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{number}", "response": f"a{number}"} for number in range(5)]
    made = datasets.Dataset.from_list(rows)
    made.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"test": made.select([0]), "train": made.select([4, 2])}).save_to_disk(tmp_path / "dict")
    datasets.DatasetDict({"x": made, "y": made}).save_to_disk(tmp_path / "splits")
    for folder, expected in (("one", rows), ("dict", [rows[4], rows[2]]), ("dict/test", rows[:1])):
        files = find_files(str(tmp_path / folder))
        assert [entry.value for file in files for entry in read_entries(file)] == expected
    with pytest.raises(UsageError, match="the splits x, y"):
        find_files(str(tmp_path / "splits"))
    (tmp_path / "one" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(InputError, match=r"data-00001-of-00002\.arrow is missing"):
        find_files(str(tmp_path / "one"))
    (tmp_path / "one" / "state.json").write_text('{"_data_files": [{"filename": "../../secret.arrow"}]}')
    with pytest.raises(InputError, match="names no _data_files in its folder"):
        find_files(str(tmp_path / "one"))


def test_columns_without_text_are_left_out_and_bad_text_is_told(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.utf8(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")])
    table = pa.table(
        {
            "text": bad,
            "made": pa.array([1, 2], pa.timestamp("ns")),
            "raw": [b"\0", b"\1"],
            "kind": pa.array(["k", None]),
        }
    )
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "a.arrow").write_bytes(buffer.getvalue())
    (file,) = find_files(str(tmp_path / "a.arrow"))
    first, second = list(read_entries(file))
    assert first.value == {"text": "a", "kind": "k"}
    assert "UTF8" in str(second.fault)


@pytest.mark.parametrize("name", ["a.parquet", "stream.arrow", "file.arrow"])
def test_a_columnar_file_that_is_cut(name: str, tmp_path: Path) -> None:
    rows = [{"prompt": "q" * number, "response": "a"} for number in range(200)]
    whole = FORMATS[name](rows)
    for size in (3, 7, 40, len(whole) // 2, len(whole) - 9):
        (tmp_path / name).write_bytes(whole[:size])
        (file,) = find_files(str(tmp_path / name))
        found: list[entries.Entry] = []
        try:
            found += read_entries(file)
        except InputError as error:
            assert name in error.cause
        else:
            assert "breaks off here" in str(found.pop().fault) or len(found) == 199
        assert [entry.value for entry in found] == rows[: len(found)]


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("a.txt", b"Once upon a time", "begins with 'Once"),
        ("a.pdf", b"%PDF-1.7\0\xff", "begins with '%PDF"),
        ("a.parquet", b"no", "begins with 'no'"),
        ("a.jsonl", b"", "is empty"),
        ("a.json", b"\xef\xbb\xbf \n", "is empty"),
        ("a.jsonl", '{"text": "x"}'.encode("utf-16"), "is UTF-16"),
        ("a.csv", "prompt,response\n".encode("utf-16-le"), "is UTF-16"),
        ("a.parquet", b"PAR1 and then nothing", "no whole Parquet file"),
    ],
)
def test_a_file_that_is_no_data(name: str, raw: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(raw)
    (file,) = find_files(str(tmp_path / name))
    with pytest.raises(InputError, match=reason) as raised:
        list(read_entries(file))
    assert str(tmp_path / name) in raised.value.cause
    assert raised.value.remedy


@pytest.mark.parametrize(
    "reference", ["", "a\0b", "rows.jsonl", "./rows", "folder/rows.jsonl.gz", "/nowhere/rows", "rows-*.json", "squad"]
)
def test_what_is_not_there(reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as raised:
        find_files(reference)
    assert raised.value.remedy


def test_a_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(InputError, match="holds no data file"):
        find_files(str(tmp_path))


@pytest.mark.parametrize(
    ("package", "name", "extra"),
    [("zstandard", "a.jsonl.zst", "data"), ("pyarrow", "a.parquet", "data"), ("datasets", None, "hub")],
)
def test_a_package_that_is_not_installed(
    package: str, name: str | None, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = "owner/name"
    if name:
        reference = str(tmp_path / name)
        (tmp_path / name).write_bytes(FORMATS[name]([{"prompt": "x", "response": "y"}]))
    monkeypatch.setitem(sys.modules, package, None)
    (file,) = find_files(reference)
    with pytest.raises(MissingExtraError) as raised:
        list(read_entries(file))
    assert (raised.value.package, raised.value.extra) == (package, extra)


def test_a_data_set_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def load(name: str, config: str | None, *, split: str) -> object:
        asked.append((name, config, split))
        if name == "no/such":
            raise FileNotFoundError("nowhere")
        return datasets.Dataset.from_list([{"prompt": "q", "response": "a"}] * 300)

    monkeypatch.setattr(datasets, "load_dataset", load)
    for reference in ("owner/name", "owner/name:sft", "owner/name/small:sft"):
        (file,) = find_files(reference)
        assert file.path is None
        assert [entry.index for entry in read_entries(file) if entry.value == {"prompt": "q", "response": "a"}] == [
            *range(300)
        ]
    assert asked == [("owner/name", None, "train"), ("owner/name", None, "sft"), ("owner/name", "small", "sft")]
    (file,) = find_files("no/such")
    with pytest.raises(UsageError, match=r"no file or folder no/such.*nowhere"):
        list(read_entries(file))
