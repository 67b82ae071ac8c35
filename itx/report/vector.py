"""Curves as SVG: one line by position, with both axes. No script, no link, no font of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from itx.report.wording import say_nats
from itx.text import sanitise

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 32, 28
_STYLE = "font-family='sans-serif' font-size='12' fill='#333'"


def write_svg(title: str, values: Sequence[float | None]) -> str:
    """Return a picture of values that are not negative, by position from 0; without any it says so.

    The line leads over a position without a value.
    """
    shown = escape(sanitise(title, keep_newlines=False), quote=True)
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    top = max((value for _, value in known), default=0.0)
    across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    foot = _TOP + down
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{shown}'>",
        f"<title>{shown}</title>",
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='white'/>",
        f"<text x='{_LEFT}' y='18' {_STYLE}>{shown}</text>",
        f"<path d='M{_LEFT} {_TOP}V{foot}H{_WIDTH - _RIGHT}' fill='none' stroke='#333'/>",
    ]
    if not known:
        parts.append(f"<text x='{_LEFT + 8}' y='{_TOP + 20}' {_STYLE}>n = 0</text>")
    else:
        step = across / max(len(values) - 1, 1)
        points = [
            f"{_LEFT + place * step:.1f},{foot - (value / top * down if top else 0):.1f}" for place, value in known
        ]
        if len(points) == 1:
            x, y = points[0].split(",")
            parts.append(f"<circle cx='{x}' cy='{y}' r='2.5' fill='#0072b2'/>")
        else:
            parts.append(f"<polyline points='{' '.join(points)}' fill='none' stroke='#0072b2' stroke-width='1.5'/>")
        for share in (0.0, 0.5, 1.0):
            height = foot - share * down
            label = say_nats(top * share)
            parts.append(f"<text x='{_LEFT - 6}' y='{height + 4:.1f}' text-anchor='end' {_STYLE}>{label}</text>")
        parts.append(f"<text x='{_LEFT}' y='{_HEIGHT - 8}' {_STYLE}>0</text>")
        if len(values) > 1:
            last = f"{len(values) - 1:,}"
            parts.append(f"<text x='{_WIDTH - _RIGHT}' y='{_HEIGHT - 8}' text-anchor='end' {_STYLE}>{last}</text>")
    return "\n".join([*parts, "</svg>"]) + "\n"
