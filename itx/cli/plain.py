"""Findings on standard output, for pipes and for terminals without a screen."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping

import typer

from itx.records import Borrowing, Run, Trace


def print_trace(run: Run, trace: Trace, borrowings: Mapping[str, Borrowing]) -> None:
    """Print one prompt's finding, as wide as the terminal (80 columns in a pipe)."""
    from itx.report.plain import write_plain

    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    only_ascii = not encoding.startswith("utf")
    width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
    typer.echo(write_plain(run, trace, width, only_ascii, borrowings))
