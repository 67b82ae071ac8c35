"""Progress on stderr: bars on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from itx.text import sanitise


@contextmanager
def show_progress() -> Iterator[Callable[[str, float], None]]:
    """Yield what takes a step and its fraction done; one below 0 makes a line that stays."""
    if not sys.stderr.isatty():
        yield _line_each()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    steps: dict[str, TaskID] = {}
    notices: set[str] = set()
    with Progress(*columns, console=console) as progress:

        def tell(step: str, fraction: float) -> None:
            if fraction < 0:
                if step not in notices:
                    notices.add(step)
                    progress.console.print(f"itx: {_clean(step)}", markup=False, highlight=False)
                return
            if step not in steps:
                for task in progress.tasks:
                    progress.update(task.id, completed=1.0)
                steps[step] = progress.add_task(_clean(step), total=1.0)
            progress.update(steps[step], completed=fraction)

        yield tell


def _line_each() -> Callable[[str, float], None]:
    told: set[str] = set()

    def tell(step: str, fraction: float) -> None:
        del fraction
        if step not in told:
            told.add(step)
            typer.echo(f"itx: {_clean(step)}", err=True)

    return tell


def _clean(step: str) -> str:
    return sanitise(step, keep_newlines=False)
