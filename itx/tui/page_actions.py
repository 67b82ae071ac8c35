"""Everything a key can do in the library and in the report: their part of the registry of ``itx.tui.actions``.

What is the same on several screens is told once.
"""

from __future__ import annotations

from itx.tui.actions import Action, write_table

_LINES = (
    Action("line(1)", ("j", "down"), "", "Line down", "go a line down", "Move"),
    Action("line(-1)", ("k", "up"), "", "Line up", "go a line up", "Move"),
    Action("page(1)", ("space", "pagedown"), "", "Page down", "go a page down", "Move"),
    Action("page(-1)", ("b", "pageup"), "", "Page up", "go a page up", "Move"),
    Action("end(True)", ("g", "home"), "", "Top", "go to the top", "Move"),
    Action("end(False)", ("G", "end"), "", "Bottom", "go to the bottom", "Move"),
)
_ITX = (
    Action("redraw", ("ctrl+l",), "", "Draw anew", "draw the screen anew, where a terminal has mixed it up", "itx"),
    Action("help", ("?",), "help", "Help", "help", "itx", rank=1000),
    Action("quit", ("q",), "quit", "Quit", "quit; everything generated is saved", "itx", rank=1001),
    Action("interrupt", ("ctrl+c",), "", "Quit", "twice within 2 s quits", "itx"),
)

LIBRARY = (
    Action("open", ("enter",), "open", "Open", "open the run at the prompt that is marked", "Move", rank=1),
    *_LINES,
    Action("panel", ("tab", "shift+tab"), "panel", "Other panel", "go to the runs, or to the prompts", "Move", rank=2),
    Action(
        "back",
        ("escape",),
        "back",
        "Back",
        "leave the filter; from the prompts to the runs; then to where the library was opened from",
        "Move",
        rank=9,
    ),
    Action("sort(-1)", ("h", "left"), "", "Sort by the figure to the left", "sort by the figure to the left", "See"),
    Action(
        "sort(1)",
        ("l", "right"),
        "sort",
        "Sort by the figure to the right",
        "sort by the one to the right",
        "See",
        rank=3,
    ),
    Action("reverse", ("r",), "reverse", "Reverse", "reverse the order", "See", rank=5),
    Action(
        "filter", ("/",), "filter", "Filter", "type words that a run, or a prompt, must have in its line", "See", rank=4
    ),
    Action("model(-1)", ("[",), "", "Previous model", "count the prompts for the tuned model before", "See"),
    Action(
        "model(1)",
        ("]",),
        "model",
        "Next model",
        "count the prompts for the next tuned model, or for all",
        "See",
        rank=7,
    ),
    Action("report", ("R",), "report", "Report", "open the report of the run that is marked", "See", rank=6),
    Action("look_again", ("u",), "", "Look again", "find runs anew and count those that have changed", "See"),
    *_ITX,
)

REPORT = (
    Action("section(1)", ("tab", "l", "right"), "next", "Next page", "go to the next page", "Move", rank=1),
    Action("section(-1)", ("shift+tab", "h", "left"), "", "Page before", "go to the page before", "Move"),
    *_LINES,
    Action(
        "open",
        ("enter",),
        "in context",
        "Example in context",
        "go to an example of the token that is marked, in its response; Escape comes back",
        "Move",
        rank=2,
    ),
    Action("example(1)", ("n",), "example", "Next example", "choose the next example of the token", "Move", rank=4),
    Action("example(-1)", ("N",), "", "Example before", "choose the example before", "Move"),
    Action("back", ("escape",), "back", "Back", "go back to where the report was opened from", "Move", rank=8),
    Action("pair(-1)", ("[",), "", "Pair before", "show the pair of models before", "See"),
    Action("pair(1)", ("]",), "models", "Next pair", "show the next pair of author and scorer", "See", rank=3),
    Action(
        "look_again",
        ("r",),
        "again",
        "Count again",
        "count again: a run that is being written has grown",
        "See",
        rank=6,
    ),
    Action("library", ("L",), "library", "Library", "go to the library", "See", rank=7),
    *_ITX,
)


if __name__ == "__main__":
    import sys

    for title, actions in (("In the library", LIBRARY), ("In the report", REPORT)):
        sys.stdout.write(f"{title}:\n\n" + "\n".join(write_table(actions)) + "\n\n")
