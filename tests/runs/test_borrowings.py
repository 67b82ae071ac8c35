"""``borrow.jsonl``: what is written is read back, by prompt, author and response."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from itx.errors import RunError
from itx.records import Borrowing, ControlCount, Example, Neighbour, Null, Span, Trace
from itx.runs.borrowings import BorrowingReader, BorrowingWriter, fingerprint_response
from itx.runs.recording import Recording
from tests.support.traces import build_run, build_trace, build_traces, write_run


def borrowed(trace: Trace, author: str = "full", **changes: object) -> Borrowing:
    """A borrowing that fits the author's response, with one span at positions 1 and 2."""
    span = Span(
        id=1,
        start=1,
        end=3,
        text="battle was",
        rows=1,
        examples=[Example(row="rows.jsonl#4", text="The battle was long.", start=4, end=14)],
        borrowed=True,
        words=[1],
        rise=4.5,
        raised=True,
    )
    made = Borrowing(
        prompt_id=trace.prompt_id,
        author=author,
        spans=[span],
        neighbours=[Neighbour(row="rows.jsonl#4", score=0.5, text="The battle was long.", semantic=0.5)],
        null=Null(base=ControlCount(words=4, borrowed=0), random=ControlCount(words=5, borrowed=0.25), draws=200),
        candidates=5,
        borrowed=1,
        distinct=1,
        raised=1,
        positions={1: 1},
    )
    return msgspec.structs.replace(made, **changes)


def write(folder: Path, trace: Trace, borrowing: Borrowing) -> None:
    response = trace.response(borrowing.author)
    assert response is not None
    with BorrowingWriter(folder) as writer:
        writer.append(borrowing, response)


def test_a_line_has_the_contracts_keys_and_comes_back(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 3)
    write_run(tmp_path, run, traces)
    recording = Recording.open(tmp_path)
    assert recording.borrowing("1", "full") is None
    write(tmp_path, traces[0], borrowed(traces[0]))
    (line,) = (tmp_path / "borrow.jsonl").read_text().splitlines()
    stored = json.loads(line)
    assert {"prompt_id", "author", "spans", "neighbours", "null"} <= set(stored)
    assert {"id", "start", "end", "text", "rows", "examples", "borrowed"} <= set(stored["spans"][0])
    assert stored["spans"][0]["examples"][0]["row"] == "rows.jsonl#4"
    assert {"row", "score", "text"} <= set(stored["neighbours"][0])
    found = recording.borrowing("1", "full")
    assert found is not None
    response = traces[0].response("full")
    assert response is not None
    assert found == msgspec.structs.replace(borrowed(traces[0]), response=fingerprint_response(response))
    assert recording.borrowing("1", "base") is None
    assert recording.borrowing("2", "full") is None
    assert recording.borrowings_of(traces[0]) == {"full": found}
    assert recording.borrowings_of(traces[1]) == {}


def test_the_contracts_keys_alone_are_enough(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 1)
    write_run(tmp_path, run, traces)
    line = {
        "prompt_id": "1",
        "author": "full",
        "spans": [
            {"id": 1, "start": 0, "end": 2, "text": "x y", "rows": 1, "examples": [{"row": "r#1", "text": "x y"}],
             "borrowed": True}
        ],
        "neighbours": [{"row": "r#1", "score": 1.0, "text": "x y"}],
        "null": {},
    }  # fmt: skip
    (tmp_path / "borrow.jsonl").write_text(json.dumps(line) + "\n")
    found = Recording.open(tmp_path).borrowing("1", "full")
    assert found is not None
    assert [span.text for span in found.spans] == ["x y"]


def test_the_last_line_counts_and_stale_ones_do_not(tmp_path: Path) -> None:
    run = build_run()
    first = build_trace("1", "p", {"base": "It is.", "full": "The battle was fought near Waterloo."})
    again = build_trace("1", "p", {"base": "It is.", "full": "The field was near Brussels in 1815."})
    write_run(tmp_path, run, [first])
    write(tmp_path, first, borrowed(first))
    write(tmp_path, first, borrowed(first, candidates=9))
    recording = Recording.open(tmp_path)
    found = recording.borrowing("1", "full")
    assert found is not None
    assert found.candidates == 9
    write_run(tmp_path, run, [first, again])
    reopened = Recording.open(tmp_path)
    reopened.scan_all()
    # The prompt was asked again, and nothing was traced since.
    assert reopened.borrowing("1", "full") is None
    write(tmp_path, again, borrowed(again, candidates=7))
    found = reopened.borrowing("1", "full")
    assert found is not None
    assert found.candidates == 7


def test_a_torn_line_is_not_read_and_set_aside_by_the_next_writer(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 3)
    write_run(tmp_path, run, traces)
    write(tmp_path, traces[0], borrowed(traces[0]))
    path = tmp_path / "borrow.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-20])
    reader = BorrowingReader(tmp_path)
    response = traces[0].response("full")
    other = traces[1].response("full")
    assert response is not None
    assert other is not None
    assert reader.find("1", response) is not None
    assert reader.find("2", other) is None
    write(tmp_path, traces[1], borrowed(traces[1]))
    assert reader.find("2", other) is not None
    assert (tmp_path / "borrow.torn").read_bytes() == whole[:-20] + b"\n"
    assert path.read_bytes().startswith(whole)
    assert path.read_bytes().count(b"\n") == 2


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    trace = build_trace("1", "p", {"base": "It is.", "full": "The battle was fought near Waterloo."})
    span = borrowed(trace).spans[0]
    for change in (
        {"positions": {999: 1}},
        {"positions": {1: 2}},
        {"borrowed": 9},
        {"raised": 2},
        {"spans": [msgspec.structs.replace(span, end=999)]},
        {"spans": [msgspec.structs.replace(span, rise=float("nan"))]},
        {"spans": [msgspec.structs.replace(span, text="\ud800")]},
        {"null": Null(base=ControlCount(words=1, borrowed=2))},
    ):
        with pytest.raises(RunError, match="cannot be recorded"):
            write(tmp_path, trace, borrowed(trace, **change))
    assert not (tmp_path / "borrow.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (b"broken\n", "not valid JSON"),
        ({"spans": 3}, "Expected `array`"),
        ({"positions": {"99": 1}}, "none of the"),
        ({"borrowed": 6}, "6 of 5 words borrowed"),
        ({"spans": [{"id": 2, "start": 0, "end": 1, "text": "", "rows": 1}]}, "ids do not count from 1"),
        (
            {"spans": [{"id": 1, "start": 0, "end": 1, "text": "", "rows": 1, "examples": [
                {"row": "r", "text": "ab", "start": 1, "end": 3}]}]},
            "outside its text",
        ),
    ],
)  # fmt: skip
def test_a_strangers_line_is_refused_by_number(tmp_path: Path, change: bytes | dict[str, Any], said: str) -> None:
    run = build_run()
    traces = build_traces(run, 1)
    write_run(tmp_path, run, traces)
    write(tmp_path, traces[0], borrowed(traces[0]))
    path = tmp_path / "borrow.jsonl"
    line = path.read_bytes()
    stored = json.loads(line)
    bad = change if isinstance(change, bytes) else json.dumps(stored | change).encode() + b"\n"
    path.write_bytes(bad)
    with pytest.raises(RunError, match=rf"borrow\.jsonl, line 1: .*{said}") as caught:
        Recording.open(tmp_path).borrowing("1", "full")
    assert "sed -i.bak 1d" in caught.value.remedy
