"""How the compare screen divides a terminal of any size: a pure function of its cells."""

from __future__ import annotations

from dataclasses import dataclass

WIDE = 100
TALL = 36


@dataclass(frozen=True)
class Shape:
    """What is shown, and how high. Heights are in lines and include borders."""

    wide: bool
    list_width: int
    """Columns of the prompt list; 0 where it is not shown."""
    question: int
    """Lines of the prompt above the panes."""
    other: int
    """Height of the second pane where it stands below the first; 0 where it is not shown or stands beside it."""
    lower: int
    """Height of the lower panels; 0 where they are not shown."""
    second_pane: bool
    alternatives: int
    """How many alternatives of each side the token panel shows."""


def divide(width: int, height: int) -> Shape:
    """Return the shape for a terminal of ``width`` columns and ``height`` lines."""
    question = 0 if height < 12 else 1
    room = height - 2 - question
    if width >= WIDE:
        lower = 16 if height >= TALL else max(0, min(11, room - 6)) if height >= 14 else 0
        list_width = 26 if width >= 120 else 20
        if width >= 180:
            list_width = 34
        return Shape(True, list_width, question, 0, lower, True, 10 if height >= TALL else max(0, lower - 6))
    lower = 15 if height >= TALL else (8 if height >= 20 else (6 if height >= 15 else 0))
    other = 0 if height < 18 else max(4, (room - lower) * 2 // 5)
    return Shape(False, 0, question, other, lower, other > 0, 10 if height >= TALL else max(0, lower - 4))
