"""The report screen on a large run: from the key to its first figures, and to those of all prompts."""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from itx.tui.reporter import FIRST
from tests.bench.arms import Measurement
from tests.bench.report import PROMPTS, TOKENS, write_large
from tests.support.terminal import Screen, Terminal

ROWS, COLUMNS = 40, 120
_FIRST = re.compile(rf"(?:the first {FIRST}|{PROMPTS:,}) prompts")
_WHOLE = re.compile(rf"(?<!first ){PROMPTS:,} prompts")


def shows_figures(screen: Screen, prompts: re.Pattern[str]) -> bool:
    """Return whether figures with intervals are on the screen, of so many prompts."""
    return prompts.search(screen.lines[0]) is not None and "Stopping, apart" in screen.text


def open_report(run: Path, cache: Path) -> tuple[float, float]:
    """Return the seconds from the key to the first figures, and to those of all prompts, in a process of its own."""
    command = [sys.executable, "-m", "itx", "open", str(run)]
    environment = {"XDG_STATE_HOME": str(cache), "XDG_CACHE_HOME": str(cache)}
    with Terminal(command, rows=ROWS, columns=COLUMNS, environment=environment, keep=False) as terminal:
        terminal.wait(lambda screen: "unshifted" in screen.text)
        pressed = time.perf_counter()
        terminal.send("R")
        first = terminal.wait(lambda screen: shows_figures(screen, _FIRST), 60) - pressed
        whole = terminal.wait(lambda screen: shows_figures(screen, _WHOLE), 120) - pressed
        terminal.send("q")
        code = terminal.finish()
    if code:
        raise RuntimeError(f"itx open ended with {code}")
    return first, whole


def measure(repeats: int) -> Measurement:
    """Return seconds to the first figures of a run that was never counted; what was counted before is noted."""
    first, whole, kept = [], [], []
    with tempfile.TemporaryDirectory() as name:
        run = write_large(Path(name) / "run")
        size = (run / "traces.jsonl").stat().st_size / 2**20
        for repeat in range(-1, max(repeats, 5)):
            with tempfile.TemporaryDirectory() as cache:
                cold = open_report(run, Path(cache))
                again = open_report(run, Path(cache))
            if repeat >= 0:
                first.append(cold[0])
                whole.append(cold[1])
                kept.append(again[1])
    return Measurement(
        ours=first,
        floor=[],
        notes=[
            f"seconds; {PROMPTS:,} prompts × {TOKENS} tokens × 3 models that all score each other, {size:,.0f} MiB",
            f"the first figures are those of {FIRST} prompts; those of all come {statistics.median(whole):.1f} s after "
            f"the key ({min(whole):.1f}–{max(whole):.1f}), and where they were counted before "
            f"{statistics.median(kept):.2f} s ({min(kept):.2f}–{max(kept):.2f})",
        ],
    )
