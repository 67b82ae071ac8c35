"""The compare screen: two responses side by side with their shifts, and what is known of the token at the cursor."""

from __future__ import annotations

from time import monotonic

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget

from itx.errors import ItxError
from itx.records import Run, Thresholds
from itx.text import sanitise
from itx.tui.actions import When, offered
from itx.tui.answers import Exchange
from itx.tui.live import LiveSession
from itx.tui.palette import Palette, Signs
from itx.tui.places import Places
from itx.tui.screens.commands import Commands
from itx.tui.session import Session
from itx.tui.shape import Shape, divide
from itx.tui.status import write_header
from itx.tui.terminal import frames_are_waiting
from itx.tui.view import View, pairs, scorer_for
from itx.tui.widgets.bars import Footer, Header, Question
from itx.tui.widgets.figures import FiguresPanel
from itx.tui.widgets.prompt_box import PromptBox
from itx.tui.widgets.prompts import PromptList
from itx.tui.widgets.response import ResponsePane
from itx.tui.widgets.token import TokenPanel
from itx.tui.wording import cut
from itx.tui.words import Words

FIGURES_SECONDS = 0.5
"""How often the curve is drawn while text streams: it changes as a whole, which is dear over a slow line."""


class CompareScreen(Commands):
    """Draws a session, recorded or live, at any size."""

    def __init__(self, session: Session, palette: Palette, signs: Signs) -> None:
        super().__init__()
        self.session = session
        self.palette = palette
        self.signs = signs
        self.header = Header(id="header")
        self.question = Question(palette, signs.ellipsis, id="question")
        self.prompt_list = PromptList(palette, signs, id="prompts")
        self.first = ResponsePane(palette, signs, id="first")
        self.second = ResponsePane(palette, signs, id="second")
        self.reference = Question(palette, signs.ellipsis, id="reference")
        self.figures = FiguresPanel(palette, signs, id="figures")
        self.token = TokenPanel(palette, signs, id="token")
        self.box = PromptBox(id="box")
        self.footer = Footer(palette, id="footer")
        self.index = 0
        self.pair = 0
        self.swapped = False
        self.shape: Shape = divide(80, 24)
        self.lower = "token"
        self._places = Places()
        self._exchange: Exchange | None = None
        self._moved = False
        self._figures_drawn = 0.0
        self._titles: dict[str | None, tuple[str, str]] = {}
        self._words = Words(session, palette, signs)

    def compose(self) -> ComposeResult:
        """Build the screen once; sizes and places change later."""
        yield self.header
        yield self.question
        with Container(id="upper"):
            yield self.prompt_list
            yield self.first
            yield self.second
        yield self.reference
        with Container(id="lower"):
            yield self.figures
            yield self.token
        yield self.box
        yield self.footer

    def on_mount(self) -> None:
        """Show the first prompt."""
        self.box.display = False
        self.prompt_list.border_title = "prompts"
        self._apply_shape()
        self.show_prompt(0)
        self.author_pane.focus()
        if self.session.live and not self.session.items:
            self.action_write_prompt()

    def _on_timer_update(self) -> None:
        # Textual's timer goes on until a frame is drawn: a line that is slow gets the next one when it has taken this.
        if not frames_are_waiting(self.app):
            super()._on_timer_update()

    def on_resize(self) -> None:
        """Divide the screen anew."""
        self.reshape()

    def reshape(self) -> None:
        """Divide the screen anew where its size, the prompt or the box to write one in asks for that."""
        if self._divide() != self.shape:
            self._keep_places()
            self._show_exchange()

    def _divide(self) -> Shape:
        known = self._exchange is not None and bool(self._exchange.reference)
        return divide(self.size.width, self.size.height, reference=known, writing=self.box.display)

    def _apply_shape(self) -> None:
        self.shape = shape = self._divide()
        self.set_class(not shape.wide, "-narrow")
        self.prompt_list.display = shape.list_width > 0
        self.prompt_list.styles.width = shape.list_width or 1
        self.question.display = shape.question > 0
        self.second.display = shape.second_pane
        self.second.styles.height = "1fr" if shape.wide else shape.other
        self.query_one("#lower").display = shape.lower > 0
        self.query_one("#lower").styles.height = shape.lower
        self._show_lower()
        focused = self.focused
        if focused is not None and focused not in self.panels() and focused is not self.box:
            self.author_pane.focus()

    def _show_lower(self) -> None:
        self.figures.display = self.shape.wide or self.lower == "figures"
        self.token.display = self.shape.wide or self.lower == "token"
        self._title_panels()

    # What is shown

    @property
    def run(self) -> Run | None:
        """The run's facts; None while models load."""
        return self.session.run

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        return pairs(self.run) if self.run is not None else []

    @property
    def names(self) -> tuple[str, str]:
        """The two models shown, left and right (or below and above)."""
        found = self._pairs
        return found[self.pair % len(found)] if found else ("base", "tuned")

    @property
    def author(self) -> str:
        """The model whose response has the cursor."""
        return self.names[0 if self.swapped else 1]

    @property
    def other(self) -> str:
        """The model shown beside it."""
        return self.names[1 if self.swapped else 0]

    def _scorer(self, author: str, other: str) -> str:
        base = self.run.base.name if self.run is not None else "base"
        answer = self._exchange.answers.get(author) if self._exchange is not None else None
        return scorer_for(author, other, base, answer if answer is not None and answer.scores else None)

    @property
    def author_pane(self) -> ResponsePane:
        """The pane of the author: the first where panes stand above each other, else the one on its side."""
        first = not self.shape.wide or self.swapped
        return self.first if first else self.second

    @property
    def other_pane(self) -> ResponsePane:
        """The other pane."""
        first = not self.shape.wide or self.swapped
        return self.second if first else self.first

    def panels(self) -> list[Widget]:
        """The panels that can have the focus, in the order of tab."""
        found: list[Widget] = [self.author_pane]
        if self.shape.lower:
            found += [self.figures, self.token]
        if self.shape.list_width:
            found.append(self.prompt_list)
        if self.shape.second_pane:
            found.append(self.other_pane)
        return found

    def focus_panel(self, panel: Widget) -> None:
        """Give a panel the focus, and bring it to the front."""
        if panel.id in ("figures", "token"):
            self.lower = panel.id
            self._show_lower()
            self._show_panels()
        panel.focus()

    @property
    def thresholds(self) -> Thresholds:
        """The bounds of the shift classes."""
        return self.run.thresholds if self.run is not None else Thresholds()

    def view(self) -> View:
        """What the panels are about."""
        scorer = self._scorer(self.author, self.other)
        return View(self._exchange, self.author, scorer, self.thresholds, self.author_pane.place.cursor)

    def show_prompt(self, index: int) -> None:
        """Show the prompt at ``index``; the cursor is where it was left."""
        self._keep_places()
        self.index = index
        self._exchange = None
        self._moved = False
        if 0 <= index < len(self.session.items):
            try:
                self._exchange = self.session.exchange(index)
            except ItxError as error:
                item = self.session.items[index]
                self._exchange = Exchange(item.prompt_id, item.prompt, error=str(error), status="failed")
        self._show_exchange()

    def show_pair(self, pair: int, *, swapped: bool) -> None:
        """Show another pair of models, or the same one the other way round."""
        self._keep_places()
        self.pair = pair % max(1, len(self._pairs))
        had_focus = isinstance(self.focused, ResponsePane)
        self.swapped = swapped
        self._show_exchange()
        if had_focus:
            self.author_pane.focus()

    def _keep_places(self) -> None:
        for pane in (self.author_pane, self.other_pane):
            self._places.keep(pane)

    def _show_exchange(self) -> None:
        """Draw everything anew."""
        self._rise = None
        if self._divide() != self.shape:
            self._apply_shape()
        for pane, author, other in (
            (self.author_pane, self.author, self.other),
            (self.other_pane, self.other, self.author),
        ):
            scorer = self._scorer(author, other)
            active = pane is self.author_pane
            place = self._places.find(self._exchange, author, scorer, self.thresholds, active=active)
            pane.show(self._exchange, author, scorer, self.thresholds, place, active=active)
        self._show_panels()
        self.show_list()
        self.call_after_refresh(self._title_panels)

    def show_list(self) -> None:
        """Draw the list of prompts anew."""
        self.prompt_list.show(self.session.items, self.index)

    def update_live(self) -> None:
        """Draw what has been gained since the last time."""
        for pane in (self.author_pane, self.other_pane):
            pane.update_text()
        self._show_panels(figures=monotonic() - self._figures_drawn >= FIGURES_SECONDS)

    def refresh_exchange(self) -> None:
        """Draw everything anew, with the person where they are."""
        if self._exchange is None and self.session.items:
            self.show_prompt(min(self.index, len(self.session.items) - 1))
            return
        self._keep_places()
        self._show_exchange()

    def follow(self, index: int) -> None:
        """Go along to the prompt that begins, unless the person looks at something else."""
        items = self.session.items
        watching = index - 1 == self.index and items[self.index].status != "running"
        if self._exchange is None or (watching and not self._moved):
            self.show_prompt(index)

    def on_response_pane_moved(self) -> None:
        """Follow the cursor in the panels."""
        self._moved = True
        self._show_panels()

    def _show_panels(self, *, figures: bool = True) -> None:
        view = self.view()
        if self.token.display and self.shape.lower:
            self.token.show(view)
        if figures and self.figures.display and self.shape.lower:
            self.figures.show(view)
            self._figures_drawn = monotonic()
        self._show_messages()
        self._title_panels()
        self.show_bars()

    def _show_messages(self) -> None:
        for pane, author in ((self.author_pane, self.author), (self.other_pane, self.other)):
            pane.show_message(self._words.message(self._exchange, author, pane.answer, main=pane is self.author_pane))

    def _title_panels(self) -> None:
        words, run = self._words, self.run
        for pane, author, other in (
            (self.author_pane, self.author, self.other),
            (self.other_pane, self.other, self.author),
        ):
            scorer = self._scorer(author, other)
            self._set_title(
                pane, words.name(run, author), words.describe(pane.answer, scorer, self.thresholds, pane.size.width)
            )
        answer, cursor = self.author_pane.answer, self.author_pane.place.cursor
        token = f"token #{cursor} of {answer.counted}" if cursor is not None and answer is not None else "token"
        self._set_title(self.figures, "figures", "")
        self._set_title(self.token, token, "")

    def _set_title(self, widget: Widget, title: str, subtitle: str) -> None:
        """Set the texts in a widget's border where they have changed, for setting them draws the whole widget."""
        if not self.shape.wide:  # without a frame there is no foot: all stands above, and the other tab is named
            tab = {"figures": "tab: token", "token": "tab: figures"}.get(widget.id or "", "")
            tail = "".join(f" {self.signs.dot} {part}" for part in (subtitle, tab) if part)
            room = max(1, widget.size.width - 3 - cell_len(tail))  # the name is cut, never the figures behind it
            title, subtitle = f" {cut(title, room, self.signs.ellipsis)}{tail} ", ""
        title, subtitle = (sanitise(text, keep_newlines=False) for text in (title, subtitle))
        if self._titles.get(widget.id) != (title, subtitle):
            self._titles[widget.id] = (title, subtitle)
            widget.border_title = Content(title)
            widget.border_subtitle = Content(subtitle)

    def show_bars(self) -> None:
        """Draw header, prompt and footer anew."""
        parts, right = write_header(self.session, self.index, self.palette, self.signs)
        self.header.show(parts, right)
        text = self._exchange.prompt if self._exchange is not None else ""
        self.question.show("asked" if text else "", text)
        reference = self._exchange.reference if self._exchange is not None else None
        bar = self.reference
        bar.display = bool(reference) and self.shape.question > 0
        bar.show("known answer", reference or "")
        self.footer.show(offered(self.conditions), writing=self.box.display)

    @property
    def conditions(self) -> frozenset[When]:
        """What holds now: which actions are offered."""
        found: set[When] = {"always"}
        if self._exchange is not None:
            found.add("shown")
        if self._exchange is not None and self._exchange.answers:
            found.add("answered")
            if self._exchange.trace is not None:
                found.add("finished")
        session = self.session
        able = isinstance(session, LiveSession) and session.crash is None and session.failure is None
        if isinstance(session, LiveSession) and able:
            found.add("live")
            if session.items:
                found.add("asked")
            if session.running is not None:
                found.add("running")
        if self.run is not None and len(self.run.models) > 2:
            found.add("several")
        return frozenset(found)
