"""``python -m itx``, and the script ``itx``."""

from __future__ import annotations

import signal


def start() -> None:
    """Run the command line; Ctrl-C during its imports ends the process as it ends any other, without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from itx.cli.main import main

    signal.signal(signal.SIGINT, handler)
    main()


if __name__ == "__main__":
    start()
