"""``itx open``: the screen on a recorded run. It needs no weights and loads no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def open_run(
    folder: Annotated[Path | None, typer.Argument(metavar="RUN", help="A recorded run's folder.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Open the newest run that compare or demo recorded.")] = False,
) -> None:
    """Open a recorded run."""
    from itx.errors import UsageError
    from itx.runs.library import newest_run
    from itx.runs.recording import Recording
    from itx.tui.terminal import screen_is_possible

    if (folder is None) != last:
        raise UsageError("itx open needs a run's folder or --last, not both.", "itx open RUN")
    recording = Recording.open(newest_run() if folder is None else folder)
    if screen_is_possible():
        from itx.tui.app import run_app

        raise typer.Exit(run_app(recording))
    from itx.cli.plain import print_trace

    for trace in recording.traces():
        print_trace(recording.run, trace)
