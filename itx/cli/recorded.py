"""``itx open``: the screen on a recorded run. It needs no weights and loads no engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itx.cli import options, sources
from itx.cli.borrowing import DataChoice, Tell, TuningData
from itx.errors import UsageError

if TYPE_CHECKING:
    from itx.records import Run
    from itx.runs.recording import Recording
    from itx.tui.tracing import Tracer, TracerLoader


def read_whole(folder: Path) -> Recording:
    """Open a run and find all its lines; a last line that is cut short is said on stderr."""
    from itx.cli.headless import say
    from itx.runs.recording import Recording

    recording = Recording.open(folder)
    recording.scan_all()
    if not recording.is_complete:
        say(f"the last line of {folder / 'traces.jsonl'} is cut short and left out; resuming the run redoes its prompt")
    return recording


def trace_recorded(run: Run, choice: DataChoice) -> TracerLoader:
    """Return what opens the tuning data of a recorded run; it raises UsageError where the run was traced in other."""
    data = TuningData(choice)

    def load(tell: Tell) -> Tracer:
        found = data.open(tell).reference
        if run.data is not None and run.data.fingerprint != found.fingerprint:
            raise UsageError(
                f"{choice.reference} is not the tuning data of this run, which was {run.data.reference} "
                f"({run.data.fingerprint}).",
                "Leave --data out, or name the data as it was.",
            )
        return data.joiner(tell)

    return load


def open_run(
    folder: Annotated[Path | None, typer.Argument(metavar="RUN", help="A recorded run's folder.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Open the newest run that compare or demo recorded.")] = False,
    data: options.Data = None,
    columns: sources.Columns = None,
    embedder: sources.EmbedderName = None,
) -> None:
    """Open a recorded run. With its tuning data, all rows can be searched."""
    from itx.runs.library import newest_run
    from itx.tui.terminal import screen_is_possible

    if (folder is None) != last:
        raise UsageError("itx open needs a run's folder or --last, not both.", "itx open RUN")
    folder = newest_run() if folder is None else folder
    if screen_is_possible():
        from itx.runs.recording import Recording
        from itx.tui.app import run_app

        recording = Recording.open(folder)
        choice = None
        if data is not None:
            choice = DataChoice(
                reference=data,
                columns=sources.parse_columns(columns),
                embedder=embedder,
                thresholds=recording.run.thresholds,
            )
        raise typer.Exit(run_app(recording, None if choice is None else trace_recorded(recording.run, choice)))
    from itx.cli.plain import print_trace

    recording = read_whole(folder)
    for trace in recording.traces():
        print_trace(recording.run, trace, recording.borrowings_of(trace))
