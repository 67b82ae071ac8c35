"""``itx open``: the screen on a recorded run, or the library of all. It needs no weights and loads no engine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itx.cli import options, sources
from itx.cli.borrowing import DataChoice, Tell, TuningData
from itx.errors import UsageError

if TYPE_CHECKING:
    from itx.records import Run
    from itx.report.patterns import Rows
    from itx.runs.recording import Recording
    from itx.tui.tracing import Tracer, TracerLoader


def read_whole(folder: Path) -> Recording:
    """Open a run and find all its lines; a last line that is cut short is said on stderr."""
    from itx.runs.recording import Recording

    recording = Recording.open(folder)
    recording.scan_all()
    if not recording.is_complete:
        say_cut_short(folder)
    return recording


def say_cut_short(folder: Path) -> None:
    """Say on stderr that a run ends within a line."""
    from itx.cli.headless import say

    say(f"the last line of {folder / 'traces.jsonl'} is cut short and left out; resuming the run redoes its prompt")


def read_open(folder: Path) -> Recording:
    """Open a run that is read once by ``read_lean``, which needs no list of lines."""
    from itx.report.lean import is_complete
    from itx.runs.recording import Recording

    recording = Recording.open(folder)
    if not is_complete(recording):
        say_cut_short(folder)
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
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN | FOLDER...]",
            help="A recorded run's folder; or folders with runs at or below them, for the library.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Open the newest run that compare or demo recorded.")] = False,
    data: options.Data = None,
    columns: sources.Columns = None,
    embedder: sources.EmbedderName = None,
) -> None:
    """Open a recorded run, or the library of all. With its tuning data, all rows of a run can be searched."""
    from itx.runs.library import newest_run

    if folders and last:
        raise UsageError("itx open needs a run's folder or --last, not both.", "itx open RUN")
    if last:
        _open_one(newest_run(), data, sources.parse_columns(columns), embedder)
    elif folders and len(folders) == 1 and not _is_shelf(folders[0]):
        _open_one(folders[0], data, sources.parse_columns(columns), embedder)
    elif data is not None:
        raise UsageError("--data is the tuning data of one run, and none is named.", "itx open RUN --data DATA")
    else:
        _open_library(folders or [])


def _is_shelf(folder: Path) -> bool:
    """Return True where a folder is no run but has some below it."""
    from itx.runs.description import is_run
    from itx.runs.library import list_runs

    return not is_run(folder) and bool(list_runs(folder))


def _open_one(folder: Path, data: str | None, columns: dict[str, str] | None, embedder: str | None) -> None:
    from itx.tui.terminal import screen_is_possible

    if screen_is_possible():
        from itx.runs.recording import Recording
        from itx.tui.app import run_app

        recording = Recording.open(folder)
        tracer = None
        if data is not None:
            choice = DataChoice(reference=data, columns=columns, embedder=embedder, thresholds=recording.run.thresholds)
            tracer = trace_recorded(recording.run, choice)
        raise typer.Exit(run_app(recording, tracer, partial(_find_rows, data=data, columns=columns)))
    from itx.cli.plain import print_trace

    recording = read_whole(folder)
    for trace in recording.traces():
        print_trace(recording.run, trace, recording.borrowings_of(trace))


def _find_rows(folder: Path, run: Run, data: str | None, columns: dict[str, str] | None) -> Rows | str:
    """Return the responses of the rows that the report compares with, as ``itx report`` finds them."""
    from itx.cli.report import read_responses

    return read_responses(folder, run, data, columns)


def _open_library(folders: list[Path]) -> None:
    from itx.runs.description import read_description
    from itx.tui.terminal import screen_is_possible

    for folder in folders:
        if not folder.is_dir():
            read_description(folder)  # it says what is missing
    if screen_is_possible():
        from itx.tui.app import run_library

        raise typer.Exit(run_library(folders, partial(_find_rows, data=None, columns=None)))
    from itx.cli.plain import print_library

    print_library(folders)
