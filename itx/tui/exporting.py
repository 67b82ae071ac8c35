"""Taking findings away: one prompt as a Markdown file, and a copy of it for the clipboard."""

from __future__ import annotations

import re
from pathlib import Path

from itx.config import state_folder
from itx.errors import RunError
from itx.records import Run, Trace
from itx.tui.provenance import Provenance


def write_finding(run: Run, trace: Trace, provenance: Provenance) -> str:
    """Return one prompt with its answers, shifts, borrowed spans and marks as Markdown."""
    from itx.report.markdown import write_markdown

    borrowings, marks = provenance.findings(trace)
    return write_markdown(run, [trace], run.command, find_borrowings=lambda _: borrowings, marks=marks)


def export_file(run: Run, trace: Trace, text: str) -> Path:
    """Write ``text`` into the current folder, or into the state folder where that cannot be written; say where."""
    try:
        return write_new_file(Path.cwd(), _stem(run, trace), text)
    except OSError:
        return export_to_state(run, trace, text)


def export_to_state(run: Run, trace: Trace, text: str) -> Path:
    """Write ``text`` into the state folder; say where. Raises RunError where that fails, too."""
    folder = state_folder() / "exports"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return write_new_file(folder, _stem(run, trace), text)
    except OSError as error:
        raise RunError(
            f"Nothing can be written to {folder}: {error.strerror}.", "Make room there, then export again."
        ) from error


def _stem(run: Run, trace: Trace) -> str:
    name = "-".join(["itx", *(model.name for model in run.tuned), trace.prompt_id])
    return re.sub(r"[^\w.-]+", "_", name)[:80]


def write_new_file(folder: Path, stem: str, text: str) -> Path:
    """Write ``text`` to a new file of ``folder``, never over another; return its path. Raises OSError."""
    number = 1
    while True:
        path = folder / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
        try:
            with path.open("x", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except FileExistsError:
            number += 1
            continue
        return path
