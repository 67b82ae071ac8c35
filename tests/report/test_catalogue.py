"""The figures of the library: those of the report, kept until a file of the run changes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from itx.errors import RunError
from itx.records import Mark, Run
from itx.report.catalogue import Tally, add, count, find_catalogue, read_catalogue
from itx.report.figures import summarise
from itx.runs.kept import find_kept, keep, stamp_run
from itx.runs.library import list_runs
from itx.runs.recording import Recording
from itx.tui.survey import find_rise
from tests.support.traces import build_run, build_traces, write_run
from tests.tui.borrowings import make_borrowing, make_traces, record_borrowings


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(tmp_path: Path, tuned: tuple[str, ...] = ("full",), words: int = 0) -> tuple[Path, Run]:
    run = build_run(tuned)
    return write_run(tmp_path / "run", run, build_traces(run, 12, words=words)), run


@pytest.mark.parametrize("tuned", [("full",), ("lora", "full")])
def test_figures_of_each_model_are_those_of_the_report(tmp_path: Path, tuned: tuple[str, ...]) -> None:
    folder, run = write(tmp_path, tuned)
    found = count(folder, run)
    assert found is not None
    whole = summarise(run, Recording.open(folder).traces())
    assert found.failed == len(whole.failed) > 0
    for name in tuned:
        tally, expected = found.tally(name), whole.models[name]
        assert (tally.positions, tally.shifted) == (expected.positions, expected.counts.shifted)
        assert tally.kl_mean == pytest.approx(expected.kl_mean, rel=1e-12)
        assert tally.responses == expected.responses
    everything = found.tally()
    assert everything.positions == sum(whole.models[name].positions for name in tuned)


def test_each_prompt_has_its_largest_rise_and_length(tmp_path: Path) -> None:
    folder, run = write(tmp_path, words=30)
    found = count(folder, run)
    assert found is not None
    recording = Recording.open(folder)
    recording.scan_all()
    for figures in found.prompts:
        response = recording.trace(figures.prompt_id).response("full")
        if response is None:
            assert figures.failed
            continue
        tally = figures.models["full"]
        assert tally.rise == find_rise(response, "base")
        assert tally.length == response.length
        assert figures.cancelled == (response.finish == "cancelled")


def test_borrowed_words_count_only_for_the_response_they_were_traced_in(tmp_path: Path) -> None:
    traces = make_traces()
    folder = record_borrowings(tmp_path / "run", traces).folder
    found = count(folder, build_run())
    assert found is not None
    full = [trace.response("full") for trace in traces]
    expected = [
        make_borrowing(trace.prompt_id, response) for trace, response in zip(traces, full, strict=True) if response
    ]
    assert found.tally("full").borrowed == sum(each.borrowed for each in expected) > 0
    assert found.tally("full").words == sum(each.candidates for each in expected)
    stale = [msgspec.structs.replace(each, response="sha256:another") for each in expected]
    (folder / "borrow.jsonl").write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in stale))
    again = count(folder, build_run())
    assert again is not None
    assert again.tally("full").traced == 0


def test_marks_are_counted_a_prompt(tmp_path: Path) -> None:
    folder, run = write(tmp_path)
    marks = [
        Mark(time="2026-11-22T10:00:00Z", prompt_id="2", author="full", start=1, end=3, verdict=verdict)
        for verdict in ("hallucinated", "fine")
    ]
    other = msgspec.structs.replace(marks[0], start=0, end=1)
    lines = [msgspec.json.encode(mark) + b"\n" for mark in (*marks, other)]
    (folder / "marks.jsonl").write_bytes(b"".join(lines))
    found = count(folder, run)
    assert found is not None
    assert {each.prompt_id: each.marks for each in found.prompts if each.marks} == {"2": 2}


def test_lines_that_cannot_be_used_are_said_and_a_torn_one_is_left(tmp_path: Path) -> None:
    folder, run = write(tmp_path)
    whole = (folder / "traces.jsonl").read_bytes()
    (folder / "traces.jsonl").write_bytes(whole + b'{"prompt_id": 3}\n' + whole[:100])
    found = count(folder, run)
    assert found is not None
    assert len(found.prompts) == 12
    assert len(found.problems) == 1
    assert "line 13" in found.problems[0]


def test_it_is_kept_until_a_file_changes(tmp_path: Path) -> None:
    folder, run = write(tmp_path)
    assert find_catalogue(folder) is None
    before = read_catalogue(folder, run)
    assert find_catalogue(folder) == before
    assert {path.name for path in folder.iterdir()} == {"run.json", "traces.jsonl"}
    (folder / "marks.jsonl").write_bytes(b"")
    assert find_catalogue(folder) is None
    read_catalogue(folder, run)
    traces = folder / "traces.jsonl"
    traces.write_bytes(traces.read_bytes().replace(b"Waterloo", b"Watergoo"))
    assert find_catalogue(folder) is None


def test_what_is_kept_is_of_this_run_and_version_and_whole(tmp_path: Path) -> None:
    folder, _ = write(tmp_path)
    assert keep("x", folder, 1, stamp_run(folder), [1, 2])
    assert find_kept("x", folder, 1, list[int]) == [1, 2]
    assert find_kept("x", folder, 2, list[int]) is None
    assert find_kept("x", folder, 1, list[str]) is None
    assert find_kept("y", folder, 1, list[int]) is None
    (place,) = (tmp_path / "cache").rglob("*.x")
    place.write_bytes(place.read_bytes()[:-1])
    assert find_kept("x", folder, 1, list[int]) is None


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, run = write(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not keep("x", folder, 1, stamp_run(folder), 1)
    assert read_catalogue(folder, run) is not None


def test_it_stops_when_it_is_told_to_and_says_what_is_missing(tmp_path: Path) -> None:
    folder, run = write(tmp_path)
    assert count(folder, run, lambda: False) is None
    (folder / "traces.jsonl").unlink()
    with pytest.raises(RunError, match=r"traces\.jsonl"):
        count(folder, run)


def test_sums_of_nothing_have_no_figures() -> None:
    nothing = add([])
    assert nothing == Tally()
    assert (nothing.shifted_share, nothing.kl_mean, nothing.length_mean, nothing.borrowed_share) == (None,) * 4


def test_runs_are_found_below_a_folder_but_not_within_a_run(tmp_path: Path) -> None:
    run = build_run()
    wanted = [tmp_path / "a" / "one", tmp_path / "b" / "c" / "two", tmp_path / "three"]
    for folder in (*wanted, tmp_path / "three" / "within", tmp_path / ".hidden" / "no", tmp_path / "1/2/3/4/deep"):
        write_run(folder, run, [])
    (tmp_path / "a" / "circle").symlink_to(tmp_path)
    assert list_runs(tmp_path) == sorted(wanted)
    assert list_runs(tmp_path, 1) == [tmp_path / "three"]
    assert list_runs(tmp_path / "three") == [tmp_path / "three"]
    assert list_runs(tmp_path / "none") == []
