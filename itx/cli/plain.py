"""Findings on standard output, for pipes and for terminals without a screen."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from itx.errors import ItxError, RunError
from itx.records import Borrowing, Run, Trace


def print_trace(run: Run, trace: Trace, borrowings: Mapping[str, Borrowing]) -> None:
    """Print one prompt's finding, as wide as the terminal (80 columns in a pipe)."""
    from itx.report.plain import write_plain

    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    only_ascii = not encoding.startswith("utf")
    width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
    typer.echo(write_plain(run, trace, width, only_ascii, borrowings))


def print_library(folders: Sequence[Path]) -> None:
    """Print the runs in the state folder, and those at and below ``folders``: one a line, the newest first.

    Raises RunError where there is none.
    """
    from itx.config import runs_folder
    from itx.runs.library import list_runs

    roots = [*folders, runs_folder()]
    found = {run.resolve(): run for root in roots for run in list_runs(root)}
    if not found:
        raise RunError(
            f"No run is recorded under {', '.join(map(str, roots))}.", "Record one with itx demo, or name a folder."
        )
    lines = sorted((_say_run(folder) for folder in found.values()), reverse=True)
    for _, line in lines:
        typer.echo(line)


def _say_run(folder: Path) -> tuple[str, str]:
    """Return when a run was made, and its line: date, prompts, shifted share, mean KL, failed prompts, models, path."""
    from itx.report.catalogue import read_catalogue
    from itx.report.wording import ABSENT, say_nats
    from itx.runs.description import read_description
    from itx.text import sanitise

    try:
        run = read_description(folder)
        figures = read_catalogue(folder, run)
    except ItxError as error:
        return "", sanitise(f"{'':10}  {folder}: {error.cause}", keep_newlines=False)
    assert figures is not None
    tally = figures.tally()
    share = ABSENT if tally.shifted_share is None else f"{100 * tally.shifted_share:.1f} %"
    parts = [
        f"{run.created[:10]:10}",
        f"{len(figures.prompts):>5} prompts",
        f"{share:>7} shifted",
        f"KL {say_nats(tally.kl_mean, tally.exact):>6}",
        f"{figures.failed} failed",
        ", ".join(model.name for model in run.tuned),
        str(folder),
    ]
    return run.created, sanitise("  ".join(parts), keep_newlines=False)
