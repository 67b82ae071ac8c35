"""The screen on a real pseudo-terminal, in a process of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from itx.runs.recording import Recording
from itx.tui.terminal import screen_is_possible

ROOT = Path(__file__).parents[2]
DEADLINE = 40.0
COLOUR = re.compile(rb"\x1b\[(?:[\d;:]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[\d;:]*)?m")


class Terminal:
    """A child process on a pseudo-terminal, with everything it has written."""

    def __init__(self, handle: int, process: subprocess.Popen[bytes]) -> None:
        self.handle = handle
        self.process = process
        self.written = b""
        self.mark = 0

    def read_until(self, wanted: bytes, *, fresh: bool = False) -> None:
        """Read until ``wanted`` has been written (``fresh``: since the last resize)."""
        deadline = monotonic() + DEADLINE
        while wanted not in self.written[self.mark if fresh else 0 :]:
            assert monotonic() < deadline, f"{wanted!r} not in {self.written[-2000:]!r}"
            self.read_for(0.2)

    def read_for(self, seconds: float) -> None:
        """Read what is written, or wait so long for it."""
        if select.select([self.handle], [], [], seconds)[0]:
            try:
                self.written += os.read(self.handle, 65536)
            except OSError as error:
                raise AssertionError(f"ended early: {self.written[-2000:]!r}") from error

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self.handle, keys)

    def resize(self, width: int, height: int) -> None:
        """Resize the window."""
        self.mark = len(self.written)
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def wait(self) -> int:
        """Read on until the process has ended; return its exit code."""
        deadline = monotonic() + DEADLINE
        while self.process.poll() is None:
            assert monotonic() < deadline, f"still running: {self.written[-2000:]!r}"
            if select.select([self.handle], [], [], 0.1)[0]:
                try:
                    self.written += os.read(self.handle, 65536)
                except OSError:
                    break
        return self.process.wait(DEADLINE)


@contextmanager
def on_terminal(tmp_path: Path, *arguments: str, size: tuple[int, int] = (100, 30), **extra: str) -> Iterator[Terminal]:
    handle, child = pty.openpty()
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    environment |= {"TERM": "xterm-256color", "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tui.screen_process", *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment | extra,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(child)
    terminal = Terminal(handle, process)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        with suppress(OSError):
            os.close(handle)


def test_it_draws_resizes_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with on_terminal(tmp_path, "recorded", str(tmp_path / "run"), COLUMNS="80", LINES="24") as terminal:
        terminal.read_until(b"known answer")
        assert b"prompts" in terminal.written
        before = termios.tcgetattr(terminal.handle)
        terminal.resize(70, 20)
        terminal.read_until(b"tab: figures", fresh=True)
        terminal.resize(130, 50)
        terminal.read_until(b"prompts", fresh=True)
        terminal.mark = len(terminal.written)
        terminal.press(b"\x0c")
        for drawn in (b"known answer", b"prompts", b"unshifted", b"quit"):
            terminal.read_until(drawn, fresh=True)
        terminal.press(b"q")
        assert terminal.wait() == 0
        assert terminal.written.rindex(b"\x1b[?1049l") > terminal.written.rindex(b"\x1b[?1049h")
        assert not before[3] & termios.ECHO


def test_no_color_emits_no_colour_and_colour_is_there_otherwise(tmp_path: Path) -> None:
    written = {}
    for name, value in (("none", "1"), ("some", "")):
        with on_terminal(tmp_path, "recorded", str(tmp_path / name), NO_COLOR=value) as terminal:
            terminal.read_until(b"known answer")
            terminal.press(b"nv?")
            terminal.read_until(b"Escape back")
            terminal.press(b"qq")
            terminal.wait()
            written[name] = terminal.written
    assert not COLOUR.findall(written["none"])
    assert b"\x1b[1" in written["none"]
    assert COLOUR.findall(written["some"])


@pytest.mark.parametrize(("term", "colourterm"), [("xterm", ""), ("linux", ""), ("xterm-256color", "truecolor")])
def test_terminals_of_all_depths(tmp_path: Path, term: str, colourterm: str) -> None:
    with on_terminal(tmp_path, "recorded", str(tmp_path / "run"), TERM=term, COLORTERM=colourterm) as terminal:
        terminal.read_until(b"known answer")
        terminal.press(b"q")
        assert terminal.wait() == 0
        true = re.findall(rb"[34]8;2;", terminal.written)
        assert bool(true) == (colourterm == "truecolor")


def test_ctrl_c_twice_quits_with_everything_saved_and_noise_stays_off_the_screen(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with on_terminal(tmp_path, "live", str(folder), "0.02") as terminal:
        terminal.read_until(b"shifted for base")
        terminal.press(b"\x03\x03")
        assert terminal.wait() == 0
        assert b"NOISE" not in terminal.written
    assert "NOISE-OUT" in (tmp_path / "state" / "itx" / "itx.log").read_text()
    trace = Recording.open(folder).trace("q1")
    assert "cancelled" in {response.finish for response in trace.responses}
    assert sum(len(response.ids) for response in trace.responses) >= 8


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_lost_connection_or_a_kill_saves(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "run"
    with on_terminal(tmp_path, "live", str(folder), "0.02") as terminal:
        terminal.read_until(b"shifted for base")
        if number == signal.SIGHUP:
            os.close(terminal.handle)  # the kernel sends SIGHUP, and the terminal is gone
            assert terminal.process.wait(DEADLINE) == 128 + number
        else:
            terminal.process.send_signal(number)
            assert terminal.wait() == 128 + number
    assert Recording.open(folder).trace("q1").responses


def test_the_screen_is_refused_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda number: True)
    assert screen_is_possible()
    monkeypatch.setenv("TERM", "dumb")
    assert not screen_is_possible()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(os, "isatty", lambda number: number == 0)
    assert not screen_is_possible()


def test_nothing_that_llama_cpp_says_reaches_the_screen(tmp_path: Path) -> None:
    """A whole comparison of GGUF files, with a LoRA that brings a warning, while the C library prints."""
    with on_terminal(tmp_path, "llama", str(tmp_path)) as terminal:
        terminal.read_until(b"hello there")
        deadline = monotonic() + DEADLINE
        traces = tmp_path / "run" / "traces.jsonl"
        while not traces.is_file() or not traces.read_bytes().endswith(b"\n"):
            assert monotonic() < deadline
            terminal.press(b"l")
            terminal.read_for(0.2)
        terminal.press(b"c")
        terminal.read_until(b"says no adapter.lora.alpha")
        terminal.press(b"qq")
        assert terminal.wait() == 0
        assert [trace.error for trace in Recording.open(tmp_path / "run").traces()] == [None]
        for native in (b"NATIVE", b"llama_", b"load_tensors", b"print_info", b"ggml"):
            assert native not in terminal.written
    log = (tmp_path / "state" / "itx" / "itx.log").read_text()
    assert log.count("NATIVE-OUT") > 16
    assert log.count("NATIVE-ERR") > 16
    assert "llama_" in log
