"""What ``itx verify`` recorded, in every kind of report; of a span the last check counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from itx.cli.report import write_json
from itx.records import Trace
from itx.report.document import write_document
from itx.report.overview import write_overview
from itx.report.studying import open_study, read_study
from itx.runs.borrowings import fingerprint_response
from itx.runs.recording import Recording
from itx.runs.verifications import Arm, Verification, append_verification, read_standing
from itx.tui.palette import Signs, choose_palette
from itx.tui.plotting import Writer
from itx.tui.report_words import write_borrowing
from tests.support.traces import build_run, build_traces, write_run
from tests.tui.borrowings import make_traces, record_borrowings


def arm(*logp: float, masked: list[str] | None = None) -> Arm:
    return Arm(
        masked=masked or [],
        tokens=9,
        logp=[*logp],
        response_logp=-9.0,
        text="x",
        says=False,
        last_loss=1.0,
        seconds=1.0,
    )


def make(trace: Trace, author: str, *, removed: float = -9.0, text: str = "a span", **changes: object) -> Verification:
    response = trace.response(author)
    assert response is not None
    check = Verification(
        time="2026-11-25T10:00:00Z",
        prompt_id=trace.prompt_id,
        author=author,
        span=1,
        start=0,
        end=2,
        text=text,
        response=fingerprint_response(response),
        chosen="all",
        having=2,
        seed=0,
        recorded=[-0.5, -0.25],
        unmasked=arm(-0.5, -0.5),
        removed=arm(-0.5, removed, masked=["rows.jsonl#3"]),
        controls=[arm(-0.5, -1.25), arm(-0.5, -0.5), arm(-0.25, -0.5)],
    )
    return replace(check, **changes)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    run = build_run(("lora", "full"))
    return Recording.open(write_run(tmp_path / "run", run, build_traces(run)))


def first(recording: Recording) -> Trace:
    return next(trace for trace in recording.traces() if trace.error is None)


def test_a_check_is_reported_with_its_figures(recording: Recording) -> None:
    without = open_study(recording)
    assert without.checks == []
    assert "Causal checks" not in write_overview(recording.run, without, 200)
    append_verification(recording.folder, make(first(recording), "full"))
    study = open_study(recording)
    (check,) = study.checks
    assert (check.drop, check.control_drops, check.caused) == (8.5, [0.75, 0.0, -0.25], True)
    assert (check.recorded, check.unmasked, check.removed) == (-0.75, -1.0, -9.5)
    assert (check.retunings, check.masked, check.having) == (5, 1, 2)
    text = write_overview(recording.run, study, 200)
    line = next(line for line in text.splitlines() if "full [1]" in line)
    assert "caused" in line
    assert "8.50" in line
    assert "−0.25, 0.00, 0.75" in line
    assert json.loads(write_json(study))["study"]["checks"][0]["drop"] == 8.5
    assert "Causal checks" in write_document(recording.run, study, "report")[0]


def test_the_last_check_of_a_span_and_its_rows_counts(recording: Recording) -> None:
    trace = first(recording)
    append_verification(recording.folder, make(trace, "full"))
    append_verification(recording.folder, make(trace, "full", removed=-0.75))
    append_verification(recording.folder, make(trace, "lora"))
    append_verification(recording.folder, make(trace, "full", response="sha256:0", start=1, end=3))
    append_verification(recording.folder, make(trace, "full", prompt_id="gone"))
    found = read_standing(recording)
    assert [(check.author, check.drop) for check in found] == [("lora", 8.5), ("full", 0.25)]
    text = write_overview(recording.run, open_study(recording), 200)
    assert "not shown to be caused" in next(line for line in text.splitlines() if "full [1]" in line)


def test_words_of_strangers_stay_text(recording: Recording) -> None:
    append_verification(recording.folder, make(first(recording), "full", text="\x1b[31m<b>| `x`\u202e"))
    study = open_study(recording)
    text, _ = write_document(recording.run, study, "report")
    for written in (write_overview(recording.run, study, 200), text):
        assert "\x1b" not in written
        assert "\u202e" not in written
    # Within a code span HTML is text.
    assert text.count("<b>") == text.count("``␛[31m<b>\\| `x`�``") == 1


def test_the_screen_shows_checks_beside_what_was_borrowed(tmp_path: Path) -> None:
    recording = record_borrowings(tmp_path / "run", make_traces())
    append_verification(recording.folder, make(first(recording), "full"))
    study = open_study(recording)
    for width in (77, 116, 160):
        lines = [line.plain for line in write_borrowing(study, Writer(choose_palette(0), Signs()), width)]
        line = next(line for line in lines if line.startswith("full [1]"))
        assert "caused" in line
        assert "8.50" in line or width < 80


def test_a_study_of_traces_alone_has_none(recording: Recording) -> None:
    assert read_study(recording.run, recording.traces()).checks == []
