"""The report: what a run says over all its prompts, page by page, and the tokens that are shifted most in context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from itx.records import Run
from itx.report.study import PairStudy, ShiftedToken, Study
from itx.text import sanitise
from itx.tui import report_pages
from itx.tui.actions import bindings
from itx.tui.page_actions import REPORT
from itx.tui.palette import Palette, Signs
from itx.tui.plotting import Writer
from itx.tui.reporter import Counted, FindRows, NotCounted, Reporter
from itx.tui.screens.page import FRAME_SECONDS, PageScreen
from itx.tui.shape import WIDE
from itx.tui.shelf import Column
from itx.tui.terminal import frames_are_waiting
from itx.tui.widgets.bars import Footer, Header, Part
from itx.tui.widgets.examples import Examples
from itx.tui.widgets.panel import Panel
from itx.tui.widgets.study import PAGES, StudyPage, Tabs
from itx.tui.widgets.table import Table
from itx.tui.wording import quote

if TYPE_CHECKING:
    from itx.report.claims import Claims

_OF_PAIRS = ("positions", "kinds", "curves", "tokens")
WORDS = (
    ("shifted", "the scorer's rank of the token is beyond the marginal bound: what tuning changed"),
    ("[low, high]", "95 % interval: prompts are drawn again and again, and every figure counted anew"),
    ("!", "fewer than 30 prompts stand behind the figure: its interval is not to be relied on"),
    ("own path", "each model's own response, scored by base"),
    ("shared path", "one response, read by several models: changed weights without changed paths"),
    ("KL on shifted", "the share of all divergence that lies on shifted tokens"),
    ("cut by the limit", "responses that the token limit or a window ended, not EOS"),
    ("known", "of a fact: the right answer is likelier than every wrong one"),
    ("borrowed", "words that rows nearest the prompt have verbatim; a control says how many by chance"),
)

TOKEN_COLUMNS: tuple[Column[ShiftedToken], ...] = (
    Column("token", 8, lambda token: token.piece, lambda token: quote(token.piece), 0, share=1, down=False),
    Column("shifted", 8, lambda token: token.shifted, lambda token: f"{token.shifted:,}", 0),
    Column("emitted", 8, lambda token: token.count, lambda token: f"{token.count:,}", 2),
    Column("rate", 6, lambda token: token.rate, lambda token: f"{100 * token.rate:.0f} %", 1),
)


class ReportScreen(PageScreen):
    """Draws what the reporter tells. It keeps its page and its places while the compare screen is looked at."""

    ACTIONS = REPORT
    WORDS = WORDS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(REPORT)]

    def __init__(self, folder: Path, palette: Palette, signs: Signs, find_rows: FindRows | None = None) -> None:
        super().__init__(palette, signs)
        self.folder = folder
        self.to_library = False
        """Whether Escape goes to the library, which the report was opened from."""
        self.reporter = Reporter(folder, find_rows)
        self.study: Study | None = None
        self.claims: Claims | None = None
        self.header = Header(id="header")
        self.tabs = Tabs(palette)
        self.page = StudyPage(Writer(palette, signs))
        self.tokens: Table[ShiftedToken] = Table(TOKEN_COLUMNS, palette, signs, lambda _: "", id="shifted")
        self.tokens.sorting = 1
        self.examples = Examples(palette, signs)
        self.footer = Footer(palette, id="footer")
        self._section = 0
        self._pair = 0
        self._whole = False
        self._message = "The run is being read."
        self._state: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield self.header
        yield self.tabs
        yield self.page
        with Container(id="in-context"):
            yield self.tokens
            yield self.examples
        yield self.footer

    def on_mount(self) -> None:
        """Begin to count."""
        self.reporter.start()
        self.set_interval(FRAME_SECONDS, self._take_notes)
        self.on_resize()
        self._show()

    def on_unmount(self) -> None:
        """Count no more."""
        self.reporter.close()

    def on_resize(self) -> None:
        """Divide the screen anew."""
        self.set_class(self.size.width < WIDE, "-narrow")
        self._show_titles()

    # What is told

    def _take_notes(self) -> None:
        reporter = self.reporter
        if reporter.crash is not None:
            error, reporter.crash = reporter.crash, None
            raise error
        if frames_are_waiting(self.app):
            return
        while reporter.notes:
            note = reporter.notes.popleft()
            if isinstance(note, Counted):
                self.study, self._whole = note.study, note.whole
                self.claims = None
            elif isinstance(note, NotCounted):
                self._message = str(note.error)
            else:
                self.claims = note
        state = (
            id(self.study),
            id(self.claims),
            self._message,
            reporter.recording is None,
            reporter.busy,
            reporter.done // 10,
        )
        if state != self._state:
            drawn = self._state[:4]
            self._state = state
            if state[:4] != drawn:
                self._show()
            else:
                self._show_header()

    # What is shown

    @property
    def pages(self) -> list[str]:
        """The pages that the study has something for."""
        study = self.study
        return [
            page
            for page in PAGES
            if study is None
            or (
                not (page == "models" and not study.comparisons)
                and not (page == "borrowing" and study.borrowing is None)
                and not (page == "facts" and study.knowledge is None)
            )
        ]

    @property
    def section(self) -> str:
        """The page that is shown."""
        pages = self.pages
        return pages[self._section % len(pages)]

    @property
    def pair(self) -> PairStudy | None:
        """The pair of models that is shown."""
        pairs = self.study.pairs if self.study is not None else []
        return pairs[self._pair % len(pairs)] if pairs else None

    @property
    def _run(self) -> Run | None:
        return self.reporter.recording.run if self.reporter.recording is not None else None

    @property
    def _in_context(self) -> bool:
        return self.section == "tokens" and self.study is not None

    def _show(self) -> None:
        """Draw everything anew."""
        in_context = self._in_context
        self.page.display = not in_context
        self.query_one("#in-context").display = in_context
        if in_context:
            pair = self.pair
            rows = pair.tokens if pair is not None else []
            same = rows is self.tokens.rows
            self.tokens.show(rows, self.tokens.chosen if same else 0, "No token is shifted.")
            self._show_examples()
            self.set_focus(self.tokens)
        else:
            if self.section == "claims" and self.study is not None and self.claims is None:
                self.reporter.measure_claims()
            self.page.show(self.study, self.section, self._pair, self._message, self.claims, self._run)
            self.set_focus(self.page)
        self.tabs.show(self.pages, self.pages.index(self.section))
        self._show_titles()

    def _show_examples(self) -> None:
        self.examples.show(self.reporter.recording, self.pair, self.tokens.row)
        self._show_titles()

    def _show_titles(self) -> None:
        blank = " " if self.has_class("-narrow") else ""  # a frame has its own
        pair = self.pair
        of_pair = report_pages.name_pair(pair) if pair is not None and self.section in _OF_PAIRS else ""
        place = ""
        if pair is not None and of_pair and self.study is not None and len(self.study.pairs) > 1:
            place = f"pair {self._pair % len(self.study.pairs) + 1} of {len(self.study.pairs)}"
        examples = len(self.tokens.row.places) if self.tokens.row is not None else 0
        titles: tuple[tuple[Panel, str, str], ...] = (
            (self.page, self.section, place),
            (self.tokens, f"shifted most: {of_pair}", place),
            (self.examples, f"example {self.examples.chosen + 1} of {examples}" if examples else "examples", ""),
        )
        for panel, title, subtitle in titles:
            panel.border_title = Content(f"{blank}{title}{blank}")
            panel.border_subtitle = Content(subtitle)
        self._show_header()
        shown = [
            action
            for action in REPORT
            if not (action.name in ("open", "example(1)") and not self._in_context)
            and not (action.name == "pair(1)" and not place)
        ]
        self.footer.show(shown, writing=False)

    def _show_header(self) -> None:
        strong = self.palette.accent + Style(bold=True)
        name = sanitise(self.folder.resolve().name, keep_newlines=False)
        parts = [Part("itx", strong), Part(" report ", self.palette.strong), Part(name, self.palette.faint)]
        reporter, right = self.reporter, []
        if reporter.busy:
            done = f" {reporter.done:,}" if reporter.done else ""
            right.append(Part(f"{self.signs.running} counting{done}", self.palette.accent))
        if self.study is not None:
            first = "" if self._whole else "the first "
            right.append(Part(f"{first}{self.study.prompts:,} prompts", self.palette.strong))
        self.header.show(parts, right)

    # Moving

    @property
    def scrolled(self) -> Panel:
        """The panel that keys go along."""
        return self.tokens if self._in_context else self.page

    def on_table_chosen(self) -> None:
        """Show the examples of another token."""
        self._show_examples()

    def action_section(self, step: int) -> None:
        """Go to another page."""
        self._section = (self.pages.index(self.section) + step) % len(self.pages)
        self._show()

    def action_pair(self, step: int) -> None:
        """Show another pair of author and scorer."""
        count = len(self.study.pairs) if self.study is not None else 0
        if count:
            self._pair = (self._pair + step) % count
            self._show()

    def action_example(self, step: int) -> None:
        """Choose another example of the token."""
        if self._in_context:
            self.examples.choose(step)
            self._show_titles()

    # Going elsewhere

    def action_open(self) -> None:
        """Go to the example that is chosen."""
        pair, place = self.pair, self.examples.place
        if self._in_context and pair is not None and place is not None:
            self.itx.show_position(pair.author, pair.scorer, place.prompt_id, place.position)

    def action_back(self) -> None:
        """Go back to where the report was opened from."""
        self.app.clear_notifications()
        if self.to_library:
            self.itx.show_library()
        else:
            self.app.pop_screen()

    def action_library(self) -> None:
        """Go to the library."""
        self.itx.show_library()

    def action_look_again(self) -> None:
        """Count again."""
        self.reporter.start(anew=True)
