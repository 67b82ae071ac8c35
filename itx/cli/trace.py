"""``itx trace``: where the words of any text occur in tuning data, without a model."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from itx.cli import sources
from itx.cli.encoding import check_text


class TraceFormat(StrEnum):
    """The formats ``itx trace`` prints."""

    TEXT = "text"
    JSON = "json"


def trace(
    data: Annotated[str, typer.Option("--data", metavar="DATA", help="The tuning data.", show_default=False)],
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="The text to trace.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="F", help="A file with the text; - reads standard input.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="What the text answers: rows near it are found, too.")
    ] = None,
    form: Annotated[TraceFormat, typer.Option("--format", help="For people, or for programs.")] = TraceFormat.TEXT,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Neighbours at most.")] = 10,
    folder: Annotated[
        Path | None, typer.Option("--index", metavar="DIR", help="Where itx index --out kept the indexes.")
    ] = None,
    columns: sources.Columns = None,
    embedder: sources.EmbedderName = None,
    train_max_tokens: sources.TrainMaxTokens = None,
    tokenizer: sources.TokenizerFolder = None,
) -> None:
    """Find the tuning rows that a text's words come from: verbatim spans, near rows, paraphrases."""
    from itx.cli.traced import write_json, write_traced
    from itx.data.tracing import trace_text

    traced = _read(text, file)
    check_text("--prompt", prompt or "", "Write it in UTF-8 (locale shows what is set).")
    opened = sources.open_with_progress(
        data,
        columns=columns,
        embedder=embedder,
        folder=folder,
        train_max_tokens=train_max_tokens,
        tokenizer=tokenizer,
    )
    sources.name_broken(opened)
    found = trace_text(opened, traced, prompt, limit)
    total = len(opened.rows)
    typer.echo(write_json(found, total) if form is TraceFormat.JSON else write_traced(found, traced, total), nl=False)


def _read(text: str | None, file: Path | None) -> str:
    from itx.errors import InputError, UsageError

    if (text is None) == (file is None):
        raise UsageError("itx trace needs --text or --file, not both.", "itx trace --data DATA --text TEXT")
    if file is None:
        check_text("--text", text or "", "Put it into a file and name it with --file.")
        return text or ""
    try:
        # As it stands: positions are counted in its characters, so no line end is translated.
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", "Name a file of text with --file.") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is not UTF-8: byte {error.start} is {content[error.start]:#04x}.",
            f"iconv -f latin1 -t utf-8 {file}",
        ) from error
