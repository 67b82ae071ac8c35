"""The study of a run as plain text that fits a terminal: ``itx report RUN``."""

from __future__ import annotations

from collections.abc import Iterator

from itx.records import Run
from itx.report.cells import cut, measure, pad, wrap
from itx.report.curve import plot_text
from itx.report.noise import describe_noise
from itx.report.parts import Section, Table
from itx.report.sections import describe_study, list_sections
from itx.report.study import Study
from itx.report.wording import say_count
from itx.text import sanitise

_GAP = 2
_HEIGHT = 4
_LEAST = 12


def write_overview(run: Run, study: Study, width: int, ascii_only: bool = False) -> str:
    """Return the report in lines of at most ``width`` cells."""
    names = " ⇄ ".join(_plain(model.name) for model in run.models)
    lines = [*wrap(f"What tuning changed: {names}", width)]
    for note in describe_study(study):
        lines += wrap(note, width)
    for section in list_sections(run, study):
        lines += ["", *_draw_section(section, width, ascii_only)]
    bounds = run.thresholds
    lines += ["", *wrap(f"Unshifted: rank ≤ {bounds.unshifted}; shifted: rank > {bounds.marginal}.", width)]
    lines += wrap(_plain(describe_noise(run)), width)
    if study.figures.failed:
        lines += ["", say_count(study.failed, "failed prompt") + ":"]
        for failure in study.figures.failed:
            lines += [cut(f"  {_plain(failure.prompt_id)}: {_plain(failure.error)}", width)]
    for warning in run.warnings:
        lines += wrap(f"Warning: {_plain(warning)}", width)
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return sanitise(text, keep_newlines=False)


def _draw_section(section: Section, width: int, ascii_only: bool) -> Iterator[str]:
    yield cut(section.title, width)
    yield ("-" if ascii_only else "─") * min(width, measure(section.title))
    for note in section.notes:
        yield from wrap(_plain(note), width)
    for place, table in enumerate(section.tables):
        if place:
            yield ""
        if table.title:
            yield cut(_plain(table.title), width)
        yield from lay_table(table, width)
    for plot in section.plots:
        yield cut(_plain(plot.title), width)
        yield from plot_text([value or 0.0 for value in plot.values], width, _HEIGHT, ascii_only)


def lay_table(table: Table, width: int) -> Iterator[str]:
    """Yield the lines of a table; columns that do not fit stand in a second table below, under the first column."""
    rows = [[_plain(cell) for cell in row] for row in [table.header, *table.rows]]
    sizes = [max(measure(row[place]) for row in rows) for place in range(len(table.header))]
    sizes[0] = min(sizes[0], max(_LEAST, width // 3, width - _GAP - max(sizes[1:], default=0)))
    start = 1
    while start < len(sizes) or start == 1:
        used, end = sizes[0], start
        while end < len(sizes) and (end == start or used + _GAP + sizes[end] <= width):
            used += _GAP + sizes[end]
            end += 1
        for row in rows:
            cells = [pad(cut(row[0], sizes[0]), sizes[0], 0 in table.numbers)]
            for place in range(start, end):
                size = min(sizes[place], width - sizes[0] - _GAP)
                cells.append(pad(cut(row[place], size), size, place in table.numbers))
            yield (" " * _GAP).join(cells).rstrip()
        start = max(end, start + 1)
        if start < len(sizes):
            yield ""
