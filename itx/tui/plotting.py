"""Estimates, tables and small plots of the report screen, as lines of text for a width. Nothing here is interactive."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text

from itx.report.study import Estimate
from itx.report.wording import ABSENT, say_nats
from itx.tui.palette import Palette, Signs
from itx.tui.wording import cut, draw_curve

GAP = 2
FEW = "!"
"""Behind figures of fewer than thirty prompts."""
Number = Callable[[float], str]


@dataclass(frozen=True)
class Writer:
    """Writes with a palette and the signs that the terminal has."""

    palette: Palette
    signs: Signs

    # Estimates

    def share(self, estimate: Estimate, *, signed: bool = False) -> Text:
        """Return ``12.3 % [10.1, 14.6]``; with ``signed`` a difference in percentage points."""
        sign = "+" if signed else ""
        return self.estimate(
            estimate,
            lambda value: f"{100 * value:{sign}5.1f}",
            " pp" if signed else " %",
            len("-12.3" if signed else "12.3"),
        )

    def nats(self, estimate: Estimate, *, signed: bool = False, exact: bool = True) -> Text:
        """Return a divergence with its interval; a lower bound as ``≥``."""

        def say(value: float) -> str:
            said = say_nats(value)
            return f"+{said}" if signed and value >= 0 else said

        text = self.estimate(estimate, say, "", 5)
        return text if exact or estimate.value is None else Text("≥ ").append_text(text)

    def number(self, estimate: Estimate, digits: int = 1) -> Text:
        """Return a plain number with its interval."""
        return self.estimate(estimate, lambda value: f"{value:,.{digits}f}", "", 4)

    def estimate(self, estimate: Estimate, say: Number, unit: str, width: int) -> Text:
        """Return a figure, its interval, and a sign where few prompts stand behind it; ``n = 0`` where none does."""
        if estimate.value is None:
            return Text(ABSENT if estimate.count else "n = 0", style=self.palette.faint)
        text = Text().append(f"{say(estimate.value).strip():>{width}}{unit}", self.palette.strong)
        if estimate.low is not None and estimate.high is not None:
            low, high = (say(value).strip().rjust(width) for value in (estimate.low, estimate.high))
            text.append(f" [{low}, {high}]", self.palette.faint)
        return text.append(FEW if estimate.few else " ", self.palette.faint)

    def whisker(self, estimate: Estimate, width: int, bottom: float, top: float) -> Text:
        """Return a line of ``width`` cells from ``bottom`` to ``top``: the interval, and a point where the value is.

        Where the scale goes from below zero to above, zero is marked.
        """
        if estimate.value is None or width < 3 or top <= bottom:
            return Text(" " * max(0, width))

        def place(value: float) -> int:
            share = (value - bottom) / (top - bottom)
            return max(0, min(width - 1, round(share * (width - 1))))

        cells = [" "] * width
        if bottom < 0 < top:
            cells[place(0.0)] = self.signs.rule
        if estimate.low is not None and estimate.high is not None:
            for cell in range(place(estimate.low), place(estimate.high) + 1):
                cells[cell] = self.signs.line
        point, faint = place(estimate.value), self.palette.faint
        line = Text().append("".join(cells[:point]), faint).append(self.signs.point, self.palette.alert)
        return line.append("".join(cells[point + 1 :]), faint)

    # Lines

    def heading(self, title: str, remark: str = "", width: int = 0) -> Text:
        """Return the line above a part of a page."""
        said = cut(title, width or len(title), self.signs.ellipsis)
        line = Text().append(said, self.palette.accent + Style(bold=True))
        return (
            line.append(f"  {cut(remark, width - line.cell_len - 2, self.signs.ellipsis)}", self.palette.faint)
            if (remark and width - line.cell_len > 8)
            else line
        )

    def table(
        self,
        head: Sequence[str],
        rows: Sequence[Sequence[Text]],
        width: int,
        ranks: Sequence[int] = (),
        *,
        least: int = 8,
    ) -> list[Text]:
        """Return a table: the first column on the left takes what is left over, of at least ``least`` cells.

        Where the others do not fit, those of the highest rank go (0 stays).
        """
        ranks = [*ranks, *[0] * (len(head) - len(ranks))]
        cells = [max([len(name), *(row[index].cell_len for row in rows)]) for index, name in enumerate(head)]
        kept = list(range(len(head)))

        def needed() -> int:
            return sum(cells[index] + GAP for index in kept[1:]) + min(least, cells[0])

        while needed() > width and any(ranks[index] for index in kept):
            kept.remove(max((index for index in kept if ranks[index]), key=lambda index: (ranks[index], index)))
        first = max(4, min(cells[0], width - sum(cells[index] + GAP for index in kept[1:])))
        lines = [Text().append(cut(head[0], first).ljust(first), self.palette.faint)]
        for index in kept[1:]:
            lines[0].append(" " * GAP + head[index].rjust(cells[index]), self.palette.faint)
        for row in rows:
            line = self.fit(row[0], first)
            for index in kept[1:]:
                line.append(" " * (GAP + cells[index] - row[index].cell_len)).append_text(row[index])
            lines.append(line)
        return lines

    def fit(self, text: Text, width: int) -> Text:
        """Return a text in exactly ``width`` cells."""
        line = Text().append_text(text)  # its own style is not that of what is written behind it
        if line.cell_len > width:
            style = line.spans[0].style if line.spans else ""
            line = Text().append(cut(text.plain, width, self.signs.ellipsis), style)
        return line.append(" " * (width - line.cell_len))

    def beside(self, blocks: Sequence[Sequence[Text]], widths: Sequence[int], gap: int = 4) -> list[Text]:
        """Return blocks of lines side by side."""
        lines = []
        for index in range(max((len(block) for block in blocks), default=0)):
            line = Text()
            for place, (block, width) in enumerate(zip(blocks, widths, strict=True)):
                part = block[index] if index < len(block) else Text()
                line.append(" " * gap if place else "").append_text(self.fit(part, width))
            lines.append(line)
        return lines

    def plot(self, values: Sequence[float | None], width: int, height: int, say: Number = say_nats) -> list[Text]:
        """Return a bar plot of figures by position, with its peak and its first and last position; gaps are 0."""
        numbers = [value if value is not None and math.isfinite(value) else 0.0 for value in values]
        if not numbers or height < 1:
            return []
        peak = say(max(numbers))
        margin = max(len(peak), 1) + 1
        rows, spans = draw_curve(numbers, max(1, width - margin), height, self.signs.column)
        lines = []
        for index, row in enumerate(rows):
            label = peak if index == 0 else "0" if index == len(rows) - 1 else ""
            lines.append(Text().append(f"{label:>{margin - 1}} ", self.palette.faint).append(row))
        last = str(len(numbers) - 1)
        axis = "0" + last.rjust(max(0, len(spans) - 1)) if len(spans) > len(last) + 1 else "0"
        return [*lines, Text(" " * margin + axis, style=self.palette.faint)]
