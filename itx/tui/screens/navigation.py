"""Moving about on the compare screen: tokens, lines, prompts, panels, pairs of models."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.screen import Screen
from textual.widget import Widget

from itx.tui.actions import bindings
from itx.tui.session import Session
from itx.tui.view import View
from itx.tui.widgets.panel import Panel
from itx.tui.widgets.response import ResponsePane


class Navigation(Screen[None]):
    """The part of the compare screen that moves. What is shown is the business of the class below it."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]

    session: Session
    index: int
    pair: int
    swapped: bool
    _rise: int | None = None
    """The token that the last move to a rise found: from it the next one goes on, from elsewhere at the largest."""

    # What the screen itself provides

    @property
    def author_pane(self) -> ResponsePane:
        """The pane of the author, which has the cursor."""
        raise NotImplementedError

    def panels(self) -> list[Widget]:
        """The panels that can have the focus, in the order of tab."""
        raise NotImplementedError

    def view(self) -> View:
        """What the panels are about."""
        raise NotImplementedError

    def show_list(self) -> None:
        """Draw the list of prompts anew."""
        raise NotImplementedError

    def order(self) -> list[int]:
        """Return the prompts' indices in the order of the list."""
        raise NotImplementedError

    def show_panels(self, *, figures: bool = True) -> None:
        """Draw the lower panels anew where they differ; the curve only with ``figures``."""
        raise NotImplementedError

    def show_bars(self) -> None:
        """Draw header, prompt and footer anew."""
        raise NotImplementedError

    def show_prompt(self, index: int) -> None:
        """Show another prompt."""
        raise NotImplementedError

    def show_pair(self, pair: int, *, swapped: bool) -> None:
        """Show another pair of models, or the same the other way round."""
        raise NotImplementedError

    def focus_panel(self, panel: Widget) -> None:
        """Give a panel the focus; a panel that is hidden behind a tab comes to the front."""
        raise NotImplementedError

    def tell(self, message: str, title: str = "", *, alarm: bool = False, brief: bool = False) -> None:
        """Say something that the person should read."""
        raise NotImplementedError

    # Tokens

    def _move_token(self, step: int) -> None:
        pane = self.author_pane
        answer = pane.answer
        if answer is None or not answer.length:
            return
        cursor = pane.place.cursor
        start = (answer.length if step < 0 else -1) if cursor is None else cursor
        pane.move_to(start + step)

    def action_token_left(self) -> None:
        """Go to the token before."""
        self._move_token(-1)

    def action_token_right(self) -> None:
        """Go to the token after."""
        self._move_token(1)

    def _move_to_shifted(self, *, back: bool) -> None:
        view, pane = self.view(), self.author_pane
        if view.answer is None:
            return
        shifted = view.answer.shifted(view.scorer, view.thresholds)
        cursor = pane.place.cursor
        if cursor is None:
            found = shifted[-1:] if back else shifted[:1]
        elif back:
            found = [position for position in shifted if position < cursor][-1:]
        else:
            found = [position for position in shifted if position > cursor][:1]
        if found:
            pane.move_to(found[0])
        else:
            further = f"No shifted token further {'up' if back else 'down'}."
            self.tell(further if shifted else "No token is shifted.", brief=True)

    def action_next_shifted(self) -> None:
        """Go to the next shifted token."""
        self._move_to_shifted(back=False)

    def action_previous_shifted(self) -> None:
        """Go to the previous shifted token."""
        self._move_to_shifted(back=True)

    def action_next_rise(self) -> None:
        """Go to the largest rise, or from a token to the one with the next-largest rise after its own."""
        view, pane = self.view(), self.author_pane
        rises = view.answer.rises(view.scorer) if view.answer is not None else []
        if not rises:
            return
        cursor = pane.place.cursor
        place = rises.index(cursor) + 1 if cursor is not None and cursor == self._rise else 0
        self._rise = rises[place % len(rises)]
        pane.move_to(self._rise)

    # Lines

    def _scrolled(self) -> ResponsePane | Panel:
        focused = self.focused
        return focused if isinstance(focused, ResponsePane | Panel) else self.author_pane

    def action_line_down(self) -> None:
        """Go a line down in the panel that has the focus."""
        self._scrolled().move_line(1)

    def action_line_up(self) -> None:
        """Go a line up in the panel that has the focus."""
        self._scrolled().move_line(-1)

    def action_top(self) -> None:
        """Go to the top of the panel."""
        self._scrolled().move_to_end(top=True)

    def action_bottom(self) -> None:
        """Go to the bottom of the panel."""
        self._scrolled().move_to_end(top=False)

    # Prompts, panels, models

    def _step_prompt(self, step: int) -> None:
        order = self.order()
        place = order.index(self.index) + step if self.index in order else 0
        if 0 <= place < len(order):
            self.show_prompt(order[place])

    def action_next_prompt(self) -> None:
        """Show the next prompt."""
        self._step_prompt(1)

    def action_previous_prompt(self) -> None:
        """Show the previous prompt."""
        self._step_prompt(-1)

    def _step_focus(self, step: int) -> None:
        panels = self.panels()
        place = panels.index(self.focused) if self.focused in panels else -1 if step > 0 else 0
        self.focus_panel(panels[(place + step) % len(panels)])

    def action_next_panel(self) -> None:
        """Give the next panel the focus."""
        self._step_focus(1)

    def action_previous_panel(self) -> None:
        """Give the panel before the focus."""
        self._step_focus(-1)

    def action_back(self) -> None:
        """Go back to the answer; notices go away."""
        self.app.clear_notifications()
        self.author_pane.focus()

    def action_swap(self) -> None:
        """Swap author and scorer."""
        self.show_pair(self.pair, swapped=not self.swapped)

    def action_next_pair(self) -> None:
        """Show the next pair of models."""
        self.show_pair(self.pair + 1, swapped=self.swapped)

    def action_previous_pair(self) -> None:
        """Show the pair of models before."""
        self.show_pair(self.pair - 1, swapped=self.swapped)
