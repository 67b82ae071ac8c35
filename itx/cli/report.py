"""``itx report``: the aggregates of a recorded run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itx.cli import options


def report(
    folder: options.RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.md", help="Write Markdown to this file.")
    ] = None,
) -> None:
    """Print what tuning changed over all prompts of a run."""
    import msgspec

    from itx.cli.output import write_text
    from itx.cli.recorded import read_whole
    from itx.report.borrowing import summarise_borrowing
    from itx.report.figures import summarise
    from itx.report.summary import write_summary
    from itx.runs.lines import BORROW
    from itx.text import escape_json

    recording = read_whole(folder)
    figures = summarise(recording.run, recording.traces())
    if (folder / BORROW).is_file():
        traced = ((trace, recording.borrowings_of(trace)) for trace in recording.traces())
        figures = msgspec.structs.replace(figures, borrowing=summarise_borrowing(recording.run, traced))
    if as_json:
        text = escape_json(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode()) + "\n"
    else:
        text = write_summary(recording.run, figures)
    write_text(text, output)
