"""The options of the commands that read tuning data, and the index they open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itx.cli.encoding import check_text
from itx.errors import UsageError
from itx.text import sanitise

if TYPE_CHECKING:
    from itx.data.index import Index

Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="ROLE=COLUMN,…",
        help="Which columns hold what, where itx finds others: instruction=COL,response=COL.",
    ),
]
EmbedderName = Annotated[
    str | None,
    typer.Option(
        "--embedder",
        metavar="NAME|FOLDER",
        help="A sentence-transformers model for the rows near in meaning, instead of the one that comes with itx.",
    ),
]
TrainMaxTokens = Annotated[
    int | None,
    typer.Option(
        "--train-max-tokens", min=1, help="Text that tuning cut off behind so many tokens is no source (--tokenizer)."
    ),
]
TokenizerFolder = Annotated[
    Path | None,
    typer.Option("--tokenizer", metavar="FOLDER", help="The tokenizer that --train-max-tokens counts with."),
]


def parse_columns(text: str | None) -> dict[str, str] | None:
    """Return columns by role, written as ``ROLE=COLUMN,…``. Raises UsageError for anything else."""
    if text is None:
        return None
    check_text("--columns", text, "Write it in UTF-8 (locale shows what is set).")
    columns: dict[str, str] = {}
    for word in text.split(","):
        role, sign, column = word.partition("=")
        if not sign or not role.strip() or role.strip() in columns:
            raise UsageError(
                f"--columns {text!r} is not ROLE=COLUMN,…, each role once.", "--columns instruction=question,response=a"
            )
        columns[role.strip()] = column.strip()
    return columns


def open_with_progress(
    data: str,
    *,
    columns: str | None,
    embedder: str | None,
    folder: Path | None,
    train_max_tokens: int | None,
    tokenizer: Path | None,
) -> Index:
    """Open the index of tuning data, with bars on stderr while it is built. Raises what ``open_index`` raises."""
    from itx.cli.progress import show_progress
    from itx.data.index import open_index

    with show_progress() as tell:
        return open_index(
            data,
            columns=parse_columns(columns),
            embedder=embedder,
            folder=folder,
            train_max_tokens=train_max_tokens,
            tokenizer=tokenizer,
            tell=tell,
        )


def name_broken(index: Index) -> None:
    """Name the rows that were skipped on stderr, the first 20 of them and how many more there are."""
    for broken in index.broken_rows:
        typer.echo(f"itx: {sanitise(str(broken), keep_newlines=False)}", err=True)
    more = index.broken - len(index.broken_rows)
    if more > 0:
        typer.echo(f"itx: and {more:,} more rows that cannot be used", err=True)
