"""The rows screen: search the tuning data by words, by meaning, by both or verbatim; results, and the whole row."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input

from itx.records import Neighbour
from itx.report.wording import say_count
from itx.tui.palette import Palette, Signs
from itx.tui.provenance import Provenance
from itx.tui.shape import WIDE
from itx.tui.terminal import frames_are_waiting
from itx.tui.tracer import LIMIT, Found, Query
from itx.tui.widgets.bars import Keys
from itx.tui.widgets.found import Modes, Results, WholeRow
from itx.tui.wording import cut

_KEYS = (
    ("Escape", "back"),
    ("Enter", "search"),
    ("tab", "words, meaning, both, verbatim"),
    ("j k", "row"),
    ("space b", "scroll"),
    ("/", "ask again"),
)


class RowsScreen(Screen[Query]):
    """Asks the tracing thread; without one, the rows that the run carries are searched on a thread for that search."""

    class Searched(Message):
        """The rows that the run carries were searched."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", show=False),
        Binding("ctrl+c", "close", show=False, priority=True),
        Binding("tab", "change_mode(1)", show=False, priority=True),
        Binding("shift+tab", "change_mode(-1)", show=False, priority=True),
        Binding("j,down", "choose(1)", show=False),
        Binding("k,up", "choose(-1)", show=False),
        Binding("space,pagedown", "page(1)", show=False),
        Binding("b,pageup", "page(-1)", show=False),
        Binding("g,home", "choose(-1000000)", show=False),
        Binding("G,end", "choose(1000000)", show=False),
        Binding("slash,s", "ask", show=False),
        Binding("q", "close", show=False),
    ]

    def __init__(self, provenance: Provenance, query: Query, palette: Palette, signs: Signs) -> None:
        super().__init__()
        self.provenance = provenance
        self.asked: Query | None = None
        self._first = query
        self._modes = Modes(palette)
        self._results = Results(palette, signs)
        self._row = WholeRow(palette)
        self._carried = not provenance.searchable
        keys = [key for key in _KEYS if key[0] != "tab" or not self._carried]
        self._keys = Keys(palette, keys, id="keys")
        if self._carried:
            self._modes.offered = ("words",)
            self._modes.remark = "the tuning data is not at hand: of the rows that this run carries"
        else:
            self._modes.how = query.how

    def compose(self) -> ComposeResult:
        """Show what is asked, what was found, and one row of it."""
        yield self._modes
        with Container(id="asking"):
            yield Input(value=self._first.text, placeholder="words of a row", id="query")
        with Container(id="answers"):
            yield self._results
            yield self._row
        yield self._keys

    def on_mount(self) -> None:
        """Search at once for what is at hand."""
        self.query_one("#asking").border_title = "rows of the tuning data"
        self.query_one(Input).focus()
        self._show([], self._say_state())
        self.on_resize()
        if self._first.text:
            self.call_after_refresh(self._search)

    def _on_timer_update(self) -> None:
        if not frames_are_waiting(self.app):
            super()._on_timer_update()

    def on_resize(self) -> None:
        """Put the row beside the results where there is room."""
        self.set_class(self.size.width < WIDE, "-narrow")

    def _say_state(self) -> str:
        tracing = self.provenance.tracing
        if self._carried:
            why = str(tracing.failure) + "\n" if tracing is not None and tracing.failure is not None else ""
            return (
                f"{why}The tuning data is not at hand: Enter searches the "
                f"{say_count(len(self.provenance.carried), 'row')} that this run carries, by words."
            )
        waiting = tracing.say() if tracing is not None else ""
        return waiting or "Enter searches."

    def _search(self) -> None:
        text = self.query_one(Input).value.strip()
        if not text:
            return
        self.asked = query = Query(text, self._modes.how)
        if self._carried:
            self._show([], "Searching.")
            self.run_worker(partial(self._search_carried, query), thread=True, exclusive=True, group="search")
            return
        assert self.provenance.tracing is not None
        waiting = self.provenance.tracing.say()
        self._show([], f"Searching. {waiting}".strip())
        self.provenance.tracing.search(query)

    def _search_carried(self, query: Query) -> None:
        """On a thread of its own: every row is folded the first time."""
        self.post_message(self.Searched(Found(query, self.provenance.carried.search(query.text, LIMIT))))

    def on_rows_screen_searched(self, event: Searched) -> None:
        """Show what was found among the rows that the run carries."""
        reading = " They are still being read: Enter searches again." if self.provenance.is_reading else ""
        self.take(event.found, f"{self._say_state()}\n\nNo row has these words.{reading}")

    def take(self, found: Found, nothing: str = "No row was found.") -> None:
        """Show what was found, unless something else has been asked since."""
        if found.query != self.asked:
            return
        if found.error is not None:
            self._show([], f"The search failed: {found.error}")
            return
        self._show(found.rows, nothing)
        if found.rows:
            self._results.focus()

    def refresh_state(self) -> None:
        """Say anew how far the tuning data is read."""
        if not self._results.rows and self.asked is None:
            self._show([], self._say_state())

    def _show(self, rows: list[Neighbour], message: str) -> None:
        self._results.show(rows, message)
        self._show_row()

    def _show_row(self) -> None:
        rows, chosen = self._results.rows, self._results.chosen
        self._row.show(rows[chosen] if rows else None, self.asked or self._first)
        title = f"{chosen + 1} of {say_count(len(rows), 'row')}" if rows else "found"
        blank = " " if self.has_class("-narrow") else ""  # a frame has its own
        name = cut(rows[chosen].row if rows else "row", max(8, self.size.width // 3))
        self._results.border_title = Content(f"{blank}{title}{blank}")
        self._row.border_title = Content(f"{blank}{name}{blank}")

    def on_input_submitted(self) -> None:
        """Search."""
        self._search()

    def action_change_mode(self, step: int) -> None:
        """Search by something else."""
        offered = self._modes.offered
        self._modes.how = offered[(offered.index(self._modes.how) + step) % len(offered)]
        self._modes.redraw()
        self._search()

    def action_choose(self, step: int) -> None:
        """Choose another row."""
        if self._results.rows:
            self._results.choose(step)
            self._show_row()

    def action_page(self, pages: int) -> None:
        """Scroll the row."""
        self._row.move_line(pages * max(1, self._row.view_height - 1))

    def action_ask(self) -> None:
        """Go to what is asked."""
        self.query_one(Input).focus()

    def action_close(self) -> None:
        """Go back; what was asked is kept for the next time."""
        self.dismiss(Query(self.query_one(Input).value.strip(), self._modes.how))
