"""Ctrl-C while a command has something to keep."""

from __future__ import annotations

import io
import signal
import threading
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
            # The handler is called in here.
            signal.raise_signal(signal.SIGINT)
        return len(data)


def test_a_stop_in_the_middle_of_a_line_is_told_after_it() -> None:
    below, told = _Interrupted(), threading.Event()
    stream = io.BufferedWriter(below)

    def write(line: bytes) -> None:
        stream.write(line)
        stream.flush()

    def tell() -> None:
        write(b"stopping\n")
        told.set()

    interrupt = Interrupt(tell)
    with interrupt.listening():
        interrupt.patient = True
        write(b"a line\n")
        assert interrupt.asked
        assert told.wait(_PATIENCE)
    assert below.lines == [b"a line\n", b"stopping\n"]


def test_a_stop_is_told_once_and_the_second_one_ends_at_once() -> None:
    lines: list[str] = []
    told = threading.Event()

    def tell() -> None:
        lines.append("stopping")
        told.set()

    interrupt = Interrupt(tell)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupt.listening():
        interrupt.patient = True
        signal.raise_signal(signal.SIGTERM)
        assert told.wait(_PATIENCE)
        signal.raise_signal(signal.SIGTERM)
        assert interrupt()
        signal.raise_signal(signal.SIGINT)
    assert lines == ["stopping"]
    assert signal.getsignal(signal.SIGINT) is before


def test_with_nothing_to_keep_the_first_one_ends_at_once_and_none_is_told() -> None:
    lines: list[str] = []
    interrupt = Interrupt(lambda: lines.append("stopping"))
    with pytest.raises(KeyboardInterrupt), interrupt.listening():
        signal.raise_signal(signal.SIGHUP)
    assert not lines and not interrupt.asked
