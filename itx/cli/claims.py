"""``itx claims``: the paper's statements, measured on a recorded run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated

import typer

from itx.cli import options
from itx.errors import UsageError

if TYPE_CHECKING:
    from itx.records import Run

_NARROWEST = 60


def claims(
    folder: options.RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
    tuned_on: Annotated[
        list[str] | None,
        typer.Option(
            "--tuned-on",
            metavar="NAME=DATA",
            help="The data that one model was tuned on, where models were tuned on responses of different length.",
        ),
    ] = None,
    words: options.Words = None,
) -> None:
    """Print which of the paper's statements hold for the weights of a run."""
    import msgspec

    from itx.cli.output import write_text
    from itx.cli.recorded import read_open
    from itx.report.studying import open_claims
    from itx.report.verdicts import write_claims
    from itx.text import escape_json

    options.use_words(words)
    recording = read_open(folder)
    found = open_claims(recording, lengths=_measure_lengths(recording.run, tuned_on or []))
    if as_json:
        text = escape_json(msgspec.json.format(msgspec.json.encode(found), indent=2).decode()) + "\n"
    else:
        text = write_claims(recording.run, found, max(_NARROWEST, shutil.get_terminal_size().columns))
    write_text(text, None)


def _measure_lengths(run: Run, named: list[str]) -> dict[str, float]:
    """Return the mean length, in words, of the responses that each named model was tuned on."""
    from itx.data.reading import read_rows

    tuned = [model.name for model in run.tuned]
    lengths: dict[str, float] = {}
    for word in named:
        name, sign, reference = word.partition("=")
        if not sign or name not in tuned or name in lengths:
            raise UsageError(
                f"--tuned-on {word!r} is not NAME=DATA with a tuned model of the run, each once.",
                f"Its tuned models are {', '.join(tuned)}.",
            )
        counts = [len(row.response.split()) for row in read_rows(reference)]
        lengths[name] = sum(counts) / len(counts)
    return lengths
