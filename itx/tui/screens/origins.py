"""Where words come from: going from span to span and to their rows, marking, searching, sorting the prompts."""

from __future__ import annotations

from itx.errors import ItxError
from itx.records import Span, Verdict
from itx.text import sanitise
from itx.tui.answers import Exchange
from itx.tui.screens.commands import Commands
from itx.tui.screens.marking import Judgement, MarkingScreen
from itx.tui.screens.rows import RowsScreen
from itx.tui.spans import Drawn, draw_spans, span_at
from itx.tui.survey import SORTING_NAMES, SORTINGS, Sorting
from itx.tui.tracer import Query
from itx.tui.widgets.rows import RowsPanel, Verdicts

SPAN_VERDICTS: tuple[tuple[Verdict, str], ...] = (
    ("hallucinated", "hallucinated: the words are wrong here"),
    ("fine", "fine: the words are right here"),
    ("cleared", "clear the mark"),
)
SOURCE_VERDICTS: tuple[tuple[Verdict, str], ...] = (
    ("accepted", "accept: the words come from this row"),
    ("rejected", "reject: they do not"),
    ("cleared", "clear the mark"),
)


class Origins(Commands):
    """The part of the compare screen that is about the tuning data."""

    rows: RowsPanel
    sorting: Sorting = "asked"
    _exchange: Exchange | None = None
    _every_span = False
    _last_query = Query("", "words")

    @property
    def exchange(self) -> Exchange | None:
        """The prompt shown, with its answers."""
        return self._exchange

    @property
    def author(self) -> str:
        """The model whose response has the cursor."""
        raise NotImplementedError

    @property
    def has_data(self) -> bool:
        """Whether anything is known of the tuning data, or will be."""
        return self.session.provenance.has_data

    @property
    def verdicts(self) -> Verdicts:
        """Return what says a person's verdicts on what is shown."""
        judgements = self.session.provenance.judgements

        def judge(span: Span, row: str | None = None) -> Verdict | None:
            mark = judgements.find(*self._response_shown(), span, row) if self._exchange is not None else None
            return mark.verdict if mark is not None else None

        def note(span: Span) -> str:
            mark = judgements.find(*self._response_shown(), span) if self._exchange is not None else None
            return mark.note if mark is not None else ""

        return Verdicts(judge, judge, note, self.session.provenance.check)

    def _response_shown(self) -> tuple[str, str]:
        return self._exchange.prompt_id if self._exchange is not None else "", self.author

    def title_panels(self) -> None:
        """Write the titles of all panels."""
        raise NotImplementedError

    def on_rows_panel_stepped(self) -> None:
        """Say which row is shown."""
        self.title_panels()

    def show_exchange(self) -> None:
        """Draw everything anew."""
        raise NotImplementedError

    def keep_places(self) -> None:
        """Keep where the person is in what is shown."""
        raise NotImplementedError

    def drawn(self, author: str) -> Drawn:
        """Return the brackets in an author's response."""
        if self._exchange is None or not self.has_data:
            return draw_spans(None, lambda _: None)
        provenance, prompt_id = self.session.provenance, self._exchange.prompt_id
        borrowing, _ = provenance.look_up(prompt_id, author)
        return draw_spans(borrowing, provenance.judge(prompt_id, author), every=self._every_span)

    def _redraw(self) -> None:
        self.keep_places()
        self.show_exchange()

    # Spans

    def _move_to_span(self, *, back: bool) -> None:
        pane = self.author_pane
        cursor = pane.place.cursor
        found = pane.drawn.before(cursor) if back else pane.drawn.after(cursor)
        if found is not None:
            pane.move_to(found.start)
            return
        if pane.drawn.stretches:
            self.tell(f"No borrowed span further {'up' if back else 'down'}.", brief=True)
            return
        self.tell(self._say_no_span(), brief=True)

    def _say_no_span(self) -> str:
        """Return why there is no span to go to."""
        view = self.view()
        traced = "; a shows the spans that other rows have." if view.borrowing and view.borrowing.spans else "."
        return f"Nothing in this response is borrowed{'' if view.settled else ' so far'}{traced}"

    def action_next_borrowed(self) -> None:
        """Go to the next borrowed span."""
        self._move_to_span(back=False)

    def action_previous_borrowed(self) -> None:
        """Go to the previous borrowed span."""
        self._move_to_span(back=True)

    def action_to_row(self) -> None:
        """Go from the response to the rows, and back."""
        if self.focused is self.rows:
            self.author_pane.focus()
        elif self.rows in self.panels():
            self.focus_panel(self.rows)
        else:
            self.tell("There is no room for the rows: s shows them.", brief=True)

    def action_every_span(self) -> None:
        """Put brackets around all traced spans, or around the borrowed ones only."""
        self._every_span = not self._every_span
        self._redraw()
        self.tell("All traced spans." if self._every_span else "Borrowed spans only.", brief=True)

    # Marks

    def action_mark(self) -> None:
        """Mark the span at the cursor, or in the rows panel the row as its source."""
        view = self.view()
        span = span_at(view.borrowing, view.cursor)
        if span is None:
            near = "No span of the tuning data is at the cursor"
            drawn = self.author_pane.drawn.stretches
            self.tell(f"{near}: b and B go to one." if drawn else f"{near}. {self._say_no_span()}", brief=True)
            return
        if not view.settled:  # a mark is of the span's first and last word, and this one may still grow
            self.tell("Marks wait until the answer is whole and traced.", brief=True)
            return
        source = self.rows.source if self.focused is self.rows else None
        row = source.row if source is not None else None
        title = f"mark [{span.id}]" if row is None else f"source of [{span.id}]: {row}"
        prompt_id, author = self._response_shown()

        def take(judgement: Judgement | None) -> None:
            if judgement is not None:
                self._judge(prompt_id, author, span, row, judgement)

        verdicts = SPAN_VERDICTS if row is None else SOURCE_VERDICTS
        self.app.push_screen(MarkingScreen(title, verdicts, self.palette, self.signs), take)

    def _judge(self, prompt_id: str, author: str, span: Span, row: str | None, judgement: Judgement) -> None:
        try:
            self.session.provenance.judgements.add(prompt_id, author, span, judgement.verdict, row, judgement.note)
        except ItxError as error:
            self.tell_error(error, "Not marked")
            return
        self.rows.redraw()
        self._redraw()

    # Rows

    def action_search_rows(self) -> None:
        """Open the screen that searches the tuning data."""
        provenance = self.session.provenance
        if not provenance.searchable:
            self.session.survey()  # it gathers the rows that the run carries
        view = self.view()
        span = span_at(view.borrowing, view.cursor)
        query = Query(sanitise(" ".join(span.text.split())), "verbatim") if span is not None else self._last_query
        self.app.push_screen(RowsScreen(provenance, query, self.palette, self.signs), self._keep_query)

    def _keep_query(self, query: Query | None) -> None:
        if query is not None:
            self._last_query = query

    # Prompts

    def order(self) -> list[int]:
        """Return the prompts' indices in the order of the list."""
        ids = [item.prompt_id for item in self.session.items]
        return self.session.provenance.survey.order(ids, self.author, self.sorting)

    def values(self) -> list[str]:
        """Return what each prompt is sorted by, in words, as they were asked."""
        ids = [item.prompt_id for item in self.session.items]
        return self.session.provenance.survey.values(ids, self.author, self.sorting)

    def action_sort_prompts(self) -> None:
        """Sort the prompts another way."""
        possible = [sorting for sorting in SORTINGS if sorting != "borrowed" or self.has_data]
        self.sorting = possible[(possible.index(self.sorting) + 1) % len(possible)]
        if self.sorting != "asked":
            self.session.survey()
        self.show_list()
        self.title_panels()
        reading = " (still reading the run)" if self.sorting != "asked" and self.session.provenance.is_reading else ""
        self.tell(f"Prompts: {SORTING_NAMES[self.sorting]}{reading}.", brief=True)
