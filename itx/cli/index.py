"""``itx index``: build or refresh the indexes of tuning data."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from itx.cli import sources


def index(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A file, a folder, a saved data set, or a hub data set's id.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep the indexes here, not in the cache folder.")
    ] = None,
    columns: sources.Columns = None,
    embedder: sources.EmbedderName = None,
    train_max_tokens: sources.TrainMaxTokens = None,
    tokenizer: sources.TokenizerFolder = None,
) -> None:
    """Build the indexes of tuning data, or do nothing where they are built and the data is the same."""
    from itx.text import sanitise

    built = sources.open_with_progress(
        data,
        columns=columns,
        embedder=embedder,
        folder=out,
        train_max_tokens=train_max_tokens,
        tokenizer=tokenizer,
    )
    sources.name_broken(built)
    # To a program the very bytes of the name, to a terminal nothing that it would obey.
    typer.echo(sanitise(str(built.folder), keep_newlines=False) if sys.stdout.isatty() else os.fsencode(built.folder))
    typer.echo(f"{len(built.rows)} rows, {built.broken} broken")
    if built.temporary is not None:
        typer.echo("itx: nothing is kept of it. To keep it: itx index DATA --out DIR", err=True)
