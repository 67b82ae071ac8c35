"""Everything a key can do, told once: bindings, footer, palette, help and README's table are made from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

When = Literal[
    "always", "shown", "answered", "finished", "live", "asked", "running", "several", "data", "traced", "many"
]
"""When an action is offered: always; where a prompt is shown, or an answer to it, or a finished one; in a live
comparison, where a prompt was asked there, while one runs; with three models or more; where something is known of the
tuning data, where the answer shown was traced in it; with two prompts or more.
"""
_LIVE = frozenset[When]({"live", "asked", "running"})
_DATA = frozenset[When]({"data", "traced"})


@dataclass(frozen=True)
class Action:
    """One thing a person can do. ``name`` is the method ``action_NAME`` of the compare screen."""

    name: str
    keys: tuple[str, ...]
    short: str
    """Two words at most, for the footer; empty where the footer does not show it."""
    label: str
    """For the palette."""
    description: str
    """For help and README."""
    group: str
    when: When = "always"
    rank: int = 100
    """Place in the footer, from the left; what does not fit is dropped from the right."""


ACTIONS = (
    Action(
        "next_shifted",
        ("n",),
        "shifted",
        "Next shifted token",
        "go to the next shifted token",
        "Move",
        when="answered",
        rank=1,
    ),
    Action(
        "previous_shifted",
        ("N",),
        "",
        "Previous shifted token",
        "go to the previous shifted token",
        "Move",
        when="answered",
    ),
    Action(
        "next_rise",
        (">",),
        "largest rise",
        "Next-largest rise",
        "go to the token with the next-largest rise of log-probability, author minus scorer",
        "Move",
        when="answered",
        rank=2,
    ),
    Action(
        "next_borrowed",
        ("b",),
        "borrowed",
        "Next borrowed span",
        "go to the next span borrowed from the tuning data",
        "Move",
        when="traced",
        rank=2,
    ),
    Action(
        "previous_borrowed",
        ("B",),
        "",
        "Previous borrowed span",
        "go to the previous borrowed span",
        "Move",
        when="traced",
    ),
    Action(
        "to_row",
        ("enter",),
        "",
        "From span to row",
        "go from the span at the cursor to its rows, and from there back",
        "Move",
        when="traced",
    ),
    Action("token_left", ("h", "left"), "", "Token to the left", "go to the token before", "Move", when="answered"),
    Action("token_right", ("l", "right"), "", "Token to the right", "go to the token after", "Move", when="answered"),
    Action(
        "line_down",
        ("j", "down"),
        "",
        "Line down",
        "go a line down in the panel that has the focus; among rows, to the next one",
        "Move",
    ),
    Action(
        "line_up",
        ("k", "up"),
        "",
        "Line up",
        "go a line up in the panel that has the focus; among rows, to the one before",
        "Move",
    ),
    Action("top", ("g", "home"), "", "Top", "go to the top of the panel", "Move"),
    Action("bottom", ("G", "end"), "", "Bottom", "go to the bottom; while text streams, follow it", "Move"),
    Action("next_prompt", ("J",), "", "Next prompt", "go to the next prompt", "Move"),
    Action("previous_prompt", ("K",), "", "Previous prompt", "go to the previous prompt", "Move"),
    Action("next_panel", ("tab",), "panel", "Next panel", "go to the next panel", "Move", rank=9),
    Action("previous_panel", ("shift+tab",), "", "Previous panel", "go to the panel before", "Move"),
    Action("back", ("escape",), "", "Back to the answer", "go back to the answer; notices go away", "Move"),
    Action("prompts", ("o",), "prompts", "Prompts", "go to the list of prompts", "See", rank=6),
    Action(
        "swap",
        ("v",),
        "swap",
        "Swap author and scorer",
        "swap author and scorer: what the tuned model wrote, scored by base, or the reverse",
        "See",
        when="answered",
        rank=4,
    ),
    Action(
        "contexts",
        ("c",),
        "context",
        "Prompt and contexts",
        "show the whole prompt, the known answer, and the exact tokens each model sees before its answer",
        "See",
        when="shown",
        rank=5,
    ),
    Action(
        "sort_prompts",
        ("O",),
        "",
        "Sort prompts",
        "sort the prompts: as asked, by the most borrowed words, by the largest rise",
        "See",
        when="many",
    ),
    Action(
        "every_span",
        ("a",),
        "",
        "All traced spans",
        "put brackets around all spans that rows have, too, or around the borrowed ones only",
        "See",
        when="traced",
    ),
    Action("previous_pair", ("[",), "", "Previous pair of models", "show the pair of models before", "See", "several"),
    Action(
        "next_pair", ("]",), "models", "Next pair of models", "show the next pair of models", "See", "several", rank=3
    ),
    Action(
        "search_rows",
        ("s",),
        "rows",
        "Search rows",
        "search the tuning data by words, by meaning, by both or verbatim",
        "See",
        when="data",
        rank=5,
    ),
    Action(
        "report",
        ("R",),
        "report",
        "Report",
        "open the report: what tuning changed over all prompts, with intervals, and examples one key away",
        "See",
        when="shown",
        rank=6,
    ),
    Action(
        "library",
        ("L",),
        "library",
        "Library",
        "go to the library: all runs and their prompts, sorted by any figure",
        "See",
        rank=12,
    ),
    Action(
        "mark",
        ("m",),
        "mark",
        "Mark the span or its source",
        "mark the span at the cursor as hallucinated or fine; in the rows panel, accept or reject the row as source",
        "Judge",
        when="traced",
        rank=7,
    ),
    Action("write_prompt", ("p",), "prompt", "Write a prompt", "write a prompt", "Ask", "live", rank=3),
    Action("run_again", ("r",), "again", "Run again", "run this prompt again", "Ask", "asked", rank=10),
    Action(
        "stop",
        ("space",),
        "stop",
        "Stop",
        "stop what is being written; what is there is kept",
        "Ask",
        "running",
        rank=0,
    ),
    Action(
        "export",
        ("e",),
        "export",
        "Export as Markdown",
        "write this prompt as Markdown; the path is shown",
        "Take away",
        when="finished",
        rank=8,
    ),
    Action(
        "copy",
        ("y",),
        "copy",
        "Copy as Markdown",
        "copy this prompt as Markdown (through the terminal, and always to a file)",
        "Take away",
        when="finished",
        rank=11,
    ),
    Action("palette", (":", "ctrl+p"), "", "Commands", "find a command by name", "itx"),
    Action("redraw", ("ctrl+l",), "", "Draw anew", "draw the screen anew, where a terminal has mixed it up", "itx"),
    Action("help", ("?",), "help", "Help", "help", "itx", rank=1000),
    Action("quit", ("q",), "quit", "Quit", "quit; everything generated is saved", "itx", rank=1001),
    Action("interrupt", ("ctrl+c",), "", "Stop, or quit", "stop what runs; twice within 2 s quits, all saved", "itx"),
)

_PRIORITY = {"interrupt"}
_SHOWN = {"left": "←", "right": "→", "up": "↑", "down": "↓"}


def bindings(actions: Sequence[Action] = ACTIONS) -> list[Binding]:
    """Return the bindings of a screen's actions; without any, of the compare screen's."""
    return [
        Binding(key, action.name, action.label, show=False, priority=action.name in _PRIORITY)
        for action in actions
        for key in action.keys
    ]


def offered(conditions: frozenset[When]) -> list[Action]:
    """Return the actions that hold under ``conditions``, in the registry's order."""
    return [action for action in ACTIONS if action.when in conditions]


def applies(action: Action, conditions: frozenset[When]) -> bool:
    """Return True where an action can be used now or later in this session: what help explains."""
    if action.when in _LIVE:
        return "live" in conditions
    if action.when in _DATA:
        return "data" in conditions
    return action.when != "several" or "several" in conditions


def show_keys(action: Action) -> str:
    """Return the keys of an action as a person reads them."""
    return " ".join(_SHOWN.get(key, key) for key in action.keys)


def _name_condition(action: Action) -> str:
    if action.when in _LIVE:
        return " (live)"
    if action.when in _DATA:
        return " (with tuning data)"
    return " (three models or more)" if action.when == "several" else ""


def write_table(actions: Sequence[Action] = ACTIONS) -> Iterator[str]:
    """Yield README's table of a screen's keys, in Markdown."""
    yield "| key | does |"
    yield "|---|---|"
    for action in actions:
        keys = " ".join(f"`{_SHOWN.get(key, key)}`" for key in action.keys)
        yield f"| {keys} | {action.description}{_name_condition(action)} |"


if __name__ == "__main__":
    import sys

    sys.stdout.write("\n".join(write_table()) + "\n")
