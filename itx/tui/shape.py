"""How the compare screen divides a terminal of any size: a pure function of its cells."""

from __future__ import annotations

from dataclasses import dataclass

WIDE = 100
TALL = 36
ROOMY = 30
"""Lines from which the lower panels stay while a prompt is written."""


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


def divide(width: int, height: int, *, reference: bool = False, writing: bool = False, traced: bool = False) -> Shape:
    """Return the shape for a terminal of ``width`` columns and ``height`` lines.

    ``reference``: a known answer takes a line below the panes. ``writing``: a prompt is being written; where space is
    short the lower panels make room for it. ``traced``: three panels share the width, so that their lines are shorter.
    """
    question = 0 if height < 12 else 1
    room = height - 2 - question - (question and reference)
    hidden = writing and height < ROOMY
    if width >= WIDE:
        lower = (18 if traced else 16) if height >= TALL else min(11, room // 2) if height >= 14 and not hidden else 0
        list_width = 26 if width >= 120 else 20
        if width >= 180:
            list_width = 34
        return Shape(True, list_width, question, 0, lower, True)
    lower = 15 if height >= TALL else 0 if hidden else 8 if height >= 20 else 6 if height >= 15 else 0
    other = 0 if height < 18 else max(4, (room - lower) * 2 // 5)
    return Shape(False, 0, question, other, lower, other > 0)
