"""``itx merge``: one run of several, such as the shards of a list of prompts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from itx.text import sanitise


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Recorded runs, two or more.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="A new or empty folder.")],
) -> None:
    """Make one run of several: the shards of a list of prompts, or runs of the same models over other prompts."""
    from itx.runs.merging import merge_runs

    run = merge_runs(folders, out)
    for warning in run.warnings:
        typer.echo(f"itx: warning: {sanitise(warning, keep_newlines=False)}", err=True)
    typer.echo(sanitise(str(out), keep_newlines=False) if sys.stdout.isatty() else os.fsencode(out))
