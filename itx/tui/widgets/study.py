"""A study's pages: their names, and one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text

from itx.records import Run
from itx.report.study import Study
from itx.text import sanitise
from itx.tui import report_facts, report_pages, report_words
from itx.tui.palette import Palette
from itx.tui.plotting import Writer
from itx.tui.widgets.bars import Line
from itx.tui.widgets.panel import Panel
from itx.tui.wording import wrap_text

if TYPE_CHECKING:
    from itx.report.claims import Claims

PAGES = ("classes", "models", "positions", "kinds", "curves", "tokens", "patterns", "borrowing", "facts", "claims")


class Tabs(Line):
    """The names of the pages; the one that is shown stands in brackets."""

    def __init__(self, palette: Palette) -> None:
        super().__init__(id="tabs")
        self.palette = palette
        self.pages: Sequence[str] = PAGES
        self.chosen = 0

    def show(self, pages: Sequence[str], chosen: int) -> None:
        """Show the names."""
        self.pages, self.chosen = pages, chosen
        self.redraw()

    def write(self, width: int) -> Text:
        """Return the line; where the names do not fit, the one that is shown, and how many there are."""
        needed = sum(len(page) + 2 for page in self.pages)
        line = Text(" " if needed < width else "")
        for index, page in enumerate(self.pages):
            chosen = index == self.chosen
            line.append(f"[{page}]" if chosen else f" {page} ", self.palette.highlight if chosen else Style())
        if line.cell_len <= width:
            return line
        line = Text().append(f" [{self.pages[self.chosen]}]", self.palette.highlight)
        return line.append(f" {self.chosen + 1} of {len(self.pages)}", self.palette.faint)


class StudyPage(Panel):
    """One page of a study."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(id="study")
        self.writer = writer
        self.page = PAGES[0]
        self.pair = 0
        self.study: Study | None = None
        self.message = ""
        self.claims: Claims | None = None
        self.run: Run | None = None

    def show(
        self,
        study: Study | None,
        page: str,
        pair: int,
        message: str,
        claims: Claims | None = None,
        run: Run | None = None,
    ) -> None:
        """Show a page of a study for one pair; without a study, what to say. ``claims`` come later than a study."""
        if page != self.page:
            self.scroll_to(y=0, animate=False)
        self.study, self.page, self.pair, self.message = study, page, pair, message
        self.claims, self.run = claims, run
        self.redraw()

    def on_resize(self) -> None:
        """Draw again: some pages are as high as the screen."""
        self.redraw()

    def write_lines(self, width: int) -> list[Text]:
        """Return the page's lines."""
        study, writer = self.study, self.writer
        if study is None:
            return wrap_text(Text(sanitise(self.message), style=writer.palette.faint), width)
        match self.page:
            case "classes":
                return report_pages.write_overview(study, writer, width)
            case "models":
                return report_pages.write_models(study, writer, width)
            case "positions":
                return report_pages.write_positions(study, self.pair, writer, width)
            case "kinds":
                return report_pages.write_categories(study, self.pair, writer, width)
            case "curves":
                return report_pages.write_curves(study, self.pair, writer, width, self.view_height)
            case "patterns":
                return report_words.write_patterns(study, writer, width)
            case "borrowing":
                return report_words.write_borrowing(study, writer, width)
            case "facts":
                return report_facts.write_facts(study, writer, width)
            case _:
                return report_words.write_statements(self.run, self.claims, writer, width)
