"""What is known of one run: how it was made, and each tuned model's figures."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from itx.report.wording import say_nats
from itx.tui.palette import Palette, Signs
from itx.tui.shelf import RunRow
from itx.tui.status import name_context, name_decoding, name_model
from itx.tui.widgets.panel import Panel
from itx.tui.wording import cut, pad
from itx.tui.words import METHODS


def say_path(folder: Path) -> str:
    """Return a folder as a person writes it, their home as ``~``."""
    try:
        return f"~/{folder.resolve().relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(folder)


_FIGURE, _LEAST = 9, 12
"""Cells of a figure, and the least of a model's name."""


def _measure(parts: list[tuple[str, str]]) -> int:
    return sum(_FIGURE + 1 + len(what) for _, what in parts)


class RunFacts(Panel, can_focus=False):
    """What is known of the run that is marked: how it was made, and each tuned model's figures."""

    def __init__(self, palette: Palette, signs: Signs) -> None:
        super().__init__(id="facts")
        self.palette = palette
        self.signs = signs
        self.row: RunRow | None = None

    def show(self, row: RunRow | None) -> None:
        """Show a run."""
        if row != self.row:
            self.row = row
            self.redraw()

    @property
    def height(self) -> int:
        """The lines there are to show."""
        row = self.row
        return 2 if row is None or row.shelved.run is None else 2 + len(row.shelved.run.tuned)

    def write_lines(self, width: int) -> list[Text]:
        """Return the path, how it was made, and a line a tuned model."""
        row, faint = self.row, self.palette.faint
        if row is None:
            return []
        run = row.shelved.run
        lines = [Text(cut(say_path(row.shelved.folder), width, self.signs.ellipsis))]
        if run is None:
            return [*lines, Text(cut(row.shelved.problem, width), style=self.palette.alert)]
        facts = [name_model(run.base), name_decoding(run.decoding), name_context(run.context)]
        if run.data is not None:
            facts.append(f"{Path(run.data.reference).name} ({run.data.rows:,} rows)")
        facts.append(f"at most {run.decoding.max_new_tokens:,} tokens")
        lines.append(Text(cut(f" {self.signs.dot} ".join(facts), width, self.signs.ellipsis), style=faint))
        if row.shelved.problem:
            return [*lines, Text(cut(row.shelved.problem, width), style=self.palette.alert)]
        if row.shelved.figures is None:
            return [*lines, Text("Being counted.", style=faint)]
        return [*lines, *self._write_models(row, width)]

    def _write_models(self, row: RunRow, width: int) -> list[Text]:
        run, figures = row.shelved.run, row.shelved.figures
        assert run is not None
        assert figures is not None
        names = [f"{model.name}: {METHODS[model.method]}" if model.method else model.name for model in run.tuned]
        longest = max(map(len, names))
        lines = []
        for model, name in zip(run.tuned, names, strict=True):
            tally = figures.tally(model.name)
            share, kl, rate = tally.shifted_share, tally.kl_mean, tally.borrowed_share
            parts = [
                (f"{100 * share:.1f} %" if share is not None else "n/a", "shifted"),
                (say_nats(kl, tally.exact), "mean KL"),
                *([(f"{100 * rate:.1f} %", "borrowed")] if rate is not None else []),
                (f"{tally.length_mean or 0:.0f}", "tokens"),
            ]
            while len(parts) > 1 and _measure(parts) > width - min(_LEAST, longest):
                parts.pop()
            column = max(4, min(longest, width - _measure(parts)))
            line = Text().append(pad(cut(name, column, self.signs.ellipsis), column), self.palette.strong)
            if not tally.responses:
                lines.append(line.append("  no responses", self.palette.faint))
                continue
            for figure, what in parts:
                line.append(f"{figure:>{_FIGURE}} ").append(what, self.palette.faint)
            lines.append(line)
        return lines
