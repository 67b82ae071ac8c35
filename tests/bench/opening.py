"""``itx open`` to its first paint of a response, for a run of a thousand prompts and for one of a single prompt."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec

from tests.bench.arms import Arm, Measurement, alternate
from tests.support.terminal import Screen, Terminal
from tests.support.traces import build_run, build_traces, write_run

PROMPTS = 1000
WORDS = 120


def write_runs(folder: Path) -> tuple[Path, Path, str]:
    """Write a run of one prompt and one of a thousand that begins alike; return both and how the response begins."""
    run = build_run()
    some = build_traces(run, 6, words=WORDS)
    many = [
        msgspec.structs.replace(some[number % len(some)], prompt_id=str(number + 1), prompt=f"{number + 1}: tell me")
        for number in range(PROMPTS)
    ]
    response = many[0].response("full")
    assert response is not None
    begin = " ".join(response.text.split()[:2])
    return write_run(folder / "one", run, many[:1]), write_run(folder / "many", run, many), begin


def open_once(run: Path, begin: str, state: Path) -> Arm:
    """Return an arm that opens the run, waits until the response's begin is on the screen, and leaves."""

    def seen(screen: Screen) -> bool:
        return begin in screen.text

    def run_once() -> float:
        command = [sys.executable, "-m", "itx", "open", str(run)]
        with Terminal(command, environment={"XDG_STATE_HOME": str(state)}, keep=False) as terminal:
            painted = terminal.wait(seen) - terminal.started
            terminal.send("q")
            code = terminal.finish()
        if code:
            raise RuntimeError(f"itx open ended with {code}")
        return painted * 1000

    return run_once


def measure(repeats: int) -> Measurement:
    """Return milliseconds from the start of the process to the first paint: a thousand prompts, and one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, many, begin = write_runs(folder)
        size = (many / "traces.jsonl").stat().st_size / 2**20
        ours, floor = alternate(open_once(many, begin, folder), open_once(one, begin, folder), max(repeats, 7))
    return Measurement(
        ours=ours,
        floor=floor,
        notes=[f"milliseconds; {PROMPTS:,} prompts, {size:.0f} MiB, two responses of {WORDS} words each; 120×40"],
    )
