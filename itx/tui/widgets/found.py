"""What a search of the tuning data shows: by what is searched, the rows found, and one of them whole."""

from __future__ import annotations

import re

from rich.text import Text

from itx.records import Neighbour
from itx.text import sanitise
from itx.tui.palette import Palette, Signs
from itx.tui.tracer import How, Query
from itx.tui.widgets.bars import Line
from itx.tui.widgets.panel import LongPanel, Panel
from itx.tui.wording import cut, flow, pad, wrap_text

MODES: tuple[How, ...] = ("words", "meaning", "near", "verbatim")


def find_matches(text: str, query: Query) -> list[tuple[int, int]]:
    """Return what of ``text`` to highlight (start, end exclusive): the query's words, or where it stands verbatim."""
    words = re.findall(r"\w+", query.text)
    if not words or query.how == "meaning":
        return []
    if query.how == "verbatim":
        pattern = r"(?<!\w)" + r"\W+".join(map(re.escape, words)) + r"(?!\w)"
    else:
        pattern = r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)"
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]


class Results(LongPanel):
    """The rows found; the chosen one is shown beside."""

    def __init__(self, palette: Palette, signs: Signs) -> None:
        super().__init__(id="results")
        self.palette = palette
        self.signs = signs
        self.rows: list[Neighbour] = []
        self.message = ""
        self.chosen = 0

    def show(self, rows: list[Neighbour], message: str) -> None:
        """Show the rows, or without any what to say instead."""
        self.rows, self.message, self.chosen = rows, message, 0
        self.redraw()
        self.scroll_to(y=0, animate=False)

    @property
    def _lines(self) -> list[Text]:
        return wrap_text(Text(sanitise(self.message), style=self.palette.faint), self.room) if self.message else []

    def count_lines(self) -> int:
        """Return how many lines there are: one a row."""
        return len(self.rows) if self.rows else max(1, len(self._lines))

    def write_line(self, index: int, width: int) -> Text:
        """Return the line of a row, or of what is said instead."""
        if not self.rows:
            lines = self._lines
            return lines[index] if index < len(lines) else Text()
        row, chosen = self.rows[index], index == self.chosen
        line = Text().append(self.signs.chosen if chosen else " ", self.palette.accent)
        score = f"{row.score:.2f}" if abs(row.score) < 100 else f"{row.score:.0f}"
        if not row.score:  # found verbatim: nothing is measured
            score = ""
        line.append(f"{score:>6} ", self.palette.faint)
        name = cut(row.row, max(4, width // 3), self.signs.ellipsis)
        line.append(name + " ", self.palette.highlight if chosen else self.palette.strong)
        room = max(1, width - line.cell_len)
        return line.append(pad(cut(row.instruction or row.text, room, self.signs.ellipsis), room))

    def choose(self, step: int) -> None:
        """Choose a row further on or back, and keep it in view."""
        before = self.chosen
        self.chosen = max(0, min(len(self.rows) - 1, self.chosen + step))
        for index in {before, self.chosen}:
            self.refresh_line(index)
        top, page = self.scroll_offset.y, self.view_height
        if self.chosen < top:
            self.scroll_to(y=self.chosen, animate=False)
        elif self.chosen >= top + page:
            self.scroll_to(y=self.chosen - page + 1, animate=False)


class WholeRow(Panel):
    """One row, whole, with what the query found in it."""

    def __init__(self, palette: Palette) -> None:
        super().__init__(id="row")
        self.palette = palette
        self.row: Neighbour | None = None
        self.query_shown = Query("", "words")

    def show(self, row: Neighbour | None, query: Query) -> None:
        """Show a row."""
        self.row, self.query_shown = row, query
        self.redraw()
        self.scroll_to(y=0, animate=False)

    def write_lines(self, width: int) -> list[Text]:
        """Return its scores, what it asks and what it answers."""
        row, faint = self.row, self.palette.faint
        if row is None:
            return []
        scores = [("lexical", row.lexical), ("semantic", row.semantic)]
        if row.lexical is None and row.semantic is None and row.score:
            scores = [("score", row.score)]
        parts = [Text(f"{name} {value:.2f}", style=faint) for name, value in scores if value is not None]
        lines = flow(parts, width)
        for head, text in (("Q ", row.instruction), ("A ", row.text)):
            if text:
                lines += [*([Text()] if lines else []), *self._write(head, text, width)]
        return lines

    def _write(self, head: str, text: str, width: int) -> list[Text]:
        safe = sanitise(text)
        body = Text(safe)
        for start, end in find_matches(safe, self.query_shown):
            body.stylize(self.palette.match, start, end)
        lines: list[Text] = []
        for part in body.split("\n", allow_blank=True):
            lines += [Text("  ").append_text(line) for line in wrap_text(part, width - 2)] or [Text()]
        first = lines[0] if lines else Text("  ")
        return [Text().append(head, self.palette.accent).append_text(first[2:]), *lines[1:]]


class Modes(Line):
    """By what is searched."""

    def __init__(self, palette: Palette) -> None:
        super().__init__(id="modes")
        self.palette = palette
        self.how: How = "words"
        self.offered: tuple[How, ...] = MODES
        self.remark = ""

    def write(self, width: int) -> Text:
        """Return the line: the chosen mode stands in brackets."""
        line = Text().append(" search by ", self.palette.faint)
        for mode in self.offered:
            chosen = mode == self.how
            line.append(
                f"[{mode}]" if chosen else f" {mode} ", self.palette.highlight if chosen else self.palette.plain
            )
        return line
