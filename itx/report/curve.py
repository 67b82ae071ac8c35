"""Small plots in text. Values are not negative; where they outnumber the columns, a column shows its largest value."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from itx.report.wording import say_nats

LEVEL = "─"
"""The sign of the axis: as many as there are columns."""
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.:-=+*#"
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def bin_columns(values: Sequence[float], width: int) -> list[tuple[int, int]]:
    """Return for each of at most ``width`` columns its values' indices (start, end exclusive); none is empty."""
    columns = min(width, len(values))
    edges = [column * len(values) // columns for column in range(columns + 1)] if columns > 0 else [0]
    return list(pairwise(edges))


def _heights(values: Sequence[float], width: int) -> list[float]:
    return [max(0.0, *values[start:end]) for start, end in bin_columns(values, width)]


def sparkline(values: Sequence[float], width: int, ascii_only: bool = False) -> str:
    """Return one line of at most ``width`` columns; the largest value fills a cell, zero is the lowest sign."""
    heights = _heights(values, width)
    top = max(heights, default=0.0)
    signs = _ASCII if ascii_only else _BLOCKS
    if top == 0:
        return signs[0] * len(heights)
    return "".join(signs[round(height / top * (len(signs) - 1))] for height in heights)


def plot_text(values: Sequence[float], width: int, height: int, ascii_only: bool = False) -> list[str]:
    """Return a bar plot of ``height`` rows and an axis, every line at most ``width`` columns.

    The axes say the largest value, half of it, and the first and last index. No values, or no room, give no lines.
    """
    if not values or height < 1:
        return []
    top = max(0.0, *values)
    labels = {0: say_nats(top)} | ({height // 2: say_nats(top / 2)} if height >= 4 and height % 2 == 0 else {})
    margin = max(len(label) for label in [*labels.values(), "0"])
    heights = _heights(values, width - margin - 2)
    if not heights:
        return []
    bar, corner, level = ("|", "+", "-") if ascii_only else ("│", "└", LEVEL)
    lines = []
    for row in range(height):
        cells = "".join(_cell(value / top * height if top else 0.0, height - row - 1, ascii_only) for value in heights)
        lines.append(f"{labels.get(row, ''):>{margin}} {bar}{cells}".rstrip())
    lines.append(f"{'0':>{margin}} {corner}{level * len(heights)}")
    last = str(len(values) - 1)
    if len(values) > 1 and len(heights) >= len(last) + 2:
        lines.append(f"{'':>{margin}}  0{last:>{len(heights) - 1}}")
    return lines


def _cell(value: float, floor: int, ascii_only: bool) -> str:
    """Return the sign for the part of a bar of ``value`` rows that lies in the row above ``floor``."""
    part = min(1.0, max(0.0, value - floor))
    if ascii_only:
        return "#" if part >= 0.5 else "." if part > 0 and floor == 0 else " "
    eighths = round(part * 8)
    # What is not zero is seen.
    return _EIGHTHS[1] if part > 0 and eighths == 0 and floor == 0 else _EIGHTHS[eighths]
