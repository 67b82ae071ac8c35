"""Recording: what is on disk after success, refusal, interruption and death."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itx.errors import RunError
from itx.records import ContextPolicy, DataReference, Decoding, Prompt, Thresholds, Trace
from itx.runs.recorder import Recorder
from itx.runs.recording import Recording
from tests.support.traces import build_run, build_trace, build_traces, write_run

ROOT = Path(__file__).resolve().parents[2]


def _lines(folder: Path) -> list[bytes]:
    return (folder / "traces.jsonl").read_bytes().splitlines(keepends=True)


def test_run_on_disk_is_the_contract(tmp_path: Path) -> None:
    run = build_run(("lora", "full"))
    traces = build_traces(run, 8)
    with Recorder.create(tmp_path / "a" / "run", run) as recorder:
        for trace in traces:
            recorder.append(trace)
    folder = tmp_path / "a" / "run"
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "traces.jsonl"]
    described = json.loads((folder / "run.json").read_text())
    contract = ["schema", "itx", "created", "command", "models", "decoding", "context", "thresholds", "data"]
    assert [key for key in described if key in contract] == contract
    assert set(described) >= {*contract, "engine", "versions"}
    model = ["name", "role", "reference", "engine", "adapter", "dtype", "quantization", "weights", "tokenizer"]
    assert list(described["models"][0])[:9] == model
    assert described["schema"] == 1
    assert described["data"] is None
    assert described["decoding"] == {"max_new_tokens": 128, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0}
    assert described["thresholds"] == {"unshifted": 1, "marginal": 3}
    for line, trace in zip(_lines(folder), traces, strict=True):
        stored = json.loads(line)
        assert list(stored)[:6] == ["prompt_id", "prompt", "reference", "contexts", "responses", "error"]
        assert stored["prompt"] == trace.prompt
        assert stored["error"] == trace.error
        for response, known in zip(stored["responses"], trace.responses, strict=True):
            assert list(response)[:8] == ["author", "ids", "text", "finish", "logp", "entropy", "top", "scores"]
            assert response["top"] == [[list(pair) for pair in top] for top in known.top]
            for scorer, score in response["scores"].items():
                figures = [
                    "logp",
                    "rank",
                    "ties",
                    "entropy",
                    "kl_author_scorer",
                    "kl_scorer_author",
                    "js",
                    "top",
                    "exact",
                ]
                assert list(score) == figures
                assert score["rank"] == known.scores[scorer].rank


def test_append_is_on_disk_before_it_returns(tmp_path: Path) -> None:
    run = build_run()
    with Recorder.create(tmp_path / "run", run) as recorder:
        for count, trace in enumerate(build_traces(run, 8), start=1):
            recorder.append(trace)
            assert list(Recording.open(tmp_path / "run").traces())[-1] == trace
            assert len(_lines(tmp_path / "run")) == count
        # Kinds 5 (cancelled) and 7 (failed) must be asked again.
        assert recorder.finished == {"1", "2", "3", "4", "6", "8"}


def test_resume_keeps_what_is_finished(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 8)
    with Recorder.create(tmp_path, run) as recorder:
        for trace in traces:
            recorder.append(trace)
    before = (tmp_path / "traces.jsonl").read_bytes()
    again = msgspec.structs.replace(run, created="2027-01-01T00:00:00Z", command=["itx", "other"])
    with Recorder.resume(tmp_path, again) as recorder:
        assert recorder.finished == {"1", "2", "3", "4", "6", "8"}
        assert recorder.run == run
        redone = build_trace("5", traces[4].prompt, {"base": "It is.", "full": "Yes."})
        recorder.append(redone)
        assert "5" in recorder.finished
        recorder.append(Trace(prompt_id="1", prompt="Again", error="out of memory"))
        assert "1" not in recorder.finished
    assert (tmp_path / "traces.jsonl").read_bytes().startswith(before)
    with Recorder.begin(tmp_path, run) as recorder:
        assert recorder.finished == {"2", "3", "4", "5", "6", "8"}
    assert not (tmp_path / "traces.torn").exists()


def test_a_changed_prompt_under_a_known_id_is_noticed(tmp_path: Path) -> None:
    run = build_run()
    trace = build_traces(run, 1)[0]
    known, other = Prompt(id="1", prompt=trace.prompt), Prompt(id="1", prompt="Something else")
    with Recorder.create(tmp_path, run) as recorder:
        assert not recorder.is_finished(known)
        recorder.append(trace)
        assert recorder.is_finished(known)
    with Recorder.resume(tmp_path, run) as recorder:
        assert recorder.is_finished(known)
        assert not recorder.is_finished(Prompt(id="2", prompt=trace.prompt))
        with pytest.raises(RunError, match="another text under the id '1'"):
            recorder.is_finished(other)
        recorder.append(Trace(prompt_id="1", prompt=trace.prompt, error="out of memory"))
        assert not recorder.is_finished(other)


@settings(max_examples=60)
@given(cut=st.integers(min_value=1), kept=st.integers(min_value=0, max_value=3))
def test_a_line_cut_anywhere_is_set_aside_and_redone(
    tmp_path_factory: pytest.TempPathFactory, cut: int, kept: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    run = build_run()
    traces = build_traces(run, 4)
    write_run(folder, run, traces[:kept])
    torn = msgspec.json.encode(traces[kept])
    torn = torn[: 1 + cut % (len(torn) - 1)]
    with (folder / "traces.jsonl").open("ab") as file:
        file.write(torn)
    reader = Recording.open(folder)
    assert [trace.prompt_id for trace in reader.traces()] == [trace.prompt_id for trace in traces[:kept]]
    assert not reader.is_complete
    with Recorder.resume(folder, run) as recorder:
        assert recorder.finished == {trace.prompt_id for trace in traces[:kept]}
        recorder.append(traces[kept])
    assert list(Recording.open(folder).traces()) == traces[: kept + 1]
    assert (folder / "traces.torn").read_bytes() == torn + b"\n"


def test_torn_lines_accumulate(tmp_path: Path) -> None:
    run = build_run()
    write_run(tmp_path, run, [])
    for part in (b'{"prompt_id"', b"{"):
        with (tmp_path / "traces.jsonl").open("ab") as file:
            file.write(part)
        Recorder.resume(tmp_path, run).close()
    assert (tmp_path / "traces.torn").read_bytes() == b'{"prompt_id"\n{\n'
    assert (tmp_path / "traces.jsonl").read_bytes() == b""


def test_a_whole_last_line_without_its_line_feed_is_kept(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 2)
    write_run(tmp_path, run, traces)
    path = tmp_path / "traces.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    with Recorder.resume(tmp_path, run) as recorder:
        assert recorder.finished == {"1", "2"}
    assert list(Recording.open(tmp_path).traces()) == traces
    assert not (tmp_path / "traces.torn").exists()


def test_a_broken_line_in_the_middle_is_named_and_nothing_is_touched(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 3)
    write_run(tmp_path, run, traces)
    lines = _lines(tmp_path)
    lines[1] = lines[1][:100] + b"\n"
    (tmp_path / "traces.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(RunError, match=r"traces\.jsonl, line 2: not valid JSON") as caught:
        Recorder.resume(tmp_path, run)
    assert "sed -i.bak 2d" in caught.value.remedy
    assert _lines(tmp_path) == lines
    subprocess.run(caught.value.remedy.split(": ", 1)[1], shell=True, check=True)
    with Recorder.resume(tmp_path, run) as recorder:
        assert recorder.finished == {"1", "3"}


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1, 5000])
def test_a_disk_that_fills_loses_nothing_finished(tmp_path: Path, room: int) -> None:
    run = build_run()
    traces = build_traces(run, 3)
    with Recorder.create(tmp_path, run) as recorder:
        recorder.append(traces[0])
        before = (tmp_path / "traces.jsonl").read_bytes()
        with _file_size_limit(len(before) + room), pytest.raises(RunError, match="cannot be written") as caught:
            recorder.append(traces[1])
        assert str(tmp_path) in caught.value.cause
        assert "finished prompts are kept" in caught.value.remedy
        assert (tmp_path / "traces.jsonl").read_bytes() == before
        assert recorder.finished == {"1"}
        recorder.append(traces[2])
        recorder.append(traces[1])
    assert [trace.prompt_id for trace in Recording.open(tmp_path).traces()] == ["1", "3", "2"]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_no_space_left_names_the_folder_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    run = build_run()
    traces = build_traces(run, 2)
    folder = tmp_path / "my run"
    with Recorder.create(folder, run) as recorder:
        recorder.append(traces[0])
        before = (folder / "traces.jsonl").read_bytes()
        with monkeypatch.context() as patch:

            def refuse(*_: object) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr(os, call, refuse)
            with pytest.raises(RunError, match="my run cannot be written: No space left on device") as caught:
                recorder.append(traces[1])
        assert f"df -h '{folder}'" in caught.value.remedy
        assert (folder / "traces.jsonl").read_bytes() == before
        recorder.append(traces[1])
    assert list(Recording.open(folder).traces()) == traces


def test_a_full_disk_at_creation_leaves_no_half_run(tmp_path: Path) -> None:
    run = build_run()
    with _file_size_limit(60), pytest.raises(RunError, match="cannot be written"):
        Recorder.create(tmp_path / "run", run)
    with Recorder.create(tmp_path / "run", run):
        pass
    assert Recording.open(tmp_path / "run").run == run


def test_an_interruption_between_two_writes_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = build_run()
    traces = build_traces(run, 3)
    write, sync = os.write, os.fsync
    with Recorder.create(tmp_path, run) as recorder:
        recorder.append(traces[0])

        def interrupt_within(handle: int, data: memoryview) -> int:
            write(handle, data[:1000])
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "write", interrupt_within)
        with pytest.raises(KeyboardInterrupt):
            recorder.append(traces[1])
        monkeypatch.setattr(os, "write", write)

        def interrupt_after(handle: int) -> None:
            sync(handle)
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt_after)
        with pytest.raises(KeyboardInterrupt):
            recorder.append(traces[1])
        monkeypatch.setattr(os, "fsync", sync)
        recorder.append(traces[2])
    assert list(Recording.open(tmp_path).traces()) == traces


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = build_run()
    traces = build_traces(run, 2)
    write = os.write
    with Recorder.create(tmp_path, run) as recorder:
        monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:997]))
        for trace in traces:
            recorder.append(trace)
    assert list(Recording.open(tmp_path).traces()) == traces


_WRITER = """
    import sys
    from pathlib import Path
    from itx.runs.recorder import Recorder
    from tests.support.traces import build_run, build_traces
    run = build_run()
    traces = build_traces(run, 2, words=400)
    with Recorder.begin(Path(sys.argv[1]), run) as recorder:
        print(len(recorder.finished), flush=True)
        import msgspec
        for number in range(10_000):
            recorder.append(msgspec.structs.replace(traces[number % 2], prompt_id=f"{sys.argv[2]}-{number}"))
            print(number, flush=True)
