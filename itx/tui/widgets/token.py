"""The panel of the token under the cursor: what both models thought of it, and what else they wanted."""

from __future__ import annotations

import math

from rich.text import Text

from itx.records import Top
from itx.report.spans import find_span, measure_rise, say_tokens
from itx.report.wording import say_nats, say_probability, say_rank
from itx.tui.palette import Palette, Signs
from itx.tui.view import View
from itx.tui.widgets.panel import Panel
from itx.tui.wording import cut, draw_bar, flow, pad, quote, wrap_text

NAME_CELLS = 12
"""A model's name between figures is cut to these, or to what the panel's width leaves: a figure never is."""
LIST_CELLS = 14
"""What one list of alternatives needs; where two do not fit beside each other they stand below each other."""


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
            return wrap_text(Text("No token chosen: n, h or l puts the cursor on one.", style=faint), width)
        lines = [self._write_identity(view, width)]
        if view.score is None or view.cursor >= len(view.score.rank):
            return [*lines, Text(f"Not scored by {view.scorer} yet.", style=faint)]
        names = self._short(view.author, width), self._short(view.scorer, width)
        lines += self._write_models(view, names, width)
        lines += self._write_divergence(view, names, width)
        return [*lines, *self._write_alternatives(view, width)]

    def _short(self, name: str, width: int) -> str:
        return cut(name, max(1, min(NAME_CELLS, (width - NAME_CELLS) // 2)), self.signs.ellipsis)

    def _write_identity(self, view: View, width: int) -> Text:
        assert view.answer is not None
        assert view.exchange is not None
        assert view.cursor is not None
        cursor, score = view.cursor, view.score
        identifier = view.answer.ids[cursor]
        number = f"  id {identifier}"
        piece = quote(view.exchange.name(identifier, view.author))
        line = Text().append(cut(piece, max(1, width - len(number)), self.signs.ellipsis), self.palette.strong)
        line.append(number, self.palette.faint)
        tails = []
        if cursor == view.answer.end:
            tails.append(Text("ends the response, not counted", self.palette.faint))
        elif not view.answer.parts[cursor]:
            tails.append(Text("part of a character", self.palette.faint))
        if score is not None and cursor < len(score.entropy):
            tail = Text().append("entropy ", self.palette.faint).append(say_nats(view.answer.entropy[cursor]))
            tail.append(f" {view.author} ", self.palette.faint).append(say_nats(score.entropy[cursor]))
            tails.append(tail.append(f" {view.scorer}", self.palette.faint))
        for tail in tails:  # what does not fit is left out: the token and the panels beside say it, or nearly
            if line.cell_len + 2 + tail.cell_len <= width:
                line.append("  ").append_text(tail)
        return line

    def _write_models(self, view: View, names: tuple[str, str], width: int) -> list[Text]:
        assert view.answer is not None
        assert view.score is not None
        assert view.cursor is not None
        cursor, score, faint, strong = view.cursor, view.score, self.palette.faint, self.palette.strong
        rank = Text().append("rank ", faint).append(say_rank(score.rank[cursor]), strong)
        unranked = "unranked" if score.aligned else "unscored"
        parts = [Text().append(view.shift or unranked, self.palette.shift(view.shift)), rank]
        for name, logp in zip(names, (view.answer.logp[cursor], score.logp[cursor]), strict=True):
            parts.append(Text().append(f"{name} ", faint).append(say_probability(logp), strong))
        if ties := score.ties[cursor]:
            tied = [*parts]
            tied[1] = rank.copy().append(f" (ties with {ties})", faint)
            if len(lines := flow(tied, width)) == 1:
                return lines
        return flow(parts, width)

    def _write_divergence(self, view: View, names: tuple[str, str], width: int) -> list[Text]:
        assert view.answer is not None
        assert view.score is not None
        assert view.cursor is not None
        cursor, score, faint = view.cursor, view.score, self.palette.faint
        author, scorer = names
        if score.aligned:
            return self._write_span(view, names, width)
        parts = [
            Text().append(label, faint).append(say_nats(value, score.exact))
            for label, value in (
                (f"KL {author}|{scorer} ", score.kl_author_scorer[cursor]),
                (f"{scorer}|{author} ", score.kl_scorer_author[cursor]),
                ("JS ", score.js[cursor]),
            )
        ]
        lines = flow(parts, width)
        other = score.logp[cursor]
        if other is None:
            return lines
        rise = view.answer.logp[cursor] - other
        parts.append(Text().append("rise ", faint).append(f"{rise:+.2f}").append(" nats", faint))
        wider = flow(parts, width)
        return wider if len(wider) == len(lines) else lines  # not worth a line of its own: two figures above say it

    def _write_span(self, view: View, names: tuple[str, str], width: int) -> list[Text]:
        """Return what there is in place of divergences where the scorer has another tokenizer."""
        assert view.score is not None
        assert view.cursor is not None
        faint, strong = self.palette.faint, self.palette.strong
        author, scorer = names
        span = find_span(view.score, view.cursor)
        if span is None:
            return wrap_text(
                Text(f"Other tokenizer: no span of {scorer}'s here, no KL, not exact.", style=faint), width
            )
        parts = [
            Text().append("span ", faint).append(say_tokens(span), strong).append(" tokens", faint),
            Text().append(f"{author} ", faint).append(f"{span.author_logp:.2f}"),
            Text().append(f"{scorer} ", faint).append(f"{span.scorer_logp:.2f}"),
            Text().append("rise ", faint).append(f"{measure_rise(span):+.2f}").append(" nats", faint),
            Text("other tokenizer", style=faint),
            Text("no KL, not exact", style=faint),
        ]
        return flow(parts, width)

    def _write_alternatives(self, view: View, width: int) -> list[Text]:
        assert view.answer is not None
        assert view.score is not None
        assert view.cursor is not None
        own = view.answer.top[view.cursor] if view.cursor < len(view.answer.top) else []
        other = view.score.top[view.cursor] if view.cursor < len(view.score.top) else []
        emitted = view.answer.ids[view.cursor]
        said: int | None = emitted
        if view.score.aligned:  # its own token, where it begins one here
            span = find_span(view.score, view.cursor)
            said = view.score.ids[span.scorer_start] if span and span.author_start == view.cursor else None
        left = (width - 2) // 2
        right = width - 2 - left
        if left < LIST_CELLS:
            return [
                line
                for name, top, chosen in ((view.author, own, emitted), (view.scorer, other, said))
                for line in (
                    Text(self._head(name, width), self.palette.faint),
                    *(self._write_alternative(view, name, top, index, chosen, width) for index in range(len(top))),
                )
            ]
        heads = Text(pad(self._head(view.author, left), left) + "  " + self._head(view.scorer, right))
        heads.stylize(self.palette.faint)
        lines = [heads]
        for index in range(max(len(own), len(other))):
            line = self._write_alternative(view, view.author, own, index, emitted, left)
            line.append("  ")
            line.append_text(self._write_alternative(view, view.scorer, other, index, said, right))
            lines.append(line)
        return lines

    def _head(self, name: str, width: int) -> str:
        return cut(name, max(1, width - len(" wanted")), self.signs.ellipsis) + " wanted"

    def _write_alternative(self, view: View, model: str, top: Top, index: int, emitted: int | None, width: int) -> Text:
        """Return one line of a model's list in exactly ``width`` cells: place, token, probability, bar."""
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
            pad(cut(quote(view.exchange.name(identifier, model)), room, self.signs.ellipsis), room),
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
