"""The panel of the token under the cursor: what both models thought of it, and what else they wanted."""

from __future__ import annotations

import math

from rich.text import Text

from itx.records import Top
from itx.report.wording import say_nats, say_probability
from itx.tui.palette import Palette, Signs
from itx.tui.view import View
from itx.tui.widgets.panel import Panel
from itx.tui.wording import cut, draw_bar, pad, quote


class TokenPanel(Panel):
    """One position of the view's response."""

    def __init__(self, palette: Palette, signs: Signs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.signs = signs
        self.view: View | None = None
        self._state: tuple[object, ...] = ()

    def show(self, view: View) -> None:
        """Show the token at the view's cursor."""
        state = view.state
        if state != self._state:
            if state[:-1] != self._state[:-1]:
                self.scroll_to(y=0, animate=False)
            self.view, self._state = view, state
            self.redraw()

    def write_lines(self, width: int) -> list[Text]:
        """Return identity, divergences, and both lists of alternatives."""
        view, faint = self.view, self.palette.faint
        if view is None or view.answer is None or view.exchange is None or not view.answer.length:
            return []
        if view.cursor is None:
            return [Text("No token chosen: n, h or l puts the cursor on one.", style=faint)]
        lines = [self._write_identity(view, width)]
        if view.score is None or view.cursor >= len(view.score.rank):
            return [*lines, Text(f"Not scored by {view.scorer} yet.", style=faint)]
        lines.append(self._write_models(view))
        lines.append(self._write_divergence(view, width))
        return [*lines, *self._write_alternatives(view, width)]

    def _write_identity(self, view: View, width: int) -> Text:
        assert view.answer is not None
        assert view.exchange is not None
        assert view.cursor is not None
        identifier = view.answer.ids[view.cursor]
        line = Text()
        line.append(quote(view.exchange.name(identifier)), self.palette.strong)
        line.append(f"  id {identifier}", self.palette.faint)
        if view.cursor == view.answer.end:
            line.append("  ends the response, not counted", self.palette.faint)
        elif not view.answer.parts[view.cursor]:
            line.append("  part of a character", self.palette.faint)
        score = view.score
        if score is not None and view.cursor < len(score.entropy):
            tail = Text().append("  entropy ", self.palette.faint).append(say_nats(view.answer.entropy[view.cursor]))
            tail.append(f" {view.author} ", self.palette.faint).append(say_nats(score.entropy[view.cursor]))
            tail.append(f" {view.scorer}", self.palette.faint)
            if line.cell_len + tail.cell_len <= width:
                line.append_text(tail)
        line.truncate(width)
        return line

    def _write_models(self, view: View) -> Text:
        assert view.answer is not None
        assert view.score is not None
        assert view.cursor is not None
        cursor, score = view.cursor, view.score
        line = Text()
        shift = view.shift or "unscored"
        line.append(shift, self.palette.shift(view.shift))
        line.append("  rank ", self.palette.faint)
        line.append(f"{score.rank[cursor]:,}", self.palette.strong)
        if ties := score.ties[cursor]:
            line.append(f" (ties with {ties})", self.palette.faint)
        own, other = view.answer.logp[cursor], score.logp[cursor]
        line.append(f"  {view.author} ", self.palette.faint)
        line.append(say_probability(own), self.palette.strong)
        line.append(f"  {view.scorer} ", self.palette.faint)
        line.append(say_probability(other), self.palette.strong)
        return line

    def _write_divergence(self, view: View, width: int) -> Text:
        assert view.answer is not None
        assert view.score is not None
        assert view.cursor is not None
        cursor, score = view.cursor, view.score
        line = Text()
        for label, value in (
            (f"KL {view.author}|{view.scorer} ", score.kl_author_scorer[cursor]),
            (f"  {view.scorer}|{view.author} ", score.kl_scorer_author[cursor]),
            ("  JS ", score.js[cursor]),
        ):
            line.append(label, self.palette.faint)
            line.append(say_nats(value, score.exact))
        rise = view.answer.logp[cursor] - score.logp[cursor]
        tail = f"  rise {rise:+.2f} nats"
        if line.cell_len + len(tail) <= width:
            line.append("  rise ", self.palette.faint)
            line.append(f"{rise:+.2f}")
            line.append(" nats", self.palette.faint)
        return line

    def _write_alternatives(self, view: View, width: int) -> list[Text]:
        assert view.answer is not None
        assert view.score is not None
        assert view.cursor is not None
        own = view.answer.top[view.cursor] if view.cursor < len(view.answer.top) else []
        other = view.score.top[view.cursor] if view.cursor < len(view.score.top) else []
        left = (width - 2) // 2
        right = width - 2 - left
        heads = Text(pad(cut(f"{view.author} wanted", left), left) + "  " + cut(f"{view.scorer} wanted", right))
        heads.stylize(self.palette.faint)
        lines = [heads]
        emitted = view.answer.ids[view.cursor]
        for index in range(max(len(own), len(other))):
            line = self._write_alternative(view, own, index, emitted, left)
            line.append("  ")
            line.append_text(self._write_alternative(view, other, index, emitted, right))
            lines.append(line)
        return lines

    def _write_alternative(self, view: View, top: Top, index: int, emitted: int, width: int) -> Text:
        """Return one line of a list in exactly ``width`` cells: place, token, probability, bar."""
        if index >= len(top):
            return Text(" " * width)
        assert view.exchange is not None
        identifier, logp = top[index]
        chosen = identifier == emitted
        number = say_probability(logp).rjust(7)
        bar = min(14, width - 28) if width >= 32 else 0
        room = max(1, min(24, width - 4 - len(number) - 1 - (bar + 1 if bar else 0)))
        line = Text()
        line.append(self.signs.chosen if chosen else " ", self.palette.accent)
        line.append(f"{index + 1:>2} ", self.palette.faint)
        line.append(
            pad(cut(quote(view.exchange.name(identifier)), room, self.signs.ellipsis), room),
            self.palette.strong if chosen else self.palette.plain,
        )
        line.append(" " + number)
        if bar:
            line.append(" ")
            line.append(
                draw_bar(math.exp(logp), bar, self.signs.bar), self.palette.accent if chosen else self.palette.faint
            )
        line.append(" " * (width - line.cell_len))
        return line
