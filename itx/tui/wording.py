"""Numbers and short texts as the screen says them; every text is made safe and cut by terminal cells."""

from __future__ import annotations

import math

from rich.cells import cell_len, set_cell_size

from itx.text import sanitise
from itx.tui.answers import probability

_VISIBLE = str.maketrans({"\n": "⏎", "\t": "→"})


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


def show_probability(logp: float) -> str:
    """Return e^logp in five cells: ``.913``, ``1.00``, or ``2e-05`` below a thousandth."""
    value = probability(logp)
    if value >= 0.9995:
        return " 1.00"
    if value >= 0.001:
        return f" {value:.3f}".replace("0.", ".", 1)
    if value < 1e-99:
        return "<e-99"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}".rjust(5)


def show_nats(value: float) -> str:
    """Return a divergence or entropy in nats with three meaningful figures, never more than six cells."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.2f}"
    if abs(value) < 0.0005:
        return f"{value:.0e}"
    if abs(value) < 0.1:
        return f"{value:.3f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def draw_bar(share: float, width: int, ramp: str) -> str:
    """Return a bar of ``share`` (0 to 1) of ``width`` cells, padded; ``ramp`` goes from empty to full."""
    steps = len(ramp) - 1
    filled = round(min(1.0, max(0.0, share)) * width * steps)
    if share > 0 and filled == 0:
        filled = 1
    whole, rest = divmod(filled, steps)
    return (ramp[-1] * whole + (ramp[rest] if rest else "")).ljust(width)[:width]


def draw_curve(values: list[float], width: int, height: int, ramp: str) -> tuple[list[str], int]:
    """Return (lines from the top, positions a column) of a curve of the largest value in each column's positions.

    The top is the largest value of all; a value above 0 always shows.
    """
    if not values or width <= 0 or height <= 0:
        return [""] * max(0, height), 1
    stride = -(-len(values) // width)
    columns = [max(values[start : start + stride]) for start in range(0, len(values), stride)]
    peak = max(max(columns), 1e-12)
    steps = len(ramp) - 1
    levels = [max(1 if value > 0 else 0, round(value / peak * height * steps)) for value in columns]
    lines = []
    for row in range(height - 1, -1, -1):
        lines.append("".join(ramp[min(steps, max(0, level - row * steps))] for level in levels))
    return lines, stride
