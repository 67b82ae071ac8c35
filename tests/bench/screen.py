"""What the screen costs while text streams and is traced in tuning data: from a key to its paint, bytes on the wire.

How far tokens came behind their time is noted, with tracing and without.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.arms import Measurement
from tests.bench.streaming import write_rows
from tests.support.terminal import Screen, Terminal

RATE = 200
DATA_ROWS = 10_000
TOKENS = 2000
ROWS, COLUMNS = 40, 120
_TOKEN = re.compile(r"token #([\d,]+) of")


@contextmanager
def make_rows() -> Iterator[Path]:
    """Write rows that the stream borrows from, index them, and return their file; the cache lies beside it."""
    with tempfile.TemporaryDirectory() as name:
        rows = Path(name) / "rows.jsonl"
        write_rows(rows, TOKENS, DATA_ROWS)
        environment = {**os.environ, "XDG_CACHE_HOME": name}
        command = [sys.executable, "-m", "itx", "index", str(rows)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        yield rows


def start(folder: Path, tokens: int, rows: Path | None = None) -> Terminal:
    """Return a terminal on which the screen streams ``tokens`` synthetic tokens; times go to ``folder/times``."""
    command = [sys.executable, "-m", "tests.bench.streaming", str(folder), str(RATE), str(tokens)]
    environment = {"XDG_STATE_HOME": str(folder / "state")}
    if rows is not None:
        command.append(str(rows))
        environment["XDG_CACHE_HOME"] = str(rows.parent)
    return Terminal(command, rows=ROWS, columns=COLUMNS, environment=environment, keep=False)


def read_times(folder: Path) -> list[tuple[float, int]]:
    """Return (moment, bytes of the text) of the first token and, once it came, of the last."""
    path = folder / "times"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(float(moment), int(size)) for moment, size in (line.split() for line in lines)]


def read_for(terminal: Terminal, seconds: float) -> None:
    """Read what the process writes for so long."""
    limit = time.perf_counter() + seconds
    while (left := limit - time.perf_counter()) > 0:
        terminal.read(left)


def read_late(folder: Path) -> tuple[float, float]:
    """Return how many milliseconds the tokens came behind their time: the 99th percentile, and the last of them."""
    late = [float(line) for line in (folder / "late").read_text().splitlines()]
    return sorted(late)[int(0.99 * (len(late) - 1) + 0.5)], late[-1]


def say_late(traced: list[tuple[float, float]], plain: list[tuple[float, float]]) -> str:
    """Return how late tokens came, in words; medians over the repeats."""
    figures = [statistics.median(each) for found in (traced, plain) for each in zip(*found, strict=True)]
    return (
        f"tokens behind their time, p99 and the last one: {figures[0]:.1f} and {figures[1]:.1f} ms while the response "
        f"is traced in {DATA_ROWS:,} rows, {figures[2]:.1f} and {figures[3]:.1f} ms without tuning data"
    )


def find_token(screen: Screen) -> str | None:
    """Return the number of the token under the cursor, as the screen shows it."""
    found = _TOKEN.search(screen.text)
    return found[1] if found else None


def press(terminal: Terminal, key: str) -> float:
    """Press a key that moves the cursor and return the milliseconds until the other token is on the screen."""
    before = find_token(terminal.screen)
    pressed = time.perf_counter()
    terminal.send(key)
    return (terminal.wait(lambda screen: find_token(screen) not in (None, before), 10) - pressed) * 1000


def press_keys(rows: Path | None, source: random.Random) -> tuple[list[float], tuple[float, float]]:
    """Press keys while a response streams; return their delays in milliseconds, sorted, and how late tokens came."""
    delays: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with start(folder, TOKENS, rows) as terminal:
            while not read_times(folder):
                read_for(terminal, 0.05)
            read_for(terminal, 1.0)
            terminal.send("n")
            terminal.wait(lambda screen: find_token(screen) is not None)
            keys = ["l", "h", "l", "l", "h", "h", "n", "N"]
            while len(read_times(folder)) < 2:
                delays.append(press(terminal, keys[len(delays) % len(keys)]))
                read_for(terminal, source.uniform(0.02, 0.12))
            terminal.send("q")
            terminal.finish()
        return sorted(delays), read_late(folder)


def measure_keys(repeats: int) -> Measurement:
    """Return the 95th percentile, in milliseconds, of some hundred key presses a repeat while tokens stream."""
    found: dict[bool, list[float]] = {True: [], False: []}
    late: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    medians: list[float] = []
    source = random.Random(0)
    presses = 0
    with make_rows() as rows:
        for repeat in range(repeats):
            for traced in (True, False) if repeat % 2 else (False, True):
                delays, behind = press_keys(rows if traced else None, source)
                found[traced].append(delays[int(0.95 * (len(delays) - 1) + 0.5)])
                late[traced].append(behind)
                if traced:
                    presses += len(delays)
                    medians.append(delays[len(delays) // 2])
    notes = [
        f"milliseconds, p95 of {presses // repeats} presses a repeat (median {statistics.median(medians):.0f}); "
        f"{RATE} tokens/s, {COLUMNS}×{ROWS}; keys h l n N, until the token panel shows the other token",
        f"traced in {DATA_ROWS:,} rows as it streams; without tuning data p95 {statistics.median(found[False]):.1f}",
        say_late(late[True], late[False]),
    ]
    return Measurement(ours=found[True], floor=[], notes=notes)


def count_bytes(rows: Path | None) -> tuple[float, float]:
    """Return the bytes written from the first token to the quiet after the last, and the bytes of the text."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with start(folder, TOKENS, rows) as terminal:
            while not read_times(folder):
                read_for(terminal, 0.01)
            before = terminal.written
            while len(read_times(folder)) < 2:
                read_for(terminal, 0.1)
            read_for(terminal, 1.0)
            sent = float(terminal.written - before)
            terminal.send("q")
            terminal.finish()
        return sent, float(read_times(folder)[0][1])


def measure_bytes(repeats: int) -> Measurement:
    """Return the bytes written while a response streams and is traced, and the bytes of the text."""
    with make_rows() as rows:
        counted = [count_bytes(rows) for _ in range(repeats)]
    plain = statistics.median(sent / text for sent, text in (count_bytes(None) for _ in range(repeats)))
    return Measurement(
        ours=[sent for sent, _ in counted],
        floor=[text for _, text in counted],
        notes=[
            f"bytes; {TOKENS:,} tokens at {RATE}/s, {COLUMNS}×{ROWS}, both figures and text panels shown; traced in "
            f"{DATA_ROWS:,} rows as it streams, and whole after it; without tuning data {plain:.2f} ×"
        ],
    )
