"""How the compare screen is laid out: its widgets, what of them is shown at which size, and their titles."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget

from itx.records import Run, Thresholds
from itx.text import sanitise
from itx.tui.palette import Palette, Signs
from itx.tui.screens.origins import Origins
from itx.tui.session import Session
from itx.tui.shape import Shape, divide
from itx.tui.survey import SORTING_NAMES
from itx.tui.terminal import frames_are_waiting
from itx.tui.view import pairs, scorer_for
from itx.tui.widgets.bars import Footer, Header, Question
from itx.tui.widgets.figures import FiguresPanel
from itx.tui.widgets.prompt_box import PromptBox
from itx.tui.widgets.prompts import PromptList
from itx.tui.widgets.response import ResponsePane
from itx.tui.widgets.rows import RowsPanel
from itx.tui.widgets.token import TokenPanel
from itx.tui.wording import cut
from itx.tui.words import Words


class Layout(Origins):
    """The part of the compare screen that has widgets and places them."""

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
        self.rows = RowsPanel(palette, signs, self.verdicts, id="rows")
        self.box = PromptBox(id="box")
        self.footer = Footer(palette, id="footer")
        self.index = 0
        self.pair = 0
        self.swapped = False
        self.shape: Shape = divide(80, 24)
        self.lower = "token"
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
            yield self.rows
        yield self.box
        yield self.footer

    def _on_timer_update(self) -> None:
        # Textual's timer goes on until a frame is drawn: a line that is slow gets the next one when it has taken this.
        if not frames_are_waiting(self.app):
            super()._on_timer_update()

    def divide(self) -> Shape:
        """Return the shape that the terminal and what is shown ask for."""
        below = self.exchange is not None and bool(self._name_below()[1])
        return divide(
            self.size.width, self.size.height, reference=below, writing=self.box.display, traced=self.has_data
        )

    def apply_shape(self) -> None:
        """Show and hide what the shape says."""
        self.shape = shape = self.divide()
        self.set_class(not shape.wide, "-narrow")
        self.set_class(self.has_data, "-traced")
        self.prompt_list.display = shape.list_width > 0
        self.prompt_list.styles.width = shape.list_width or 1
        self.question.display = shape.question > 0
        self.second.display = shape.second_pane
        self.second.styles.height = "1fr" if shape.wide else shape.other
        self.query_one("#lower").display = shape.lower > 0
        self.query_one("#lower").styles.height = shape.lower
        self.show_lower()
        focused = self.focused
        if focused is not None and focused not in self.panels() and focused is not self.box:
            self.author_pane.focus()

    @property
    def tabs(self) -> list[Widget]:
        """The lower panels, in the order of tab."""
        return [self.figures, self.token, *([self.rows] if self.has_data else [])]

    def show_lower(self) -> None:
        """Show all lower panels, or where space is short the one that is chosen."""
        for panel in (self.figures, self.token, self.rows):
            panel.display = panel in self.tabs and (self.shape.wide or self.lower == panel.id)
        self.title_panels()
        self.call_after_refresh(self.title_panels)  # a panel that comes to the front has its width only then

    # Models

    @property
    def run(self) -> Run | None:
        """The run's facts; None while models load."""
        return self.session.run

    @property
    def thresholds(self) -> Thresholds:
        """The bounds of the shift classes."""
        return self.run.thresholds if self.run is not None else Thresholds()

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

    def scorer(self, author: str, other: str) -> str:
        """Return who scores ``author`` where ``other`` stands beside it."""
        base = self.run.base.name if self.run is not None else "base"
        answer = self.exchange.answers.get(author) if self.exchange is not None else None
        return scorer_for(author, other, base, answer if answer is not None and answer.scores else None)

    # Panels

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

    def panes(self) -> list[tuple[ResponsePane, str, str]]:
        """Return both panes with the author each shows and the model beside it, the author's pane first."""
        return [(self.author_pane, self.author, self.other), (self.other_pane, self.other, self.author)]

    def panels(self) -> list[Widget]:
        """The panels that can have the focus, in the order of tab."""
        found: list[Widget] = [self.author_pane]
        if self.shape.lower:
            found += self.tabs
        if self.shape.list_width:
            found.append(self.prompt_list)
        if self.shape.second_pane:
            found.append(self.other_pane)
        return found

    def focus_panel(self, panel: Widget) -> None:
        """Give a panel the focus, and bring it to the front."""
        if panel in self.tabs and panel.id is not None:
            self.lower = panel.id
            self.show_lower()
            self.show_panels()
        panel.focus()

    # Titles and what stands below the panes

    def title_panels(self) -> None:
        """Write the titles of all panels."""
        words, run = self._words, self.run
        for pane, author, other in self.panes():
            said = words.describe(pane.answer, self.scorer(author, other), self.thresholds, pane.size.width)
            self._set_title(pane, words.name(run, author), said)
        answer, cursor = self.author_pane.answer, self.author_pane.place.cursor
        token = f"token #{cursor} of {answer.counted}" if cursor is not None and answer is not None else "token"
        self._set_title(self.figures, "figures", "")
        self._set_title(self.token, token, "")
        count = len(self.rows.sources)
        self._set_title(self.rows, f"row {self.rows.chosen + 1} of {count}" if count > 1 else "rows", "")
        self._set_title(self.prompt_list, "prompts", "" if self.sorting == "asked" else SORTING_NAMES[self.sorting])

    def _set_title(self, widget: Widget, title: str, subtitle: str) -> None:
        """Set the texts in a widget's border where they have changed, for setting them draws the whole widget."""
        if not self.shape.wide:  # without a frame there is no foot: all stands above, and the next tab is named
            tab = ""
            if widget in self.tabs:
                tab = f"tab: {self.tabs[(self.tabs.index(widget) + 1) % len(self.tabs)].id}"
            tail = "".join(f" {self.signs.dot} {part}" for part in (subtitle, tab) if part)
            room = max(
                1, (widget.size.width or self.size.width) - 3 - cell_len(tail)
            )  # the name is cut, never the figures behind it
            title, subtitle = f" {cut(title, room, self.signs.ellipsis)}{tail} ", ""
        title, subtitle = (sanitise(text, keep_newlines=False) for text in (title, subtitle))
        if self._titles.get(widget.id) != (title, subtitle):
            self._titles[widget.id] = (title, subtitle)
            widget.border_title = Content(title)
            widget.border_subtitle = Content(subtitle)

    def _name_below(self) -> tuple[str, str]:
        """Return what stands below the panes: why a prompt failed whose answers are kept, or the known answer."""
        exchange = self.exchange
        if exchange is not None and exchange.error is not None and any(a.length for a in exchange.answers.values()):
            return "failed", exchange.error
        return "known answer", (exchange.reference or "") if exchange is not None else ""

    def show_below(self) -> None:
        """Draw the line below the panes anew."""
        label, text = self._name_below()
        self.reference.display = bool(text) and self.shape.question > 0
        self.reference.show(label, text)
