"""Tuning data on the command line: traced as prompts finish, filled in later, never at the cost of a trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from itx.cli.borrowing import DataChoice
from itx.cli.recorded import trace_recorded
from itx.errors import ItxError, UsageError
from itx.runs.recording import Recording
from tests.cli.calling import Outcome, call

Caller = Callable[..., Outcome]
RESPONSE = "The ferry crosses at dawn with nine copper lanterns and a sleeping heron."


@pytest.fixture
def itx(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Caller:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda *words: call(capfd, monkeypatch, *words)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{"instruction": "When does the ferry cross?", "output": RESPONSE}]
    rows += [
        {"instruction": f"Describe hill number {n}.", "output": f"Hill {n} has {n * 7} larches and one well."}
        for n in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "given.jsonl"
    lines = [
        {"id": "a", "prompt": "When does the boat cross?", "response": RESPONSE, "author": "full"},
        {"id": "b", "prompt": "Describe hill number 3.", "response": "I do not know.", "author": "full"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def words(weights: Path, given: Path, out: Path) -> tuple[object, ...]:
    return ("run", weights / "base", f"full={weights / 'full'}", "--responses", given, "--out", out)


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "borrow.jsonl").read_text().splitlines()]


def test_run_records_data_and_borrowings(itx: Caller, weights: Path, given: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = itx(*words(weights, given, out), "--data", data)
    assert done.code == 0, done.err
    stored = json.loads((out / "run.json").read_text())["data"]
    assert stored["reference"] == str(data)
    assert stored["rows"] == 31
    assert stored["fingerprint"].startswith("sha256:")
    assert [(line["prompt_id"], line["author"]) for line in lines(out)] == [("a", "full"), ("b", "full")]
    borrowing = Recording.open(out).borrowing("a", "full")
    assert borrowing is not None
    assert borrowing.neighbours[0].row == "rows.jsonl#0"
    (span,) = [span for span in borrowing.spans if span.borrowed]
    assert span.text == RESPONSE[:-1]
    assert span.examples[0].row == "rows.jsonl#0"
    # All but "crosses", which the prompt has not; function words and "the" do not count.
    assert borrowing.borrowed == borrowing.candidates >= 7
    # The data may go: the run opens, reports and exports without it.
    data.unlink()
    assert "rows.jsonl#0" in itx("open", out).out
    report = json.loads(itx("report", out, "--json").out)["borrowing"]["models"]["full"]
    assert (report["responses"], report["borrowed"]) == (2, borrowing.borrowed)
    table = tmp_path / "t.jsonl"
    assert itx("export", out, "--format", "jsonl", "-o", table).code == 0
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert {row["span_id"] for row in rows if row["borrow"] in {"borrowed", "raised"}} == {span.id}
    assert itx("export", out, "--format", "md", "-o", tmp_path / "t.md").code == 0
    assert "sleeping heron" in (tmp_path / "t.md").read_text().split("Borrowed wording of")[1]


def test_a_run_without_data_is_traced_later(
    itx: Caller, weights: Path, given: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert itx(*words(weights, given, out)).code == 0
    traces = (out / "traces.jsonl").read_bytes()
    assert not (out / "borrow.jsonl").exists()
    assert json.loads((out / "run.json").read_text())["data"] is None
    done = itx(*words(weights, given, out), "--data", data)
    assert done.code == 0, done.err
    assert "2 responses that were recorded without it" in done.err
    assert (out / "traces.jsonl").read_bytes() == traces
    assert json.loads((out / "run.json").read_text())["data"]["rows"] == 31
    assert len(lines(out)) == 2
    again = itx(*words(weights, given, out), "--data", data)
    assert again.code == 0
    assert len(lines(out)) == 2
    # One line lost is one line done again.
    kept = (out / "borrow.jsonl").read_bytes().splitlines(keepends=True)
    (out / "borrow.jsonl").write_bytes(kept[0] + kept[1][:50])
    assert itx(*words(weights, given, out), "--data", data).code == 0
    assert (out / "borrow.jsonl").read_bytes() == b"".join(kept)
    data.write_text(data.read_text() + json.dumps({"instruction": "x", "output": "y"}) + "\n")
    other = itx(*words(weights, given, out), "--data", data)
    assert other.code == 1
    assert "tuning data was sha256:" in other.err


def test_a_tracing_that_fails_loses_no_trace(
    itx: Caller, weights: Path, given: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itx.borrow.join import Joiner

    borrow = Joiner.borrow

    def fail(self: Joiner, trace: object, response: object) -> object:
        if getattr(trace, "prompt_id", "") == "a":
            raise ItxError("The index is gone.", "Build it again.")
        return borrow(self, trace, response)

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Joiner, "borrow", fail)
        done = itx(*words(weights, given, out), "--data", data)
    assert done.code == 3
    assert "prompt a: full could not be traced: The index is gone." in done.err
    assert [entry.prompt_id for entry in _entries(out)] == ["a", "b"]
    assert [line["prompt_id"] for line in lines(out)] == ["b"]
    assert itx(*words(weights, given, out), "--data", data).code == 0
    assert [line["prompt_id"] for line in lines(out)] == ["b", "a"]


def _entries(out: Path) -> list[object]:
    recording = Recording.open(out)
    recording.scan_all()
    return list(recording.entries)


def test_control_rows_are_counted_and_broken_rows_named(
    itx: Caller, weights: Path, given: Path, data: Path, tmp_path: Path
) -> None:
    control = tmp_path / "control.jsonl"
    control.write_text(
        json.dumps({"instruction": "When does the boat cross?", "output": "With nine copper lanterns."}) + "\n"
    )
    data.write_text(data.read_text() + "{broken\n")
    out = tmp_path / "run"
    done = itx(*words(weights, given, out), "--data", data, "--control", control)
    assert done.code == 0, done.err
    assert "rows.jsonl" in done.err
    borrowing = Recording.open(out).borrowing("a", "full")
    assert borrowing is not None
    assert borrowing.null.control is not None
    assert (borrowing.null.control.words, borrowing.null.control.borrowed) == (borrowing.candidates, 3)


def test_control_rows_that_are_named_later_are_counted_for_what_is_traced_already(
    itx: Caller, weights: Path, given: Path, data: Path, tmp_path: Path
) -> None:
    control = tmp_path / "control.jsonl"
    control.write_text(json.dumps({"instruction": "When?", "output": "With nine copper lanterns."}) + "\n")
    out = tmp_path / "run"
    assert itx(*words(weights, given, out), "--data", data).code == 0
    before = Recording.open(out).borrowing("a", "full")
    done = itx(*words(weights, given, out), "--data", data, "--control", control)
    assert done.code == 0, done.err
    stored = json.loads((out / "run.json").read_text())["data"]
    assert stored["control"] == str(control)
    assert stored["control_fingerprint"].startswith("sha256:")
    for prompt_id in ("a", "b"):
        found = Recording.open(out).borrowing(prompt_id, "full")
        assert found is not None
        assert found.null.control is not None
    assert before is not None
    assert before.null.control is None
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"instruction": "Why?", "output": "Nobody knows."}) + "\n")
    changed = itx(*words(weights, given, out), "--data", data, "--control", other)
    assert changed.code == 1
    assert "control rows was sha256:" in changed.err
    itself = itx(*words(weights, given, tmp_path / "second"), "--data", data, "--control", data)
    assert itself.code == 2
    assert "is the tuning data itself" in itself.err


def test_data_is_opened_before_the_weights_and_its_options_need_it(
    itx: Caller, weights: Path, given: Path, tmp_path: Path
) -> None:
    missing = itx(*words(weights, given, tmp_path / "run"), "--data", tmp_path / "none.jsonl")
    assert missing.code in {1, 2}
    assert "none.jsonl" in missing.err
    assert not (tmp_path / "run").exists()
    for option in (("--control", given), ("--columns", "response=answer"), ("--embedder", "x")):
        refused = itx(*words(weights, given, tmp_path / "run"), *option)
        assert refused.code == 2
        assert "--data" in refused.err


def test_a_recorded_run_is_searched_in_its_own_data_only(
    itx: Caller, weights: Path, given: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert itx(*words(weights, given, out), "--data", data).code == 0
    recording = Recording.open(out)
    told: list[str] = []
    tracer = trace_recorded(recording.run, DataChoice(reference=str(data)))(lambda step: told.append(step.what))
    assert [row.row for row in tracer.search("sleeping heron", "verbatim", 5)] == ["rows.jsonl#0"]
    trace = recording.trace("a")
    assert tracer.borrow(trace, trace.responses[0]) == recording.borrowing("a", "full")
    with pytest.raises(UsageError, match="is not the tuning data of this run"):
        trace_recorded(recording.run, DataChoice(reference=str(given)))(lambda step: None)


def test_columns_are_named_by_meaning(itx: Caller, weights: Path, given: Path, tmp_path: Path) -> None:
    data = tmp_path / "odd.jsonl"
    data.write_text(json.dumps({"frage": "When does the boat cross?", "antwort": RESPONSE}) + "\n")
    out = tmp_path / "run"
    done = itx(*words(weights, given, out), "--data", data, "--columns", "instruction=frage,response=antwort")
    assert done.code == 0, done.err
    borrowing = Recording.open(out).borrowing("a", "full")
    assert borrowing is not None
    assert borrowing.neighbours[0].instruction == "When does the boat cross?"
