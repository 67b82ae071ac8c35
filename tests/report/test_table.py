"""The tidy table: columns, values and formats."""

from __future__ import annotations

import csv
import io
import json

import msgspec

from itx.records import Trace
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


def test_csv_has_one_line_a_row_and_no_formula() -> None:
    run = build_run()
    text = '=1+1\n\t+2 -3 @x "q", \x1b[31m;'
    trace = build_trace('=cmd|"x"', "p", {"base": "It.", "full": text})
    written = "".join(write_csv(run, [trace]))
    lines = written.splitlines()
    rows = list(csv.DictReader(io.StringIO(written)))
    exact = list(tidy_rows(run, [trace]))
    assert len(lines) == len(rows) + 1 == len(exact) + 1
    assert "\x1b" not in written
    assert all(row["prompt_id"] == '\'=cmd|"x"' for row in rows)
    for row, known in zip(rows, exact, strict=True):
        assert not row["piece"].startswith(("=", "+", "-", "@"))
        assert float(row["author_logp"]) == known["author_logp"]
        assert row["exact"] == "true"
        assert row["span_id"] == ""
