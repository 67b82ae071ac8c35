"""Text in terminal cells: how wide it is, cut and wrapped to a width."""

from __future__ import annotations

import re
import unicodedata


def measure(text: str) -> int:
    """Return the number of terminal cells of ``text``: wide characters take two, combining ones none."""
    return sum(map(_width, text))


def _width(sign: str) -> int:
    if sign.isascii():
        return 1
    if unicodedata.category(sign) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(text: str, width: int, mark: str = "…") -> str:
    """Return ``text`` in at most ``width`` cells, with ``mark`` at the end where something is left out."""
    if measure(text) <= width:
        return text
    return _head(text, width - measure(mark))[0] + mark if width >= measure(mark) else ""


def _head(text: str, width: int) -> tuple[str, str]:
    used = 0
    for place, sign in enumerate(text):
        used += _width(sign)
        if used > width:
            return text[:place], text[place:]
    return text, ""


def pad(text: str, width: int, right: bool = False) -> str:
    """Return ``text`` filled with blanks to ``width`` cells, before it with ``right``."""
    fill = " " * (width - measure(text))
    return fill + text if right else text + fill


def wrap(text: str, width: int) -> list[str]:
    """Break a line at blanks into lines of at most ``width`` cells (at least one sign each); words too long are cut."""
    lines: list[str] = []
    line = ""
    for part in re.findall(r" +|[^ ]+", text):
        rest = part
        if measure(line + rest) <= width:
            line += rest
            continue
        if line.strip():
            lines.append(line.rstrip(" "))
            line = ""
        if rest.isspace():
            continue
        while measure(rest) > width:
            head, rest = _head(rest, width)
            if not head:
                head, rest = rest[:1], rest[1:]
            lines.append(head)
        line = rest
    lines.append(line.rstrip(" "))
    return lines
