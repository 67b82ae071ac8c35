"""The terminal, kept for the screen alone: native libraries that print are sent to a log file.

Textual draws on ``sys.__stderr__`` and asks ``sys.__stdout__`` for the size. Both are bound to a private copy of the
terminal's file descriptor, then descriptors 1 and 2 are pointed at the log, so that nothing else can draw.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from itx.config import log_file, terminal_is_dumb

_SIZE_VARIABLES = ("COLUMNS", "LINES")
"""Where they are exported, they would freeze the screen's size."""


def screen_is_possible() -> bool:
    """Return True where input and output are a terminal that can move its cursor (not ``TERM=dumb``)."""
    if terminal_is_dumb():
        return False
    try:
        return os.isatty(0) and os.isatty(1)
    except OSError:
        return False


class TerminalFile(io.TextIOWrapper):
    """The terminal to draw on. When it is gone (the connection was lost), what is drawn is dropped."""

    def write(self, text: str) -> int:
        """Write, unless the terminal is gone."""
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, unless the terminal is gone."""
        with suppress(OSError):
            super().flush()


@contextmanager
def terminal_for_screen() -> Iterator[None]:
    """Keep the terminal for the screen while the block runs; put everything back at its end."""
    sys.stdout.flush()
    sys.stderr.flush()
    drawn_on = os.dup(2 if os.isatty(2) else 1)
    kept = {1: os.dup(1), 2: os.dup(2)}
    before = {name: vars(sys)[name] for name in ("__stdout__", "__stderr__")}
    sizes = {name: os.environ.pop(name) for name in _SIZE_VARIABLES if name in os.environ}
    no_colour = os.environ.get("NO_COLOR")
    if no_colour == "":  # unset, by no-color.org; Textual would take it as set
        del os.environ["NO_COLOR"]
    file = TerminalFile(io.FileIO(drawn_on, "w"), encoding="utf-8", errors="replace", write_through=False)
    log = _open_log()
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        vars(sys).update(__stdout__=file, __stderr__=file)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        vars(sys).update(before)
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(log)
        file.close()
        os.environ.update(sizes)
        if no_colour == "":
            os.environ["NO_COLOR"] = ""


def _open_log() -> int:
    path = log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError:  # a home that cannot be written must not keep the screen from opening
        return os.open(os.devnull, os.O_WRONLY)


def frames_are_waiting(app: object) -> bool:
    """Return True while the terminal has not taken the frames written so far.

    Textual's writer thread queues thirty frames and then blocks the event loop; drawing only when its queue is empty
    keeps keys quick on a slow line. The queue is private to Textual 8's driver: where it is not found, nothing waits.
    """
    writer = getattr(getattr(app, "_driver", None), "_writer_thread", None)
    queue = getattr(writer, "_queue", None)
    return queue is not None and not queue.empty()
