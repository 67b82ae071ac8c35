"""Ctrl-C while a command has something to keep."""

from __future__ import annotations

import io
import os
import signal
import time
from typing import Any

import pytest

from itx.cli.interrupt import Interrupt

_PATIENCE = 10.0


class _Interrupted(io.RawIOBase):
    """A stream below a buffer, to which the first line is written while Ctrl-C is pressed."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.lines.append(bytes(data))
        if len(self.lines) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            # Somewhere in here the handler is called.
            time.sleep(0.1)
        return len(data)


def _wait_for(lines: list[bytes], count: int) -> None:
    end = time.monotonic() + _PATIENCE
    while len(lines) < count and time.monotonic() < end:
        time.sleep(0.01)


def test_a_stop_in_the_middle_of_a_line_is_told_after_it() -> None:
    below = _Interrupted()
    stream = io.BufferedWriter(below)

    def write(line: bytes) -> None:
        stream.write(line)
        stream.flush()

    interrupt = Interrupt(lambda: write(b"stopping\n"))
    with interrupt.listening():
        interrupt.patient = True
        write(b"a line\n")
        assert interrupt.asked
        _wait_for(below.lines, 2)
    assert below.lines == [b"a line\n", b"stopping\n"]


def test_a_stop_is_told_once_and_the_second_one_ends_at_once() -> None:
    told: list[bytes] = []
    interrupt = Interrupt(lambda: told.append(b"stopping"))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupt.listening():
        interrupt.patient = True
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert interrupt()
        _wait_for(told, 1)
        signal.raise_signal(signal.SIGINT)
    assert told == [b"stopping"]
    assert signal.getsignal(signal.SIGINT) is before


def test_with_nothing_to_keep_the_first_one_ends_at_once_and_none_is_told() -> None:
    told: list[bytes] = []
    interrupt = Interrupt(lambda: told.append(b"stopping"))
    with pytest.raises(KeyboardInterrupt), interrupt.listening():
        signal.raise_signal(signal.SIGHUP)
    assert not told and not interrupt.asked
