"""The library: all runs with their figures, and the prompts of the one that is marked; both sorted and filtered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.style import Style
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Input

from itx.errors import ItxError
from itx.report.wording import say_count
from itx.text import sanitise
from itx.tui.actions import bindings
from itx.tui.librarian import Librarian, Listed, Root, Shelved
from itx.tui.page_actions import LIBRARY
from itx.tui.palette import Palette, Signs
from itx.tui.screens.page import FRAME_SECONDS, PageScreen
from itx.tui.shape import ROOMY, WIDE
from itx.tui.shelf import PROMPT_COLUMNS, RUN_COLUMNS, PromptRow, RunRow, arrange, matches
from itx.tui.terminal import frames_are_waiting
from itx.tui.widgets.bars import Footer, Header, Part
from itx.tui.widgets.facts import RunFacts, say_path
from itx.tui.widgets.panel import Panel
from itx.tui.widgets.table import Table

_LOW = 12
"""Lines below which one table stands alone."""


class LibraryScreen(PageScreen):
    """Lists what the librarian tells."""

    ACTIONS = LIBRARY
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(LIBRARY)]

    def __init__(
        self,
        roots: Sequence[Root],
        palette: Palette,
        signs: Signs,
        folder: Path | None = None,
        prompt_id: str | None = None,
    ) -> None:
        """``folder`` and ``prompt_id`` are marked at first, where they are found."""
        super().__init__(palette, signs)
        self.librarian = Librarian(roots)
        self.header = Header(id="header")
        self.runs: Table[RunRow] = Table(RUN_COLUMNS, palette, signs, self._warn_of_run, id="runs")
        self.prompts: Table[PromptRow] = Table(PROMPT_COLUMNS, palette, signs, self._warn_of_prompt, id="of-run")
        self.runs.sorting = next(index for index, column in enumerate(RUN_COLUMNS) if column.name == "date")
        self.facts = RunFacts(palette, signs)
        self.footer = Footer(palette, id="footer")
        self.box = Input(placeholder="words in the line", id="filter")
        self.rows: dict[Path, RunRow] = {}
        self.listed = False
        self.model: str | None = None
        """The tuned model whose responses are counted a prompt; None: all."""
        self._filters = {"runs": "", "of-run": ""}
        self._folder = folder.resolve() if folder is not None else None
        self._prompt_id = prompt_id
        self._filtered: Table[RunRow] | Table[PromptRow] | None = None
        """The table whose filter is being typed."""
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield self.header
        yield self.box
        yield self.runs
        yield self.facts
        yield self.prompts
        yield self.footer

    def on_mount(self) -> None:
        """Begin to look for runs."""
        self.box.display = False
        self.set_focus(self.runs)
        self.librarian.start()
        self.set_interval(FRAME_SECONDS, self._take_notes)
        self.on_resize()
        self._show_runs()

    def on_unmount(self) -> None:
        """Look for none any more."""
        self.librarian.close()

    def on_screen_resume(self) -> None:
        """Look again: a run may have grown, or have been marked."""
        self.librarian.look_again()

    def on_resize(self) -> None:
        """Divide the screen anew."""
        width, height = self.size
        self.set_class(width < WIDE, "-narrow")
        self.facts.display = height >= ROOMY
        self._divide()
        self._show_bars()

    def _divide(self) -> None:
        """Give the runs the lines they need, at most two fifths of the screen, and the prompts the rest.

        Where there is no room for both, the table that has the focus stands alone.
        """
        alone = self.size.height < _LOW
        self.runs.display = not alone or self.table is self.runs
        self.prompts.display = not alone or self.table is self.prompts
        frame = 1 if self.size.width < WIDE else 2
        self.facts.styles.height = self.facts.height + frame
        needed = 1 + max(1, len(self.runs.rows)) + frame
        self.runs.styles.height = "1fr" if alone else max(4, min(needed, self.size.height * 2 // 5))

    # What is told

    def _take_notes(self) -> None:
        librarian = self.librarian
        if librarian.crash is not None:
            error, librarian.crash = librarian.crash, None
            raise error
        if frames_are_waiting(self.app):
            return
        news = False
        while librarian.notes:
            note = librarian.notes.popleft()
            news = True
            if isinstance(note, Listed):
                self.listed = True
                self.rows = {folder: row for folder, row in self.rows.items() if folder in note.folders}
            else:
                self._take_run(note)
        if news:
            self._show_runs()

    def _take_run(self, shelved: Shelved) -> None:
        before = self.rows.get(shelved.folder)
        if before is not None and shelved.figures is None and not shelved.problem:
            # Until it is counted anew, what was counted before stands.
            shelved = Shelved(shelved.folder, shelved.changed, shelved.run, before.shelved.figures)
        if before is None or before.shelved != shelved:
            self.rows[shelved.folder] = RunRow.of(shelved)

    # What is shown

    @property
    def row(self) -> RunRow | None:
        """The run that is marked."""
        return self.runs.row

    def _warn_of_run(self, row: RunRow) -> str:
        return row.shelved.problem

    def _warn_of_prompt(self, row: PromptRow) -> str:
        return "failed" if row.figures.failed else ""

    def _show_runs(self) -> None:
        query = self._filters["runs"]
        rows = [row for row in self.rows.values() if matches(query, row.name, row.models, row.date)]
        rows.sort(key=lambda row: row.shelved.changed, reverse=True)
        rows = arrange(rows, self.runs.column, reverse=self.runs.reverse)
        wanted = self._folder
        chosen = next((place for place, row in enumerate(rows) if row.shelved.folder.resolve() == wanted), 0)
        nothing = "No run has these words." if query else "No runs yet: itx demo records one." if self.listed else ""
        self.runs.show(rows, chosen, nothing or "Looking for runs.")
        self._show_run()

    def _show_run(self) -> None:
        row = self.row
        self.librarian.want(row.shelved.folder if row is not None else None)
        self.facts.show(row)
        self._divide()
        if (
            row is not None
            and row.shelved.run is not None
            and self.model not in {m.name for m in row.shelved.run.tuned}
        ):
            self.model = None
        self._show_prompts()

    def _show_prompts(self) -> None:
        row, query = self.row, self._filters["of-run"]
        figures = row.shelved.figures if row is not None else None
        order = self.prompts.sorting, self.prompts.reverse
        state = (row.shelved.folder if row is not None else None, id(figures), self.model, query, order)
        if state != self._shown:
            self._shown = state
            found = [
                PromptRow.of(number, each, self.model)
                for number, each in enumerate(figures.prompts if figures is not None else (), 1)
                if matches(query, each.prompt, each.prompt_id)
            ]
            rows = arrange(found, self.prompts.column, reverse=self.prompts.reverse)
            wanted = self._prompt_id
            chosen = next((place for place, each in enumerate(rows) if each.figures.prompt_id == wanted), 0)
            self.prompts.show(rows, chosen, self._say_no_prompts(row))
        self._show_titles()
        self._show_bars()

    def _say_no_prompts(self, row: RunRow | None) -> str:
        if row is None:
            return ""
        if row.shelved.problem:
            return row.shelved.problem
        if row.shelved.figures is None:
            return "Being counted."
        return "No prompt has these words." if self._filters["of-run"] else "No prompt is finished yet."

    def _show_titles(self) -> None:
        row = self.row
        blank = " " if self.has_class("-narrow") else ""  # a frame has its own
        titles = {
            self.runs: self._say_place(self.runs, "run", self._filters["runs"]),
            self.facts: row.name if row is not None else "",
            self.prompts: self._say_place(self.prompts, "prompt", self._filters["of-run"])
            + (f" {self.signs.dot} {self.model or 'all tuned models'}" if self._has_models else ""),
        }
        for panel, title in titles.items():
            content = Content(f"{blank}{sanitise(title, keep_newlines=False)}{blank}")
            if panel.border_title != content.plain:
                panel.border_title = content

    @staticmethod
    def _say_place(table: Table[RunRow] | Table[PromptRow], noun: str, query: str) -> str:
        count = len(table.rows)
        if not count:
            return f"{noun}s"
        return f"{table.chosen + 1} of {say_count(count, noun)}" + (f" with {query!r}" if query else "")

    @property
    def _has_models(self) -> bool:
        run = self.row.shelved.run if self.row is not None else None
        return run is not None and len(run.tuned) > 1

    def _show_bars(self) -> None:
        strong = self.palette.accent + Style(bold=True)
        parts = [Part("itx", strong), Part(" library ", self.palette.strong)]
        dot = f" {self.signs.dot} "
        parts.append(Part(dot.join(say_path(root.folder) for root in self.librarian.roots), self.palette.faint))
        waiting = self.librarian.waiting
        right = []
        if not self.listed or waiting:
            counting = f"{self.signs.running} counting {waiting:,}" if waiting else f"{self.signs.running} looking"
            right.append(Part(counting, self.palette.accent))
        right.append(Part(say_count(len(self.rows), "run"), self.palette.strong))
        self.header.show(parts, right)
        opened = len(self.app.screen_stack) > 1
        shown = [
            action
            for action in LIBRARY
            if not (action.name == "back" and not opened and not any(self._filters.values()))
            and not (action.name == "model(1)" and not self._has_models)
        ]
        self.footer.show(shown, writing=False)

    # Moving

    @property
    def table(self) -> Table[RunRow] | Table[PromptRow]:
        """The table that has the focus, or whose filter has."""
        return self._filtered or (self.prompts if self.focused is self.prompts else self.runs)

    @property
    def scrolled(self) -> Panel:
        """The panel that keys go along."""
        return self.table

    def on_table_chosen(self, event: Table.Chosen) -> None:
        """Show what is marked."""
        if event.table is self.runs:
            row = self.row
            self._folder = row.shelved.folder.resolve() if row is not None else None
            self._prompt_id = None
            self._show_run()
        elif self.prompts.row is not None:
            self._prompt_id = self.prompts.row.figures.prompt_id
            self._show_titles()

    def action_panel(self) -> None:
        """Go to the other table."""
        other = self.runs if self.table is self.prompts else self.prompts
        self._leave_box()
        self._go_to(other)

    def _go_to(self, table: Table[RunRow] | Table[PromptRow]) -> None:
        table.display = True  # what is hidden cannot have the focus
        self.set_focus(table)
        self._divide()

    def action_back(self) -> None:
        """Leave the filter, then the prompts, then the library."""
        self.app.clear_notifications()
        table = self.table
        if self._filtered is not None or self._filters[str(table.id)]:
            self._set_filter("")
            self._leave_box()
        elif table is self.prompts:
            self._go_to(self.runs)
        else:
            self.itx.leave_library()

    # Sorting and filtering

    def action_sort(self, step: int) -> None:
        """Sort by another figure."""
        table = self.table
        table.sorting = (table.sorting + step) % len(table.columns)
        table.reverse = False
        self._arrange()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.table.reverse = not self.table.reverse
        self._arrange()

    def _arrange(self) -> None:
        if self.table is self.runs:
            row = self.row
            self._folder = row.shelved.folder.resolve() if row is not None else self._folder
            self._show_runs()
        else:
            self._show_prompts()

    def action_filter(self) -> None:
        """Type words that a line must have."""
        table = self.table
        self.box.value = self._filters[str(table.id)]
        self._filtered = table
        self.box.display = True
        self.set_focus(self.box)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Keep what matches."""
        if self._filtered is not None:
            self._set_filter(event.value)

    def on_input_submitted(self) -> None:
        """Go back to the table."""
        self._leave_box()

    def _leave_box(self) -> None:
        if self._filtered is not None:
            self.box.display = False
            self.set_focus(self._filtered)
            self._filtered = None
            self._show_titles()

    def _set_filter(self, query: str) -> None:
        table = self.table
        self._filters[str(table.id)] = query
        if table is self.runs:
            self._show_runs()
        else:
            self._show_prompts()

    def action_model(self, step: int) -> None:
        """Count the prompts for another model, or for all."""
        run = self.row.shelved.run if self.row is not None else None
        if run is None or not self._has_models:
            return
        names: list[str | None] = [None, *(model.name for model in run.tuned)]
        self.model = names[(names.index(self.model) + step) % len(names)]
        self._show_prompts()

    def action_look_again(self) -> None:
        """Find runs anew."""
        self.librarian.look_again()

    # Opening, leaving

    def _open(self) -> bool:
        from itx.runs.recording import Recording

        row, prompt = self.row, self.prompts.row
        if row is None:
            return False
        try:
            recording = Recording.open(row.shelved.folder)
            self.itx.open_run(recording, prompt.figures.prompt_id if prompt is not None else None)
        except ItxError as error:
            self.tell(str(error), "Not opened", alarm=True)
            return False
        return True

    def action_open(self) -> None:
        """Open the run at the prompt that is marked."""
        self._open()

    def action_report(self) -> None:
        """Open the report of the run that is marked."""
        if self._open():
            self.itx.show_report(to_library=True)
