"""Ctrl-C, SIGKILL, a full disk and no memory: what was finished stays, and the same command goes on from there."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import LONG, World
from tests.faults.running import (
    Done,
    check_end,
    command,
    environment,
    finish,
    limit_now,
    read_lines,
    read_traces,
    read_until,
    run_itx,
    start_itx,
    write_prompts,
)
from tests.support.llamas import build_wide_tokenizer, write_llama, write_tuned

pytestmark = pytest.mark.weights


def words(world: World) -> tuple[str | Path, ...]:
    """Return the command that the recording ``whole`` was made with."""
    return ("run", world.base, f"full={world.full}", *LONG, "--prompts", world.prompts, "--out", "run")


def check_same(run: Path, whole: Path) -> None:
    """Assert that the last line of every prompt is the uninterrupted recording's, byte for byte."""
    assert read_lines(run) == read_lines(whole)


def check_part(run: Path, whole: Path) -> None:
    """Assert that whatever is recorded as finished is the uninterrupted recording's, byte for byte."""
    expected = read_lines(whole)
    for prompt, line in read_lines(run).items():
        trace = read_traces(run)[prompt]
        if any(response.finish == "cancelled" for response in trace.responses):
            continue
        assert line == expected[prompt]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_at_any_moment_and_resumed(world: World, whole: Path, tmp_path: Path, number: signal.Signals) -> None:
    """One stop while loading, one at each of some random moments after it, then to the end."""
    source = random.Random(int(number))
    moments = ["loading", "first", "later"]
    for moment in moments:
        process = start_itx(*words(world), folder=tmp_path)
        if moment == "loading":
            before = read_until(process, lambda line: True)
        else:
            before = read_until(process, lambda line: "1/" in line)
            if moment == "later":
                before += read_until(process, lambda line: "2/" in line)
        time_to_wait(source.uniform(0.0, 0.15))
        process.send_signal(number)
        if number is signal.SIGKILL:
            process.communicate(timeout=60)
            assert process.returncode in (-signal.SIGKILL, 0)
        else:
            done = finish(process, before)
            # The run is long enough that only a signal after its last prompt comes too late.
            assert done.code in (0, 1)
            assert done.code == 0 or re.search(r"itx: (stopped|Stopped|stopping)", done.err), done.err
        check_part(tmp_path / "run", whole)
    done = run_itx(*words(world), folder=tmp_path)
    assert done.code == 0, done.text
    check_same(tmp_path / "run", whole)


def time_to_wait(seconds: float) -> None:
    """Let a moment pass by computing, so that the signal falls anywhere."""
    limit = time.perf_counter() + seconds
    while time.perf_counter() < limit:
        os.getpid()


@pytest.mark.parametrize(
    ("module", "number"),
    [
        *((module, signal.SIGINT) for module in ("typer.core", "itx.cli.main", "itx.cli.headless")),
        *(("torch", number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
    ],
)
def test_stopped_before_anything_is_asked(world: World, tmp_path: Path, module: str, number: signal.Signals) -> None:
    """The signal comes when ``module`` has just been imported (torch: while weights load): it is said, and that is all.

    Before the first of them it is Python that starts, and ends as it does.
    """
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *command(*words(world))[1:]],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = read_until(process, lambda line: line.split("|")[-1].strip() == module)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert module in before
    said = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("import time:"))
    done = check_end(Done(code=process.returncode, out=out, err=said))
    assert done.code == 1, said
    assert re.search(r"itx: stopped .*the same command|itx: Stopped\..*\n.*same command", said), said
    assert out == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "raised", ["exec('raise KeyboardInterrupt')", "raise KeyboardInterrupt", "raise SystemExit(130)"]
)
def test_an_interruption_anywhere_ends_with_1(tmp_path: Path, raised: str) -> None:
    """Python ends a module by SIGINT after an interruption within an exec of text, though it was handled."""
    lines = ["from itx.cli import main", f"def app(): {raised}", "main.app = app", "main.main()"]
    (tmp_path / "stopped.py").write_text("\n".join(lines))
    words = [sys.executable, "-m", "stopped"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "itx: Stopped." in done.stderr


def test_a_disk_that_fills(world: World, whole: Path, tmp_path: Path) -> None:
    size = (whole / "traces.jsonl").stat().st_size
    done = run_itx(*words(world), folder=tmp_path, limits={resource.RLIMIT_FSIZE: size // 2})
    assert done.code == 1
    assert "run" in done.err
    assert "cannot be written" in done.err
    assert "ulimit -f" in done.err
    kept = (tmp_path / "run" / "traces.jsonl").read_bytes()
    assert kept
    assert (whole / "traces.jsonl").read_bytes().startswith(kept)
    assert kept.endswith(b"\n")
    assert run_itx(*words(world), folder=tmp_path).code == 0
    assert (tmp_path / "run" / "traces.jsonl").read_bytes() == (whole / "traces.jsonl").read_bytes()


def test_a_folder_that_cannot_be_written(world: World, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    done = run_itx(*words(world), folder=tmp_path)
    assert done.code == 1
    assert "run" in done.err
    assert (tmp_path / "run").read_text() == "a file"


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base with 65,000 ids and a full tuning of it: 25 MB each, 26 MB for the logits of 100 positions."""
    root = tmp_path_factory.mktemp("wide")
    base = write_llama(root / "base", tokenizer=build_wide_tokenizer(65_000))
    return base, write_tuned(base, root / "full")


@pytest.mark.parametrize("spare", [1 << 18, 8 << 20])
def test_no_memory_left_while_loading(world: World, wide: tuple[Path, Path], tmp_path: Path, spare: int) -> None:
    done = run_itx("run", *wide, "--prompts", world.prompts, "--out", "run", folder=tmp_path, spare=spare)
    assert done.code == 1
    assert "memory" in done.err
    assert not (tmp_path / "run").exists()


def test_no_memory_left_for_a_long_response(wide: tuple[Path, Path], tmp_path: Path) -> None:
    """The first prompt is short and stays; the second one's logits no longer fit; the third is asked all the same."""
    rows = [
        {"id": "short", "prompt": "bread?", "response_ids": [70, 71, 72]},
        {"id": "long", "prompt": "bread?", "response_ids": [70 + number % 50 for number in range(400)]},
        {"id": "last", "prompt": "bread?", "response_ids": [70, 71]},
    ]
    file = write_prompts(tmp_path / "responses.jsonl", rows)
    asked = ("run", *wide, "--chunk", "400", "--threads", "1", "--responses", file, "--out", "run")
    process = start_itx(*asked, folder=tmp_path)
    before = read_until(process, lambda line: "1/3" in line)
    used = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit_now(process, resource.RLIMIT_AS, used + (8 << 20))
    done: Done = finish(process, before)
    assert done.code in (1, 3)
    assert "memory" in done.err.lower()
    traces = read_traces(tmp_path / "run")
    assert traces["short"].error is None
    assert "long" not in traces or traces["long"].error is not None
    again = run_itx(*asked, folder=tmp_path)
    assert again.code == 0, again.text
    assert all(trace.error is None for trace in read_traces(tmp_path / "run").values())
