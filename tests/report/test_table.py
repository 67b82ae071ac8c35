"""The tidy table: columns, values and formats."""

from __future__ import annotations

import csv
import io
import json
import sys

import msgspec
import pandas
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from itx.errors import MissingExtraError
from itx.records import Run, Trace
from itx.report.parquet import write_parquet
from itx.report.table import tidy_rows, write_csv, write_jsonl
from tests.support.traces import build_run, build_trace, build_traces

CONTRACT = [
    "prompt_id",
    "author",
    "scorer",
    "position",
    "token_id",
    "piece",
    "author_logp",
    "scorer_logp",
    "rank",
    "ties",
    "shift",
    "kl_author_scorer",
    "kl_scorer_author",
    "js",
    "author_entropy",
    "scorer_entropy",
    "exact",
    "category",
    "initiation",
    "span_id",
    "borrow",
]


def test_rows_have_the_contracts_columns_and_values() -> None:
    run = build_run(("lora", "full"))
    traces = build_traces(run, 8)
    rows = [json.loads(line) for line in write_jsonl(run, traces)]
    assert all(list(row) == CONTRACT for row in rows)
    wanted = 0
    for trace in traces:
        stored = json.loads(msgspec.json.encode(trace))
        for response in stored["responses"]:
            for scorer, score in response["scores"].items():
                wanted += len(response["ids"])
                found = [
                    row
                    for row in rows
                    if (row["prompt_id"], row["author"], row["scorer"])
                    == (stored["prompt_id"], response["author"], scorer)
                ]
                assert [row["position"] for row in found] == list(range(len(response["ids"])))
                assert [row["token_id"] for row in found] == response["ids"]
                assert [row["author_logp"] for row in found] == response["logp"]
                assert [row["author_entropy"] for row in found] == response["entropy"]
                assert [row["scorer_logp"] for row in found] == score["logp"]
                assert [row["scorer_entropy"] for row in found] == score["entropy"]
                for name in ("rank", "ties", "kl_author_scorer", "kl_scorer_author", "js"):
                    assert [row[name] for row in found] == score[name]
                shifts = [
                    "unshifted" if rank == 1 else "marginal" if rank <= 3 else "shifted" for rank in score["rank"]
                ]
                assert [row["shift"] for row in found] == shifts
                assert [row["initiation"] for row in found] == [place < 5 for place in range(len(found))]
                assert [row["category"] == "eos" for row in found] == [
                    response["finish"] == "eos" and place == len(found) - 1 for place in range(len(found))
                ]
                assert all(row["exact"] is True and row["span_id"] is None and row["borrow"] is None for row in found)
                assert [row["piece"] for row in found] == [stored["pieces"][str(token)] for token in response["ids"]]
    assert len(rows) == wanted > 500


def test_no_row_has_its_author_as_scorer() -> None:
    run = build_run()
    trace = build_trace("1", "p", {"base": "It is.", "full": "Sure."}, scorers={"base": [], "full": ["full", "base"]})
    assert {(row["author"], row["scorer"]) for row in tidy_rows(run, [trace])} == {("full", "base")}


def test_unknown_pieces_and_no_traces() -> None:
    run = build_run()
    trace = msgspec.structs.replace(build_trace("1", "p", {"base": "a", "full": "the"}), pieces={})
    assert all(row["piece"] is None for row in tidy_rows(run, [trace]))
    assert list(write_jsonl(run, [Trace(prompt_id="1", prompt="p", error="no")])) == []
    assert "".join(write_csv(run, [])) == ",".join(CONTRACT) + "\n"


def _read_cell(text: str, known: object) -> object:
    """Return what a CSV cell says, of the kind that the exact value has."""
    if known is None:
        return text or None
    if isinstance(known, bool):
        return {"true": True, "false": False}[text]
    return type(known)(text)


def _with_piece(piece: str) -> tuple[Run, Trace]:
    trace = build_trace(piece, "p", {"base": "It is.", "full": "Sure."})
    return build_run(), msgspec.structs.replace(trace, pieces=dict.fromkeys(trace.pieces, piece))


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example("=1+1")
@example("+")
@example("-2")
@example("@x")
@example('a "q", b')
@example("\r")
@example("\n\r\n")
@example("\x1b[31m\0")
@example("NA")
def test_all_formats_say_the_same_of_odd_pieces(piece: str) -> None:
    run, trace = _with_piece(piece)
    exact = list(tidy_rows(run, [trace]))
    assert {row["piece"] for row in exact} == {piece}
    written = "".join(write_csv(run, [trace]))
    table = list(csv.DictReader(io.StringIO(written, newline="")))
    assert len(table) == len(exact) == written.count("\n") - 1, "a row is a line"
    assert not any(character < " " for character in written.replace("\n", ""))
    for row, known in zip(table, exact, strict=True):
        for name, value in known.items():
            if not isinstance(value, str):
                assert _read_cell(row[name], value) == value
            elif value.startswith(("=", "+", "-", "@")):
                assert row[name].startswith("'")
                assert not value.isprintable() or row[name] == f"'{value}"
            else:
                assert not (value.isascii() and value.isprintable()) or row[name] == value
    assert [json.loads(line) for line in write_jsonl(run, [trace])] == exact
    stored = pq.read_table(io.BytesIO(b"".join(write_parquet(run, [trace]))))
    assert stored.column_names == CONTRACT
    assert stored.to_pylist() == exact


def test_pandas_reads_figures_of_csv_exactly() -> None:
    run = build_run(("lora", "full"))
    traces = [*build_traces(run, 4), _with_piece("NA")[1]]
    frame = pandas.read_csv(io.StringIO("".join(write_csv(run, traces))), keep_default_na=False)
    exact = list(tidy_rows(run, traces))
    for name in ("prompt_id", "author", "piece", "author_logp", "kl_author_scorer", "rank", "exact", "category"):
        # Line breaks are shown as signs, and not kept.
        expected = [str(row[name]).replace("\n", "\N{SYMBOL FOR LINE FEED}") for row in exact]
        assert [str(value) for value in frame[name]] == expected, name


def test_parquet_has_groups_types_and_dictionaries() -> None:
    run = build_run(("lora", "full"))
    traces = build_traces(run, 8)
    file = pq.ParquetFile(io.BytesIO(b"".join(write_parquet(run, traces, group=100))))
    assert file.num_row_groups > 3
    assert file.read().to_pylist() == list(tidy_rows(run, traces))
    kinds = {field.name: str(field.type) for field in file.schema_arrow}
    assert kinds["author_logp"] == "double"
    assert kinds["rank"] == "int64"
    assert kinds["exact"] == "bool"
    assert kinds["piece"].startswith("dictionary<values=string")
    empty = pq.read_table(io.BytesIO(b"".join(write_parquet(run, []))))
    assert (empty.num_rows, empty.column_names) == (0, CONTRACT)


def test_parquet_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"itx\[data\]"):
        list(write_parquet(build_run(), []))
