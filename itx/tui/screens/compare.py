"""The compare screen: two responses side by side with their shifts, and what is known of the token at the cursor."""

from __future__ import annotations

from time import monotonic

from textual.timer import Timer

from itx.errors import ItxError
from itx.tui.actions import When, offered
from itx.tui.answers import Exchange
from itx.tui.live import LiveSession
from itx.tui.palette import Palette, Signs
from itx.tui.places import Places
from itx.tui.screens.layout import Layout
from itx.tui.session import RecordedSession, Session
from itx.tui.status import write_header
from itx.tui.view import View
from itx.tui.widgets.response import ResponsePane

FIGURES_SECONDS = 0.5
"""How often the curve is drawn while text streams: it changes as a whole, which is dear over a slow line."""


class CompareScreen(Layout):
    """Draws a session, recorded or live, at any size."""

    def __init__(self, session: Session, palette: Palette, signs: Signs) -> None:
        super().__init__(session, palette, signs)
        self._places = Places()
        self._moved = False
        self._figures_drawn = 0.0
        self._figures_due: Timer | None = None

    def on_mount(self) -> None:
        """Show the first prompt."""
        self.box.display = False
        self.apply_shape()
        self.show_prompt(self.index)
        self.author_pane.focus()
        if self.session.live and not self.session.items:
            self.action_write_prompt()

    def on_resize(self) -> None:
        """Divide the screen anew."""
        self.reshape()

    def reshape(self) -> None:
        """Divide the screen anew where its size, the prompt or the box to write one in asks for that."""
        if self.divide() != self.shape:
            self.keep_places()
            self.show_exchange()

    # What is shown

    def view(self) -> View:
        """What the panels are about."""
        scorer, exchange = self.scorer(self.author, self.other), self._exchange
        borrowing, settled = None, True
        # The rows near a prompt are known before there is an answer to it.
        if exchange is not None and self.has_data and (exchange.trace is None or self.author in exchange.answers):
            borrowing, settled = self.session.provenance.look_up(exchange.prompt_id, self.author)
        cursor = self.author_pane.place.cursor
        return View(exchange, self.author, scorer, self.thresholds, cursor, borrowing, settled)

    def show_prompt(self, index: int) -> None:
        """Show the prompt at ``index``; the cursor is where it was left."""
        self.keep_places()
        self.index = index
        self._exchange = None
        self._moved = False
        if 0 <= index < len(self.session.items):
            try:
                self._exchange = self.session.exchange(index)
            except ItxError as error:
                item = self.session.items[index]
                self._exchange = Exchange(item.prompt_id, item.prompt, error=str(error), status="failed")
            self.session.provenance.want(self._exchange.trace)
        self.show_exchange()

    @property
    def prompt_id(self) -> str | None:
        """The id of the prompt shown."""
        return self._exchange.prompt_id if self._exchange is not None else None

    def go_to(self, prompt_id: str) -> None:
        """Show the prompt with an id, once the screen is there; a recorded run is read on until it is found."""
        session = self.session
        found = self._find_prompt(prompt_id)
        while found is None and isinstance(session, RecordedSession) and not session.complete:
            session.scan()
            found = self._find_prompt(prompt_id)
        if found is None:
            return
        if self.is_mounted:
            self.show_prompt(found)
        else:
            self.index = found

    def _find_prompt(self, prompt_id: str) -> int | None:
        return next((index for index, item in enumerate(self.session.items) if item.prompt_id == prompt_id), None)

    def go_to_position(self, author: str, scorer: str, position: int) -> None:
        """Put the cursor on a position of ``author``'s response with ``scorer`` beside it."""
        pair = next((index for index, names in enumerate(self._pairs) if set(names) == {author, scorer}), self.pair)
        self.show_pair(pair, swapped=self._pairs[pair][0] == author)
        self.author_pane.move_to(position)
        self.author_pane.focus()

    def show_pair(self, pair: int, *, swapped: bool) -> None:
        """Show another pair of models, or the same one the other way round."""
        self.keep_places()
        self.pair = pair % max(1, len(self._pairs))
        had_focus = isinstance(self.focused, ResponsePane)
        self.swapped = swapped
        self.show_exchange()
        if had_focus:
            self.author_pane.focus()

    def keep_places(self) -> None:
        """Keep where the person is in what is shown."""
        for pane in (self.author_pane, self.other_pane):
            self._places.keep(pane)

    def show_exchange(self) -> None:
        """Draw everything anew."""
        self._rise = None
        if self.divide() != self.shape:
            self.apply_shape()
        for pane, author, other in self.panes():
            scorer = self.scorer(author, other)
            active = pane is self.author_pane
            place = self._places.find(self._exchange, author, scorer, self.thresholds, active=active)
            drawn = self.drawn(author)
            pane.show(self._exchange, author, scorer, self.thresholds, place, drawn, active=active)
        self.show_panels()
        self.show_list()
        self.call_after_refresh(self.title_panels)

    def show_list(self) -> None:
        """Draw the list of prompts anew."""
        self.prompt_list.show(self.session.items, self.index, self.order(), self.values())

    def update_live(self) -> None:
        """Draw what has been gained since the last time."""
        for pane in (self.author_pane, self.other_pane):
            pane.update_text()
        self._show_panels_at_pace()

    def _show_panels_at_pace(self) -> None:
        rest = FIGURES_SECONDS - (monotonic() - self._figures_drawn)
        self.show_panels(figures=rest <= 0)
        if rest > 0 and self._figures_due is None:
            # What was left out may have been the last news for long.
            self._figures_due = self.set_timer(rest, self.show_panels)

    def update_spans(self) -> None:
        """Draw what has been traced since the last time: brackets and panels, with the person where they are."""
        for pane, author, _ in self.panes():
            pane.show_spans(self.drawn(author))
        self._show_panels_at_pace()

    def refresh_exchange(self) -> None:
        """Draw everything anew, with the person where they are."""
        if self._exchange is None and self.session.items:
            self.show_prompt(min(self.index, len(self.session.items) - 1))
            return
        self.keep_places()
        self.show_exchange()

    def follow(self, index: int) -> None:
        """Go along to the prompt that begins, unless the person looks at something else."""
        items = self.session.items
        watching = index - 1 == self.index and items[self.index].status != "running"
        if self._exchange is None or (watching and not self._moved):
            self.show_prompt(index)

    def on_response_pane_moved(self) -> None:
        """Follow the cursor in the panels."""
        self._moved = True
        self.show_panels()

    def show_panels(self, *, figures: bool = True) -> None:
        """Draw the lower panels anew where they differ; the curve only with ``figures``."""
        view = self.view()
        if self.token.display and self.shape.lower:
            self.token.show(view)
        if self.rows.display and self.shape.lower:
            waiting = ""
            if view.exchange is not None and view.answer is not None and view.borrowing is None:
                waiting = self.session.provenance.say_waiting(view.exchange.prompt_id, self.author, view.exchange.trace)
            self.rows.show(view, waiting)
        if figures and self.figures.display and self.shape.lower:
            total = self.session.provenance.survey.total(self.author) if self.has_data else None
            self.figures.show(view, total)
            self._figures_drawn = monotonic()
        if figures and self._figures_due is not None:
            self._figures_due.stop()
            self._figures_due = None
        self._show_messages()
        self.title_panels()
        self.show_bars()

    def _show_messages(self) -> None:
        for pane, author, _ in self.panes():
            pane.show_message(self._words.message(self._exchange, author, pane.answer, main=pane is self.author_pane))

    def show_bars(self) -> None:
        """Draw header, prompt and footer anew."""
        parts, right = write_header(self.session, self.index, self.palette, self.signs)
        self.header.show(parts, right)
        text = self._exchange.prompt if self._exchange is not None else ""
        self.question.show("asked" if text else "", text)
        self.show_below()
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
        if self.has_data:
            found.add("data")
            view = self.view()
            if view.answer is not None and view.borrowing is not None:
                found.add("traced")
        if len(self.session.items) > 1:
            found.add("many")
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
