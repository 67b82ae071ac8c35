"""``itx open``: the screen on a recorded run. It needs no weights and loads no engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from itx.runs.recording import Recording


def read_whole(folder: Path) -> Recording:
    """Open a run and find all its lines; a last line that is cut short is said on stderr."""
    from itx.cli.headless import say
    from itx.runs.recording import Recording

    recording = Recording.open(folder)
    recording.scan_all()
    if not recording.is_complete:
        say(f"the last line of {folder / 'traces.jsonl'} is cut short and left out; resuming the run redoes its prompt")
    return recording


def open_run(
    folder: Annotated[Path | None, typer.Argument(metavar="RUN", help="A recorded run's folder.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Open the newest run that compare or demo recorded.")] = False,
) -> None:
    """Open a recorded run."""
    from itx.errors import UsageError
    from itx.runs.library import newest_run
    from itx.tui.terminal import screen_is_possible

    if (folder is None) != last:
        raise UsageError("itx open needs a run's folder or --last, not both.", "itx open RUN")
    folder = newest_run() if folder is None else folder
    if screen_is_possible():
        from itx.runs.recording import Recording
        from itx.tui.app import run_app

        raise typer.Exit(run_app(Recording.open(folder)))
    from itx.cli.plain import print_trace

    recording = read_whole(folder)
    for trace in recording.traces():
        print_trace(recording.run, trace, recording.borrowings_of(trace))
