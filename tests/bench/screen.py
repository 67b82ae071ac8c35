"""What the screen costs while text streams: from a key to its paint, and bytes on the wire."""

from __future__ import annotations

import random
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.arms import Measurement
from tests.support.terminal import Screen, Terminal

RATE = 200
TOKENS = 2000
ROWS, COLUMNS = 40, 120
_TOKEN = re.compile(r"token #([\d,]+) of")


def start(folder: Path, tokens: int) -> Terminal:
    """Return a terminal on which the screen streams ``tokens`` synthetic tokens; times go to ``folder/times``."""
    command = [sys.executable, "-m", "tests.bench.streaming", str(folder), str(RATE), str(tokens)]
    environment = {"XDG_STATE_HOME": str(folder / "state")}
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


def measure_keys(repeats: int) -> Measurement:
    """Return the 95th percentile, in milliseconds, of some hundred key presses a repeat while tokens stream."""
    found: list[float] = []
    medians: list[float] = []
    source = random.Random(0)
    presses = 0
    for _ in range(repeats):
        delays: list[float] = []
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with start(folder, TOKENS) as terminal:
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
        delays.sort()
        presses += len(delays)
        found.append(delays[int(0.95 * (len(delays) - 1) + 0.5)])
        medians.append(delays[len(delays) // 2])
    notes = [
        f"milliseconds, p95 of {presses // repeats} presses a repeat (median {sorted(medians)[repeats // 2]:.0f}); "
        f"{RATE} tokens/s, {COLUMNS}×{ROWS}; keys h l n N, until the token panel shows the other token"
    ]
    return Measurement(ours=found, floor=[], notes=notes)


def measure_bytes(repeats: int) -> Measurement:
    """Return the bytes written from the first token to the quiet after the last, and the bytes of the text."""
    sent: list[float] = []
    texts: list[float] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with start(folder, TOKENS) as terminal:
                while not read_times(folder):
                    read_for(terminal, 0.01)
                before = terminal.written
                while len(read_times(folder)) < 2:
                    read_for(terminal, 0.1)
                read_for(terminal, 1.0)
                sent.append(float(terminal.written - before))
                texts.append(float(read_times(folder)[0][1]))
                terminal.send("q")
                terminal.finish()
    return Measurement(
        ours=sent,
        floor=texts,
        notes=[f"bytes; {TOKENS:,} tokens at {RATE}/s, {COLUMNS}×{ROWS}, both figures and text panels shown"],
    )
