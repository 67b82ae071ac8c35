"""Reading runs: lazily, while they are written, and from strangers."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itx.errors import RunError
from itx.records import Run, Trace
from itx.runs.recorder import Recorder
from itx.runs.recording import Recording
from tests.support.traces import build_run, build_trace, build_traces, write_run


def _store(folder: Path, run: dict[str, Any] | bytes, lines: list[bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_bytes(run if isinstance(run, bytes) else json.dumps(run).encode())
    (folder / "traces.jsonl").write_bytes(b"".join(lines))
    return folder


def _plain(run: Run) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(msgspec.json.encode(run))
    return decoded


def test_open_reads_the_first_line_and_scan_the_rest(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 8)
    recording = Recording.open(write_run(tmp_path, run, traces))
    assert recording.run == run
    assert [entry.prompt_id for entry in recording.entries] == ["1"]
    assert not recording.scan(3)
    assert [entry.prompt_id for entry in recording.entries] == ["1", "2", "3", "4"]
    assert recording.scan(4)
    assert recording.scan(1)
    assert [entry.prompt for entry in recording.entries] == [trace.prompt for trace in traces]
    assert [entry.error for entry in recording.entries] == [trace.error is not None for trace in traces]
    assert [entry.cancelled for entry in recording.entries] == [False] * 4 + [True] + [False] * 3
    assert list(recording.traces()) == traces
    raw = (tmp_path / "traces.jsonl").read_bytes()
    for entry, trace in zip(recording.entries, traces, strict=True):
        assert msgspec.json.decode(raw[entry.offset : entry.offset + entry.size], type=Trace) == trace


def test_open_does_not_touch_the_second_line(tmp_path: Path) -> None:
    run = build_run()
    lines = [msgspec.json.encode(trace) + b"\n" for trace in build_traces(run, 3)]
    folder = _store(tmp_path, _plain(run), [lines[0], b"broken\n", lines[2]])
    recording = Recording.open(folder)
    assert len(recording.entries) == 1
    with pytest.raises(RunError, match="line 2"):
        recording.scan(10)
    assert recording.scan(10)
    assert [entry.prompt_id for entry in recording.entries] == ["1", "3"]
    assert [entry.line for entry in recording.entries] == [1, 3]
    with pytest.raises(RunError, match="line 2"):
        list(Recording.open(folder).traces())


def test_the_last_line_of_a_prompt_counts_and_keeps_its_place(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 3)
    redone = build_trace("1", "Asked again", {"base": "a", "full": "the field"})
    recording = Recording.open(write_run(tmp_path, run, [*traces, redone]))
    assert recording.trace("1") == traces[0]
    recording.scan_all()
    assert [entry.prompt for entry in recording.entries] == ["Asked again", traces[1].prompt, traces[2].prompt]
    assert recording.trace("1") == redone
    assert next(trace.prompt for trace in recording.traces()) == "Asked again"


def test_trace_reads_on_to_a_prompt_not_yet_scanned(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 240)[:240]
    recording = Recording.open(write_run(tmp_path, run, traces))
    assert recording.trace("230") == traces[229]
    with pytest.raises(RunError, match="has no prompt '999'"):
        recording.trace("999")


def test_a_run_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 8)
    with Recorder.create(tmp_path / "run", run) as recorder:
        recording = Recording.open(tmp_path / "run")
        assert not recording.entries
        done = threading.Event()

        def write() -> None:
            for number in range(40):
                recorder.append(msgspec.structs.replace(traces[number % 8], prompt_id=str(number)))
            done.set()

        thread = threading.Thread(target=write)
        thread.start()
        while not (done.is_set() and recording.scan(5)):
            recording.scan(5)
            for entry in recording.entries[-1:]:
                assert recording.trace(entry.prompt_id).prompt == entry.prompt
        thread.join()
    assert [entry.prompt_id for entry in recording.entries] == [str(number) for number in range(40)]


def test_a_line_in_the_making_appears_once_it_is_whole(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 2)
    write_run(tmp_path, run, traces[:1])
    recording = Recording.open(tmp_path)
    line = msgspec.json.encode(traces[1]) + b"\n"
    with (tmp_path / "traces.jsonl").open("ab", buffering=0) as file:
        file.write(line[:500])
        assert recording.scan(10)
        assert (len(recording.entries), recording.is_complete) == (1, False)
        file.write(line[500:])
    assert recording.scan(10)
    assert (len(recording.entries), recording.is_complete) == (2, True)
    assert recording.trace("2") == traces[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (b"{", r"run\.json: not valid JSON"),
        (b"[]", r"run\.json: Expected `object`"),
        (b'{"schema": 2, "models": 7}', r"run\.json has schema 2; this itx reads schema 1"),
        (b'{"schema": 0}', r"run\.json: "),
        (b"\xff", r"run\.json: not valid"),
        ({"models": []}, "0 base models"),
        ({"models": [{"name": "a", "role": "base", "reference": "", "engine": ""}]}, "no tuned model"),
        ({"models": [{"name": "a", "role": "judge", "reference": "", "engine": ""}]}, "Invalid enum value 'judge'"),
        ({"thresholds": {"unshifted": 3, "marginal": 1}}, "thresholds need"),
        ({"decoding": {"max_new_tokens": "many"}}, "max_new_tokens"),
    ],
)
def test_a_strangers_description_is_refused_by_name(tmp_path: Path, change: bytes | dict[str, Any], said: str) -> None:
    run = change if isinstance(change, bytes) else _plain(build_run()) | change
    with pytest.raises(RunError, match=said) as caught:
        Recording.open(_store(tmp_path, run, []))
    assert caught.value.remedy


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    run = build_run()
    trace = build_traces(run, 1)[0]
    stored = json.loads(msgspec.json.encode(trace)) | {"later": {"deep": [1]}}
    folder = _store(tmp_path, _plain(run) | {"later": 1}, [json.dumps(stored).encode() + b"\n"])
    assert list(Recording.open(folder).traces()) == [trace]


def _changed(trace: Trace, **changes: object) -> bytes:
    stored = json.loads(msgspec.json.encode(trace))
    stored["responses"][0] |= changes
    return json.dumps(stored).encode() + b"\n"


def _changed_score(trace: Trace, **changes: object) -> bytes:
    stored = json.loads(msgspec.json.encode(trace))
    stored["responses"][1]["scores"]["base"] |= changes
    return json.dumps(stored).encode() + b"\n"


def test_a_strangers_trace_is_refused_by_line(tmp_path: Path) -> None:
    run = build_run()
    trace = build_trace("1", "p", {"base": "It is.", "full": "Sure!"})
    count = len(trace.responses[0].ids)
    cases = {
        b"null\n": "Expected `object`",
        b"\xff\xfe\n": "not valid",
        b"[" * 100_000 + b"\n": "Expected `object`|nested",
        b'{"prompt_id": 1, "prompt": "x"}\n': r"Expected `str`, got `int` - at `\$.prompt_id`",
        b'{"prompt_id": "1"}\n': "missing required field `prompt`",
        _changed(trace, author="stranger"): "unknown model 'stranger'",
        _changed(trace, author="full"): "two responses of the same author",
        _changed(trace, logp=[0.5]): f"the response of base: logp has 1 entries for {count} positions",
        _changed(trace, logp=[None] * count): "Expected `float`, got `null`",
        _changed(trace, ids=[-1] * count): "a negative token id",
        _changed(trace, ends=[99] * count): "ends do not rise",
        _changed(trace, ends=[2, 1] + [5] * (count - 2)): "ends do not rise",
        _changed(trace, finish="bored"): "Invalid enum value 'bored'",
        _changed_score(trace, rank=[0] * len(trace.responses[1].ids)): "scores of base: a rank below 1",
        _changed_score(trace, top=[]): "top has 0 entries",
        _changed_score(trace, ties=[-1] * len(trace.responses[1].ids)): "a negative number of ties",
    }
    good = msgspec.json.encode(msgspec.structs.replace(trace, prompt_id="0")) + b"\n"
    for line, said in cases.items():
        recording = Recording.open(_store(tmp_path, _plain(run), [good, line]))
        with pytest.raises(RunError, match=said) as caught:
            list(recording.traces())
        assert "traces.jsonl, line 2" in caught.value.cause, said
        assert recording.trace("0").prompt_id == "0"


@settings(max_examples=150)
@given(junk=st.binary(max_size=200))
def test_any_bytes_are_a_run_error_or_a_prompt(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, build_run(), [])
    (folder / "traces.jsonl").write_bytes(junk)
    try:
        recording = Recording.open(folder)
        assert all(isinstance(trace, Trace) for trace in recording.traces())
    except RunError as error:
        assert "traces.jsonl, line" in error.cause


def test_missing_pieces_of_a_run_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no folder"):
        Recording.open(tmp_path / "none")
    with pytest.raises(RunError, match="is not a run"):
        Recording.open(tmp_path)
    write_run(tmp_path, build_run(), [])
    (tmp_path / "traces.jsonl").unlink()
    with pytest.raises(RunError, match=r"has no traces\.jsonl"):
        Recording.open(tmp_path)


def test_ends_are_made_for_writers_without_them(tmp_path: Path) -> None:
    run = build_run()
    trace = build_trace("1", "p", {"base": "The battle was fought.", "full": "Sure 🎉!"})
    stored = json.loads(msgspec.json.encode(trace))
    for response in stored["responses"]:
        del response["ends"]
    folder = _store(tmp_path, _plain(run), [json.dumps(stored).encode() + b"\n"])
    read = Recording.open(folder).trace("1")
    assert read.responses[0] == trace.responses[0]
    # The bytes of the emoji do not spell it: all that is known is where the text ends.
    full = read.responses[1]
    assert full.ends == [0] * (len(full.ids) - 2) + [len(full.text)] * 2
    del stored["pieces"]
    folder = _store(tmp_path, _plain(run), [json.dumps(stored).encode() + b"\n"])
    assert Recording.open(folder).trace("1").responses[0].ends[-2:] == [22, 22]
