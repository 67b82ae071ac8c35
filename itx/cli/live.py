"""A live comparison: on the screen where there is one, else as plain text; recorded either way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from itx.cli.prompts import Gathered
from itx.errors import EXIT_PARTIAL, UsageError

if TYPE_CHECKING:
    from itx.compare.request import Request


def show(request: Request, gathered: Gathered, out: Path | None) -> int:
    """Show and record the comparison, say where it lies, and return the exit code."""
    from itx.tui.terminal import screen_is_possible

    on_screen = screen_is_possible()
    if not on_screen and not gathered.prompts:
        raise UsageError(
            "This is no terminal with a screen, and no prompt was given.", "Add --prompt TEXT or --prompts FILE."
        )
    folder = out if out is not None else _new_folder(request)
    if on_screen:
        return _show_on_screen(request, gathered, folder)
    return _print_all(request, gathered, folder)


def _new_folder(request: Request) -> Path:
    from itx.runs.library import new_run_folder

    return new_run_folder(Path(request.tuned[0].rpartition("=")[2].replace(":", "-")).name)


def _show_on_screen(request: Request, gathered: Gathered, folder: Path) -> int:
    from itx.cli.headless import say
    from itx.compare.events import Comparer
    from itx.tui.app import Live, run_app

    def load(tell: Live.Tell) -> Comparer:
        from itx.compare.load import load_comparison

        return load_comparison(request, tell)

    code = run_app(Live(loader=load, folder=folder, prompts=gathered.prompts, decoding=request.decoding))
    for reason in gathered.broken:
        say(reason)
    if (folder / "run.json").exists():
        typer.echo(folder)
    return code or (EXIT_PARTIAL if gathered.broken else 0)


def _print_all(request: Request, gathered: Gathered, folder: Path) -> int:
    from itx.cli.headless import record_all
    from itx.cli.plain import print_trace

    return record_all(request, gathered, folder, show=print_trace)
