"""``itx export``: a recorded run as Markdown or as the tidy table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itx.cli import options


def export(
    folder: options.RunFolder,
    kind: Annotated[
        options.ExportFormat, typer.Option("--format", help="md: the findings; jsonl, csv, parquet: the tidy table.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PATH", help="The file to write.")],
) -> None:
    """Write a run's findings to a file."""
    from itx.cli.output import write_pieces
    from itx.cli.recorded import read_whole
    from itx.report.markdown import write_markdown
    from itx.report.table import write_csv, write_jsonl

    recording = read_whole(folder)
    run, traces, find = recording.run, recording.traces(), recording.borrowings_of
    if kind is options.ExportFormat.MARKDOWN:
        write_pieces([write_markdown(run, traces, find_borrowings=find, marks=recording.marks())], output)
    elif kind is options.ExportFormat.JSONL:
        write_pieces(write_jsonl(run, traces, find), output)
    elif kind is options.ExportFormat.PARQUET:
        from itx.report.parquet import write_parquet

        write_pieces(write_parquet(run, traces, find), output)
    else:
        write_pieces(write_csv(run, traces, find), output)
