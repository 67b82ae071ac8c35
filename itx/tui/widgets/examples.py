"""A token that is shifted most, with some of the places where it is: each in its response."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from itx.errors import ItxError
from itx.records import Response, Trace
from itx.report.study import PairStudy, Place, ShiftedToken
from itx.report.wording import say_count, say_nats, say_probability, say_rank
from itx.runs.recording import Recording
from itx.text import sanitise
from itx.tui.palette import Palette, Signs
from itx.tui.widgets.panel import Panel
from itx.tui.wording import cut, quote, wrap_text

AROUND = 140
"""Characters of a response on each side of the token."""


class Examples(Panel, can_focus=False):
    """The places of one token; the chosen one is marked, and opened by Enter."""

    def __init__(self, palette: Palette, signs: Signs) -> None:
        super().__init__(id="examples")
        self.palette = palette
        self.signs = signs
        self.recording: Recording | None = None
        self.pair: PairStudy | None = None
        self.token: ShiftedToken | None = None
        self.chosen = 0
        self._tops: list[int] = []
        """The first line of each example."""

    def show(self, recording: Recording | None, pair: PairStudy | None, token: ShiftedToken | None) -> None:
        """Show the examples of a token of a pair; without a recording they are still to be found."""
        if (recording, pair, token) != (self.recording, self.pair, self.token):
            if token != self.token:
                self.chosen = 0
                self.scroll_to(y=0, animate=False)
            self.recording, self.pair, self.token = recording, pair, token
            self.redraw()

    @property
    def place(self) -> Place | None:
        """The place that is chosen."""
        places = self.token.places if self.token is not None else []
        return places[self.chosen] if self.chosen < len(places) else None

    def choose(self, step: int) -> None:
        """Choose the next example, or one before; after the last comes the first."""
        count = len(self.token.places) if self.token is not None else 0
        if count:
            self.chosen = (self.chosen + step) % count
            self.redraw()
            self.scroll_to(y=self._tops[self.chosen] if self.chosen < len(self._tops) else 0, animate=False)

    def write_lines(self, width: int) -> list[Text]:
        """Return the token's figures, and its examples."""
        token, faint = self.token, self.palette.faint
        if token is None or self.pair is None:
            return []
        head = Text().append(quote(token.piece), self.palette.strong)
        head.append(f"  shifted {token.shifted:,} of {say_count(token.count, 'time')} for {self.pair.scorer}", faint)
        lines = [*wrap_text(head, width), Text()]
        if self.recording is None:
            return [*lines, Text("The run is being read.", style=faint)]
        self._tops = []
        for index, place in enumerate(token.places):
            self._tops.append(len(lines))
            lines += [*self._write_place(index, place, width), Text()]
        return lines

    def _write_place(self, index: int, place: Place, width: int) -> list[Text]:
        assert self.recording is not None
        assert self.pair is not None
        chosen = index == self.chosen
        try:
            trace = self.recording.trace(place.prompt_id)
        except ItxError as error:
            return wrap_text(Text(sanitise(error.cause), style=self.palette.alert), width)
        response = trace.response(self.pair.author)
        mark = Text().append(f"{self.signs.chosen if chosen else ' '} ", self.palette.accent)
        asked = cut(trace.prompt, max(4, width - 2), self.signs.ellipsis)
        lines = [mark.append(asked, self.palette.highlight if chosen else Style())]
        if response is None or place.position >= len(response.ids):
            return [*lines, Text("  The response has changed since.", style=self.palette.faint)]
        body = self._write_context(response, place.position)
        lines += [Text("  ").append_text(line) for line in wrap_text(body, width - 2)]
        said = self._say_figures(trace, response, place.position)
        return [*lines, *(Text("  ").append_text(line) for line in wrap_text(said, width - 2))]

    def _write_context(self, response: Response, position: int) -> Text:
        """Return the token in brackets, with the text around it on one line."""
        start, end = response.span(position) if len(response.ends) == len(response.ids) else (0, 0)
        token = self.token.piece if self.token is not None and start == end else response.text[start:end]
        lead = len(token) - len(token.lstrip()) if token.strip() else 0
        begin = max(0, start - AROUND)
        before, after = response.text[begin:start], response.text[end : end + AROUND]
        text = Text(self.signs.ellipsis if begin else "", style=Style())
        text.append(_flatten(before + token[:lead]))
        shown = token[lead:].replace("\n", self.signs.glyphs.newline)
        text.append(f"[{_flatten(shown)}]", self.palette.shifted + Style(reverse=True))
        text.append(_flatten(after))
        return text.append(self.signs.ellipsis if end + AROUND < len(response.text) else "")

    def _say_figures(self, trace: Trace, response: Response, position: int) -> Text:
        assert self.pair is not None
        score = response.scores.get(self.pair.scorer)
        faint = self.palette.faint
        said = Text().append(f"token {position:,}", faint)
        if score is None or position >= len(score.rank):
            return said
        said.append(f"  rank {say_rank(score.rank[position])}", faint)
        if score.kl_author_scorer[position] is not None:
            said.append(f"  KL {say_nats(score.kl_author_scorer[position], score.exact)}", faint)
        if score.top[position]:
            first, logp = score.top[position][0]
            piece = trace.read_pieces(self.pair.scorer).get(first, f"<{first}>")
            said.append(f"  {self.pair.scorer} says ", faint).append(quote(piece), self.palette.ghost)
            said.append(f" {say_probability(logp)}", faint)
        return said


def _flatten(text: str) -> str:
    return sanitise(text.replace("\n", " ").replace("\t", " "), keep_newlines=False)
