"""Numbers and short texts as the screen says them; every text is made safe and cut by terminal cells."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from itx.report.curve import bin_columns
from itx.text import sanitise

_CONSOLE = Console(width=200, color_system=None)
"""Only measures."""


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """Return ``text`` on one line, safe, in at most ``width`` cells; what does not fit is replaced by an ellipsis."""
    safe = sanitise(text.replace("\n", " ").replace("\t", " "), keep_newlines=False)
    if width <= 0:
        return ""
    if cell_len(safe) <= width:
        return safe
    room = width - cell_len(ellipsis)
    return set_cell_size(safe, room) + ellipsis if room > 0 else ellipsis[:width]


def pad(text: str, width: int) -> str:
    """Return ``text`` in exactly ``width`` cells."""
    return set_cell_size(text, width)


def quote(piece: str) -> str:
    """Return a token's text in quotes on one line, so that its blanks can be seen; line ends as backslash n."""
    return "'" + sanitise(piece.replace("\n", "\\n").replace("\t", "\\t"), keep_newlines=False) + "'"


def wrap_text(text: Text, width: int, indent: int = 0) -> list[Text]:
    """Return ``text`` in lines of at most ``width`` cells, broken between words; all but the first are indented."""
    room = max(4, width)
    lines = text.wrap(_CONSOLE, room, overflow="fold") if not indent else text.wrap(_CONSOLE, max(4, room - indent))
    return [line if index == 0 else Text(" " * indent).append_text(line) for index, line in enumerate(lines)]


def flow(parts: Sequence[Text], width: int, gap: str = "  ") -> list[Text]:
    """Return whole parts side by side in lines of at most ``width`` cells; a part is never divided."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + cell_len(gap) + part.cell_len <= width:
            lines[-1].append(gap).append_text(part)
        else:
            lines.append(part.copy())
    return lines


def draw_bar(share: float, width: int, ramp: str) -> str:
    """Return a bar of ``share`` (0 to 1) of ``width`` cells, padded; ``ramp`` goes from empty to full."""
    steps = len(ramp) - 1
    filled = round(min(1.0, max(0.0, share)) * width * steps)
    if share > 0 and filled == 0:
        filled = 1
    whole, rest = divmod(filled, steps)
    return (ramp[-1] * whole + (ramp[rest] if rest else "")).ljust(width)[:width]


def draw_curve(values: Sequence[float], width: int, height: int, ramp: str) -> tuple[list[str], list[tuple[int, int]]]:
    """Return (lines from the top, each column's positions as start and end) of a curve.

    A column shows the largest value of its positions; few values are drawn up to three columns wide. The top is the
    largest value of all; a value above 0 always shows.
    """
    if not values or width <= 0 or height <= 0:
        return [""] * max(0, height), []
    bins = bin_columns(values, width)
    spread = max(1, min(3, width // len(bins)))
    bins = [span for span in bins for _ in range(spread)]
    peak = max(*values, 1e-12)
    steps = len(ramp) - 1
    levels = []
    for start, end in bins:
        value = max(values[start:end])
        levels.append(max(1 if value > 0 else 0, round(value / peak * height * steps)))
    rows = range(height - 1, -1, -1)
    lines = ["".join(ramp[min(steps, max(0, level - row * steps))] for level in levels) for row in rows]
    return lines, bins


def one_line(text: str) -> str:
    """Return a stranger's text on one line, blanks as one, nothing in it that a terminal would obey."""
    return sanitise(" ".join(text.split()), keep_newlines=False)
