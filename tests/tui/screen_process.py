"""Run the screen in a process of its own: ``… recorded|open|library|live FOLDER [PAUSE]``."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

from itx.compare.events import Cancel, Event
from itx.records import Prompt
from itx.runs.recording import Recording
from itx.tui.app import run_app, run_library
from tests.support.traces import build_run, build_traces, write_run
from tests.tui.fakes import FakeComparer, live_source


class NoisyComparer(FakeComparer):
    """Writes to both descriptors while it works, as native libraries do."""

    def compare(self, prompt: Prompt, cancel: Cancel) -> Iterator[Event]:
        """Replay, with noise."""
        for event in super().compare(prompt, cancel):
            os.write(1, b"NOISE-OUT")
            os.write(2, b"NOISE-ERR")
            yield event


def main(kind: str, folder: Path, pause: float) -> int:
    """Show a recorded run, or a live comparison of fake models."""
    run = build_run(("lora",))
    traces = build_traces(run, 3, words=80)
    if kind == "recorded":
        return run_app(Recording.open(write_run(folder, run, traces)))
    if kind == "library":
        return run_library([folder])
    if kind == "open":
        return run_app(Recording.open(folder))
    comparer = NoisyComparer(run, traces, pause=pause, chunk=8)
    return run_app(live_source(folder, comparer, ["one", "two"]))


if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that a terminal that goes away sends SIGHUP
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0))
