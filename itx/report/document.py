"""The study of a run as Markdown, with its curves as SVG files beside it: ``itx report RUN -o FILE.md``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import msgspec

from itx.records import Run
from itx.report.escape import code, escape_inline, escape_line, write_table
from itx.report.parts import Plot, Quoted, Section, Table
from itx.report.sections import describe_study, list_sections
from itx.report.study import Study
from itx.report.summary import write_summary
from itx.report.vector import write_svg

_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")


def write_document(run: Run, study: Study, stem: str) -> tuple[str, dict[str, str]]:
    """Return the Markdown, and the SVG of each curve by its file's name, which begins with ``stem``."""
    pictures: dict[str, str] = {}
    figures = msgspec.structs.replace(study.figures, borrowing=study.borrowing)
    parts = [write_summary(run, figures), "\n"]
    parts += [f"{escape_line(note)}\n\n" for note in describe_study(study)[1:]]
    # Borrowing is in the summary, at more length.
    for section in list_sections(run, msgspec.structs.replace(study, borrowing=None)):
        parts.extend(_write_section(section, stem, pictures))
    return "".join(parts), pictures


def _write_section(section: Section, stem: str, pictures: dict[str, str]) -> Iterator[str]:
    yield f"## {escape_inline(section.title)}\n\n"
    for note in section.notes:
        yield f"{escape_line(note)}\n\n"
    for table in section.tables:
        if table.title:
            yield f"### {escape_inline(table.title)}\n\n"
        yield f"{_write_cells(table)}\n"
    for plot in section.plots:
        name = _name_picture(plot, stem, pictures)
        pictures[name] = write_svg(plot.title, plot.values)
        yield f"![{escape_inline(plot.title)}]({quote(name)})\n\n"


def _name_picture(plot: Plot, stem: str, taken: dict[str, str]) -> str:
    """Return a file's name that needs no escaping after the stem, and is not taken."""
    plain = f"{stem}-{_UNSAFE.sub('_', plot.name)}"
    name, number = f"{plain}.svg", 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}.svg"
    return name


def _write_cells(table: Table) -> str:
    header = [escape_inline(cell) for cell in table.header]
    rows = [[code(cell) if isinstance(cell, Quoted) else escape_inline(cell) for cell in row] for row in table.rows]
    return write_table(header, rows, table.numbers)
