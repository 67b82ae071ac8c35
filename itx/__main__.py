"""``python -m itx``, and the script ``itx``."""

from __future__ import annotations

import os
import signal
from types import FrameType

from itx.errors import EXIT_FAILED


def _leave(number: int, frame: FrameType | None) -> None:
    # An exception within an import may be swallowed or told as a traceback, and nothing has begun yet.
    os.write(2, b"itx: stopped before anything began; the same command starts again\n")
    os._exit(EXIT_FAILED)


def start() -> None:
    """Run the command line; Ctrl-C during its imports is said and ends the process at once."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from itx.cli.main import main

    signal.signal(signal.SIGINT, handler)
    main()


if __name__ == "__main__":
    start()
