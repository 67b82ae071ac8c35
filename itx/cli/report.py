"""``itx report``: the study of a recorded run."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itx.cli import options, sources
from itx.errors import ItxError, UsageError

if TYPE_CHECKING:
    from itx.records import Run
    from itx.report.patterns import Rows
    from itx.report.study import Study

_NARROWEST = 60


def report(
    folder: options.RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE.md", help="Write Markdown to this file, and its curves as SVG beside it."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="DATA", help="The tuning data that responses are compared with, where it has moved."
        ),
    ] = None,
    columns: sources.Columns = None,
    words: options.Words = None,
) -> None:
    """Print what tuning changed over all prompts of a run."""
    from itx.cli.output import write_text
    from itx.cli.recorded import read_open
    from itx.report.studying import open_study

    if as_json and output is not None and output.suffix == ".md":
        raise UsageError("--json writes JSON, and -o names Markdown.", "Leave one out, or name FILE.json.")
    options.use_words(words)
    recording = read_open(folder)
    run = recording.run
    study = open_study(recording, read_responses(folder, run, data, sources.parse_columns(columns)))
    if as_json:
        write_text(write_json(study), output)
    elif output is not None:
        _write_document(run, study, output)
    else:
        from itx.report.overview import write_overview

        width = max(_NARROWEST, shutil.get_terminal_size().columns)
        write_text(write_overview(run, study, width), None)


def _write_document(run: Run, study: Study, output: Path) -> None:
    from itx.cli.output import write_text
    from itx.report.document import write_document

    text, pictures = write_document(run, study, output.stem)
    # The text first: it is refused where it would be in the way, and nothing stands beside it then.
    write_text(text, output)
    for name, picture in pictures.items():
        write_text(picture, output.parent / name)


def write_json(study: Study) -> str:
    """Return the plain figures, and beside them ``study``, the rest."""
    import msgspec

    from itx.text import escape_json

    figures = msgspec.to_builtins(msgspec.structs.replace(study.figures, borrowing=study.borrowing))
    rest = msgspec.to_builtins(study)
    del rest["figures"], rest["borrowing"]
    encoded = msgspec.json.format(msgspec.json.encode({**figures, "study": rest}), indent=2).decode()
    return escape_json(encoded) + "\n"


def read_responses(folder: Path, run: Run, named: str | None, columns: dict[str, str] | None) -> Rows | str:
    """Return the responses of the tuning data's rows, read as they are asked for, or why they are not compared with.

    What is named on the command line must be there, and be the run's; what only the run names may have moved.
    """
    from itx.data.reading import read_rows

    if named is None and run.data is None:
        return "the run names none"
    places = [named] if named is not None else _list_places(folder, run)
    reason = "" if places else "it is no file where the run names it"
    for place in places:
        try:
            fingerprint = _fingerprint(place)
            chosen = columns if columns is not None or run.data is None else run.data.columns
            if run.data is None or fingerprint == run.data.fingerprint:
                rows = read_rows(place, chosen)
                # What cannot be read is known by the first row.
                return (row.response for row in chain([next(rows)], rows))
            reason = f"{place} is not what the run was traced in"
        except ItxError as error:
            if named is not None:
                raise
            reason = reason or error.cause.rstrip(".")
    if named is not None:
        raise UsageError(f"{reason}.", "Leave --data out, or name the data as it was.")
    return reason


def _list_places(folder: Path, run: Run) -> list[str]:
    """Return where a file may be that a run names: here, or beside the run.

    Only a file: the run may be a stranger's, and its folder any folder of this machine.
    """
    reference = run.data.reference if run.data is not None else ""
    return [str(place) for place in (Path(reference), folder / reference) if place.is_file()]


def _fingerprint(reference: str) -> str:
    from itx.config import cache_folder
    from itx.data.cache import be_silent
    from itx.data.contents import hash_files
    from itx.data.reading import data_files

    files = data_files(reference)
    if not files:
        raise UsageError(f"{reference} is no file here", "Name the data with --data.")
    return hash_files(files, cache_folder() / "index", be_silent)
