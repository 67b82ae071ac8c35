"""Colours and signs, in one place.

The terminal's own foreground and background are kept, so that light and dark terminals both stay readable. Colour only
repeats what weight or underline already says: unshifted is plain, marginal underlined, shifted bold. The two colours
are the vermilion and a blue of Okabe and Ito's set, which stay apart under every common colour blindness and are
readable on black and on white; with 16 colours they become magenta and bright blue, with ``NO_COLOR`` nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from rich.style import Style
from textual.theme import Theme

from itx.config import colours_wanted
from itx.tui.wrapping import DEFAULT_GLYPHS, Glyphs


@dataclass(frozen=True)
class Palette:
    """Every style the screen uses."""

    plain: Style
    marginal: Style
    shifted: Style
    unscored: Style
    """A token that is not scored yet."""
    sign: Style
    """Line ends, tabs, parts of characters."""
    ghost: Style
    cursor: Style
    faint: Style
    """What explains: units, names of columns."""
    strong: Style
    accent: Style
    """What has the focus, and keys."""
    alert: Style
    bracket: Style
    """Brackets and numbers of borrowed spans."""
    match: Style
    """What a row has in common with the response; brackets stand around it, too."""
    highlight: Style
    """The chosen line of a list."""
    shifted_colour: str
    accent_colour: str
    """The two colours for style sheets."""

    def shift(self, name: str | None) -> Style:
        """Return the style of a shift class; None is a position not scored yet."""
        return {"unshifted": self.plain, "marginal": self.marginal, "shifted": self.shifted}.get(
            name or "", self.unscored
        )


@dataclass(frozen=True)
class Signs:
    """Signs that not every console has, with what stands in for them."""

    swap: str = "⇄"
    arrow: str = "→"
    ellipsis: str = "…"
    bar: str = " ▏▎▍▌▋▊▉█"
    """From empty to full, left to right."""
    column: str = " ▁▂▃▄▅▆▇█"
    """From empty to full, bottom to top."""
    pointer: str = "▲"
    up: str = "▲"
    down: str = "▼"
    """What a column is sorted by, its smallest or largest first."""
    point: str = "●"
    line: str = "─"
    rule: str = "│"
    """An estimate, its interval, and zero."""
    chosen: str = ">"
    dot: str = "·"
    running: str = "●"
    ghost: str = "‹{}›"
    glyphs: Glyphs = DEFAULT_GLYPHS


PLAIN_SIGNS = Signs(
    swap="<>",
    arrow="->",
    ellipsis="~",
    bar=" ####",
    column=" .:-=+*#@",
    pointer="^",
    up="^",
    down="v",
    point="o",
    line="-",
    rule="|",
    dot="-",
    running="*",
    ghost="{{{}}}",
    glyphs=Glyphs(newline="¶", tab=">", part="~"),
)


def colour_depth() -> int:
    """Return how many colours to use: 0 (``NO_COLOR``), 16, or 256 and more (as 256)."""
    if not colours_wanted():
        return 0
    term = os.environ.get("TERM", "")
    rich_terminal = os.environ.get("COLORTERM", "").lower() in {"truecolor", "24bit"}
    return 256 if rich_terminal or "256" in term or "direct" in term or "kitty" in term else 16


def choose_signs() -> Signs:
    """Return the signs that this terminal's fonts have."""
    return PLAIN_SIGNS if os.environ.get("TERM", "") in {"linux", "vt100", "vt220", "ansi"} else Signs()


def choose_palette(depth: int | None = None) -> Palette:
    """Return the styles for ``depth`` colours (see ``colour_depth``)."""
    depth = colour_depth() if depth is None else depth
    shifted, accent = {0: ("default", "default"), 16: ("magenta", "bright_blue")}.get(depth, ("#d9601a", "#3a8fd0"))
    css = {"default": "ansi_default", "magenta": "ansi_magenta", "bright_blue": "ansi_bright_blue"}
    return Palette(
        plain=Style(),
        marginal=Style(underline=True),
        shifted=Style(bold=True, color=shifted, underline=depth == 0),
        unscored=Style(dim=True),
        sign=Style(dim=True),
        ghost=Style(italic=True, color=accent, dim=depth == 0),
        cursor=Style(reverse=True, bold=True),
        faint=Style(dim=True),
        strong=Style(bold=True),
        accent=Style(color=accent, bold=depth == 0),
        alert=Style(color=shifted, bold=True),
        bracket=Style(color=accent, bold=True),
        match=Style(bold=True, reverse=True),
        highlight=Style(bold=True, color=accent, underline=depth == 0),
        shifted_colour=css.get(shifted, shifted),
        accent_colour=css.get(accent, accent),
    )


def screen_theme(palette: Palette) -> Theme:
    """Return the theme of the style sheets: the terminal's own colours, and the accent."""
    accent = palette.accent_colour
    return Theme(
        name="itx",
        ansi=True,
        primary=accent,
        secondary=accent,
        accent=accent,
        warning=palette.shifted_colour,
        error=palette.shifted_colour,
        success=accent,
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        variables={
            "shifted": palette.shifted_colour,
            "ansi-background": "ansi_default",
            "ansi-foreground": "ansi_default",
            "border": accent,
            "border-blurred": "ansi_bright_black",
            "block-cursor-foreground": "ansi_default",
            "block-cursor-background": "ansi_default",
            "block-cursor-text-style": "bold reverse",
            "input-cursor-background": "ansi_default",
            "input-cursor-foreground": "ansi_default",
            "input-cursor-text-style": "reverse",
            "input-selection-background": "ansi_bright_black",
            "scrollbar": "ansi_bright_black",
            "scrollbar-hover": "ansi_bright_black",
            "scrollbar-active": accent,
            "scrollbar-background": "ansi_default",
            "scrollbar-background-hover": "ansi_default",
            "scrollbar-background-active": "ansi_default",
            "scrollbar-corner-color": "ansi_default",
        },
    )