"""


def _start_writer(folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITER), str(folder), name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sigkill_loses_no_acknowledged_line(tmp_path: Path) -> None:
    source = random.Random(1)
    acknowledged: set[str] = set()
    for attempt in range(3):
        writer = _start_writer(tmp_path / "run", str(attempt))
        assert writer.stdout is not None
        assert int(writer.stdout.readline()) >= len(acknowledged)
        for _ in range(source.randrange(1, 6)):
            acknowledged.add(f"{attempt}-{int(writer.stdout.readline())}")
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    with Recorder.resume(tmp_path / "run", build_run()) as recorder:
        assert recorder.finished >= acknowledged
    assert {trace.prompt_id for trace in Recording.open(tmp_path / "run").traces()} >= acknowledged


def test_two_writers_are_refused_and_a_dead_one_is_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    writer = _start_writer(folder, "a")
    assert writer.stdout is not None
    writer.stdout.readline()
    try:
        with pytest.raises(RunError, match=f"being recorded by process {writer.pid} on ") as caught:
            Recorder.begin(folder, build_run())
        assert "--out" in caught.value.remedy
        writer.stdout.readline()
        assert Recording.open(folder).entries[0].prompt_id == "a-0"
    finally:
        writer.kill()
        writer.communicate()
    Recorder.begin(folder, build_run()).close()
    assert not (folder / "run.lock").exists()


def test_a_second_recorder_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with Recorder.create(tmp_path, build_run()), pytest.raises(RunError, match=f"process {os.getpid()}"):
        Recorder.resume(tmp_path, build_run())
    with Recorder.resume(tmp_path, build_run()) as recorder:
        assert recorder.finished == set()
    with pytest.raises(RunError, match="is closed"):
        recorder.append(build_traces(build_run(), 1)[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decoding": Decoding(max_new_tokens=64)}, "max-new-tokens was 128, now 64"),
        ({"thresholds": Thresholds(marginal=5)}, "threshold marginal was 3, now 5"),
        ({"models": build_run(("lora",)).models}, "models was base, full, now base, lora"),
    ],
)
def test_resume_says_what_differs(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    write_run(tmp_path, build_run(), [])
    with pytest.raises(RunError) as caught:
        Recorder.resume(tmp_path, build_run(**changes))
    assert said in caught.value.cause


def test_tuning_data_may_be_named_later_but_not_changed(tmp_path: Path) -> None:
    write_run(tmp_path, build_run(), build_traces(build_run(), 2))
    before = (tmp_path / "traces.jsonl").read_bytes()
    data = DataReference(reference="rows.jsonl", fingerprint="sha256:1", rows=2)
    with Recorder.resume(tmp_path, build_run(data=data, command=["other"])) as recorder:
        assert recorder.run == build_run(data=data)
        assert len(recorder.finished) == 2
    assert Recording.open(tmp_path).run == build_run(data=data)
    assert (tmp_path / "traces.jsonl").read_bytes() == before
    moved = msgspec.structs.replace(data, reference="/elsewhere/rows.jsonl")
    Recorder.resume(tmp_path, build_run(data=moved)).close()
    assert Recording.open(tmp_path).run.data == data
    for now, said in ((msgspec.structs.replace(data, fingerprint="sha256:2"), "now sha256:2"), (None, "now not set")):
        with pytest.raises(RunError, match=f"tuning data was sha256:1, {said}"):
            Recorder.resume(tmp_path, build_run(data=now))


def test_tuning_data_may_be_named_while_a_run_is_recorded(tmp_path: Path) -> None:
    run = build_run()
    data = DataReference(reference="rows.jsonl", fingerprint="sha256:1", rows=2)
    other = msgspec.structs.replace(data, fingerprint="sha256:2")
    first, second = build_traces(run, 2)
    with Recorder.create(tmp_path, run) as recorder:
        recorder.append(first)
        recorder.name_data(data)
        recorder.append(second)
        recorder.name_data(msgspec.structs.replace(data, reference="/elsewhere/rows.jsonl"))
        with pytest.raises(RunError, match="traced otherwise: tuning data was sha256:1, now sha256:2"):
            recorder.name_data(other)
    recording = Recording.open(tmp_path)
    assert recording.run == msgspec.structs.replace(run, data=data)
    assert [trace.prompt_id for trace in recording.traces()] == [first.prompt_id, second.prompt_id]
    with pytest.raises(RunError, match="tuning data was sha256:1, now sha256:2"):
        Recorder.resume(tmp_path, build_run(data=other))
    closed = Recorder.create(tmp_path / "closed", run)
    closed.close()
    with pytest.raises(RunError, match="is closed"):
        closed.name_data(data)


def test_a_run_is_traced_by_one_set_of_rules(tmp_path: Path) -> None:
    data = DataReference(reference="rows.jsonl", fingerprint="sha256:1", rows=2)
    write_run(tmp_path, build_run(data=data), [])
    for change, said in (
        ({"embedder": "x"}, "embedder was not set, now x"),
        ({"train_max_tokens": 9}, "train-max-tokens was not set, now 9"),
        ({"columns": {"response": "a"}}, "columns was not set"),
    ):
        with pytest.raises(RunError) as caught:
            Recorder.resume(tmp_path, build_run(data=msgspec.structs.replace(data, **change)))
        assert said in caught.value.cause
    # Control rows may be named later; then they stay.
    controlled = msgspec.structs.replace(data, control="twins.jsonl", control_fingerprint="sha256:2")
    Recorder.resume(tmp_path, build_run(data=controlled)).close()
    assert Recording.open(tmp_path).run.data == controlled
    for other, said in ((data, "now not set"), (msgspec.structs.replace(controlled, control_fingerprint="x"), "now x")):
        with pytest.raises(RunError, match=f"control rows was sha256:2, {said}"):
            Recorder.resume(tmp_path, build_run(data=other))


def test_resume_refuses_another_context_of_the_base(tmp_path: Path) -> None:
    run = build_run(context=ContextPolicy(policy="jinja", base_template="sha256:1", base_template_source="a.jinja"))
    write_run(tmp_path, run, [])
    moved = msgspec.structs.replace(run.context, base_template_source="b.jinja")
    Recorder.resume(tmp_path, msgspec.structs.replace(run, context=moved)).close()
    changed = msgspec.structs.replace(run.context, base_template="sha256:2")
    with pytest.raises(RunError, match="context base template was sha256:1, now sha256:2"):
        Recorder.resume(tmp_path, msgspec.structs.replace(run, context=changed))


def test_resume_says_which_weights_differ_but_not_where_they_lie(tmp_path: Path) -> None:
    run = build_run()
    write_run(tmp_path, run, [])
    moved = [msgspec.structs.replace(model, reference="/elsewhere", device="cuda:0") for model in run.models]
    Recorder.resume(tmp_path, msgspec.structs.replace(run, models=moved)).close()
    other = [run.models[0], msgspec.structs.replace(run.models[1], weights="sha256:ff", dtype="bfloat16")]
    with pytest.raises(RunError, match=r"weights of full was .* dtype of full was float32, now bfloat16"):
        Recorder.resume(tmp_path, msgspec.structs.replace(run, models=other))


def test_create_refuses_what_it_would_mix_with(tmp_path: Path) -> None:
    run = build_run()
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="not empty and not a run"):
        Recorder.create(full, run)
    assert [path.name for path in full.iterdir()] == ["thesis.tex"]
    write_run(tmp_path / "run", run, [])
    with pytest.raises(RunError, match="already holds a run"):
        Recorder.create(tmp_path / "run", run)
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match="cannot be written"):
            Recorder.create(path, run)
    with pytest.raises(RunError, match="no tuned model"):
        Recorder.create(tmp_path / "none", build_run(()))


def test_a_link_in_a_strangers_run_is_not_written_through(tmp_path: Path) -> None:
    run = build_run()
    write_run(tmp_path / "run", run, [])
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("traces.jsonl", "run.lock"):
        path = tmp_path / "run" / name
        path.unlink(missing_ok=True)
        path.symlink_to(victim)
        with pytest.raises(RunError):
            Recorder.resume(tmp_path / "run", run)
        path.unlink()
        path.touch()
    (tmp_path / "run" / "traces.jsonl").unlink()
    os.mkfifo(tmp_path / "run" / "traces.jsonl")
    with pytest.raises(RunError, match="not a plain file"):
        Recorder.resume(tmp_path / "run", run)
    assert victim.read_text() == "precious"


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    run = build_run()
    trace = build_traces(run, 1)[0]
    response = trace.responses[0]
    endless = msgspec.structs.replace(response, logp=[float("nan"), *response.logp[1:]])
    scorer, score = next(iter(response.scores.items()))
    infinite = msgspec.structs.replace(score, top=[[(1, -float("inf"))], *score.top[1:]])
    far = msgspec.structs.replace(response, scores={scorer: infinite})
    short = msgspec.structs.replace(response, entropy=response.entropy[1:])
    with Recorder.create(tmp_path, run) as recorder:
        for changes, overflows in (
            ({"responses": [endless]}, True),
            ({"responses": [far]}, True),
            ({"responses": [short]}, False),
            ({"responses": [response, response]}, False),
            ({"prompt": "\ud800"}, False),
        ):
            with pytest.raises(RunError, match="prompt 1 cannot be recorded") as caught:
                recorder.append(msgspec.structs.replace(trace, **changes))
            assert caught.value.remedy
            assert ("overflow" in caught.value.remedy) is overflows
        assert recorder.finished == set()
    assert (tmp_path / "traces.jsonl").read_bytes() == b""


def test_another_program_that_appends_is_noticed(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 2)
    with Recorder.create(tmp_path, run) as recorder:
        recorder.append(traces[0])
        with (tmp_path / "traces.jsonl").open("ab") as file:
            file.write(b"x\n")
        with pytest.raises(RunError, match="does not end where it was left"):
            recorder.append(traces[1])
