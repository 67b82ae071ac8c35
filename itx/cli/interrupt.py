"""Ctrl-C while something is made that can be kept."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self


class Interrupt:
    """Asks for a stop at the first Ctrl-C (or SIGTERM, SIGHUP), and calls ``tell``; a second Ctrl-C stops at once.

    Until ``patient`` is set there is nothing to keep, and the first one stops at once. ``tell`` is called in a thread
    of its own: a signal may come in the middle of a line to the very stream that ``tell`` writes to, and Python's
    streams refuse a second write there.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self.asked = False
        self.patient = False
        self._tell = tell

    def __call__(self) -> bool:
        """Return whether a stop was asked for."""
        return self.asked

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self.patient or (self.asked and number == signal.SIGINT):
            raise KeyboardInterrupt
        if not self.asked:
            self.asked = True
            # Takes no lock, as starting a threading.Thread does, which the code below this handler may hold. Where the
            # system gives no thread, the stop is told when it is done.
            with contextlib.suppress(RuntimeError):
                _thread.start_new_thread(self._tell, ())

    @contextmanager
    def listening(self) -> Iterator[Self]:
        """Listen for the signals within the block; not in a thread, which gets none."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._receive) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
