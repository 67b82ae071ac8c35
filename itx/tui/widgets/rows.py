"""The panel of rows: where the words at the cursor stand in the tuning data, else what of it is nearest the prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message

from itx.records import Borrowing, Paraphrase, Span, Verdict
from itx.report.wording import say_count
from itx.text import sanitise
from itx.tui.palette import Palette, Signs
from itx.tui.sources import Source, Subject, is_same, list_sources, newest_borrowed, subject_at
from itx.tui.spans import Judge
from itx.tui.view import View
from itx.tui.widgets.panel import Panel
from itx.tui.wording import cut, flow, wrap_text

if TYPE_CHECKING:
    from itx.runs.verifications import Verification


@dataclass(frozen=True)
class Verdicts:
    """A person's verdicts on what the panel shows, and what ``itx verify`` found of it."""

    span: Judge
    source: Callable[[Span, str], Verdict | None]
    note: Callable[[Span], str]
    check: Callable[[Borrowing, Span], Verification | None]


class RowsPanel(Panel):
    """One row at a time; j and k step through them, Enter goes back to the answer."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "screen.back", show=False)]

    class Stepped(Message):
        """Another row is shown."""

    def __init__(self, palette: Palette, signs: Signs, verdicts: Verdicts, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.signs = signs
        self.verdicts = verdicts
        self.borrowing: Borrowing | None = None
        self.subject: Subject = None
        self.sources: list[Source] = []
        self.chosen = 0
        self.waiting = ""
        """What stands here where the response is not traced."""
        self._state: tuple[object, ...] = ()
        self._match_line = 0

    def show(self, view: View, waiting: str) -> None:
        """Show the rows at the view's cursor; without a tracing of the response, ``waiting``.

        While a response is written and followed, the rows are those of what was borrowed last, unless they are read.
        """
        subject = subject_at(view.borrowing, view.cursor)
        if view.cursor is None and not view.settled:
            subject = self._find_again(view.borrowing) if self.has_focus else newest_borrowed(view.borrowing)
        state = (id(view.borrowing), subject, waiting)
        if state == self._state:
            return
        before = self.source if self._goes_on(view.borrowing, subject) else None
        self._state = state
        self.borrowing, self.subject, self.waiting = view.borrowing, subject, waiting
        self.sources = list_sources(view.borrowing, subject) if view.borrowing is not None else []
        rows = [source.row for source in self.sources]
        kept = rows.index(before.row) if before is not None and before.row in rows else None
        if kept is not None and self.has_focus:  # the person reads on where they are
            self.chosen = kept
            self.redraw()
        else:
            self._choose(kept or 0)

    def _find_again(self, borrowing: Borrowing | None) -> Subject:
        spans = borrowing.spans if borrowing is not None else []
        return next((span for span in spans if is_same(self.subject, span)), None)

    def _goes_on(self, borrowing: Borrowing | None, subject: Subject) -> bool:
        """Return whether ``borrowing`` is of the same response as before, which has grown, and of the same in it."""
        before = self.borrowing
        if before is None or borrowing is None or before.prompt_id != borrowing.prompt_id:
            return False
        return before.author in ("", borrowing.author) and is_same(self.subject, subject)

    @property
    def source(self) -> Source | None:
        """The row that is shown."""
        return self.sources[self.chosen] if self.sources else None

    def move_line(self, lines: int) -> None:
        """Show a row further on or back."""
        if self.sources:
            chosen = max(0, min(len(self.sources) - 1, self.chosen + lines))
            if chosen != self.chosen:
                self._choose(chosen)
                self.post_message(self.Stepped())

    def move_to_end(self, *, top: bool) -> None:
        """Show the first or the last row."""
        self.move_line(-len(self.sources) if top else len(self.sources))

    def _choose(self, index: int) -> None:
        self.chosen = index
        self.redraw()
        # The match is what one came for: where the row begins far above it, the panel begins near it.
        below = self._match_line - (self.view_height - 2)
        self.scroll_to(y=max(0, below), animate=False, force=True)

    def write_lines(self, width: int) -> list[Text]:
        """Return what the row is, what it asks, and what it answers, with the match in it."""
        self._match_line = 0
        source = self.source
        if source is None:
            return [line for part in self._write_none() for line in wrap_text(part, width)]
        lines = [*self._write_identity(source, width), *self._write_standing(source, width)]
        if source.instruction:
            lines += self._write_text("Q ", source.instruction, 0, 0, width, 2)
        answer = self._write_text("A ", source.text, source.start, source.end, width, None, whole=source.whole)
        if source.end > source.start:
            matching = [
                index
                for index, line in enumerate(answer)
                if any(span.style == self.palette.match for span in line.spans)
            ]
            self._match_line = len(lines) + (matching[-1] if matching else 0)
        return lines + answer

    def _write_none(self) -> list[Text]:
        faint = self.palette.faint
        if self.borrowing is None:
            return [Text(sanitise(self.waiting), style=faint)] if self.waiting else []
        if self.subject is not None:
            return [Text("No example of this span is carried.", style=faint)]
        return [Text("No row is near this prompt.", style=faint)]

    def _write_identity(self, source: Source, width: int) -> list[Text]:
        dot = f" {self.signs.dot} "
        tail = ""
        match self.subject:
            case Span() as span:
                head = f"{span.id}: "
                tail = dot + say_count(span.rows if span.all_rows is None else span.all_rows, "row")
            case Paraphrase():
                head = "like: "
            case _:
                head = f"near {self.chosen + 1}: "
        if source.score is not None:
            tail += f"{dot}{source.score:.2f}"
        room = max(1, width - len(head) - len(tail))
        row = cut(source.row, room, self.signs.ellipsis)
        if len(tail) >= width - len(head):  # no room for both on one line
            return wrap_text(Text.assemble((head + cut(source.row, width), self.palette.strong), tail), width, 2)
        return [Text().append(head, self.palette.accent).append(row, self.palette.strong).append(tail)]

    def _write_standing(self, source: Source, width: int) -> list[Text]:
        """Return what kind of source it is, and what a person said of it, in as few lines as hold it."""
        faint, strong = self.palette.faint, self.palette.strong
        parts: list[Text] = []
        match self.subject:
            case Span() as span:
                if span.borrowed:
                    rise = f" {span.rise:+.1f} nats" if span.rise is not None else ""
                    parts.append(Text(f"borrowed{', raised' if span.raised else ''}{rise}", style=strong))
                else:
                    parts.append(Text("verbatim, not counted as borrowed", style=faint))
                if span.boilerplate:
                    parts.append(Text("boilerplate", style=strong))
                check = self.verdicts.check(self.borrowing, span) if self.borrowing is not None else None
                if check is not None:
                    # Most runs have none, and none should wait for what the report needs.
                    from itx.report.checks import say_check

                    parts.append(Text(say_check(check), style=strong))
                verdict = self.verdicts.span(span)
                if verdict is not None:
                    note = self.verdicts.note(span)
                    parts.append(
                        Text(f"marked {verdict}" + (f": {cut(note, width - 24)}" if note else ""), style=strong)
                    )
                judged = self.verdicts.source(span, source.row)
                if judged is not None:
                    parts.append(Text(f"source {judged}", style=strong))
                if source.near:
                    parts.append(Text("near the prompt", style=faint))
            case Paraphrase():
                parts.append(Text("paraphrase: near in meaning, no verbatim source", style=strong))
            case _:
                found = f"found by the {source.query}" if source.query else "nearest the prompt"
                parts.append(Text(found, style=faint))
                for name, score in (("semantic", source.semantic), ("lexical", source.lexical)):
                    if score is not None:
                        parts.append(Text(f"{name} {score:.2f}", style=faint))
        return [line for part in flow(parts, width) for line in wrap_text(part, width, 2)]

    def _write_text(
        self, head: str, text: str, start: int, end: int, width: int, most: int | None, *, whole: bool = True
    ) -> list[Text]:
        """Return a text behind its letter, the match in brackets and reversed; at most so many lines."""
        line = Text().append(head, self.palette.accent)
        dots = "" if whole else self.signs.ellipsis
        line.append(dots, self.palette.faint)
        line.append(self._flat(text[:start].lstrip() if whole else text[:start]))
        if end > start:
            line.append("[" + self._flat(text[start:end]) + "]", self.palette.match)
        line.append(self._flat(text[end:].rstrip()))
        line.append(dots, self.palette.faint)
        lines = wrap_text(line, width, 2)
        if most is None or len(lines) <= most:
            return lines
        last = lines[most - 1]
        last.truncate(max(1, width - 1))
        return [*lines[: most - 1], last.append(self.signs.ellipsis)]

    @staticmethod
    def _flat(text: str) -> str:
        """Return ``text`` safe, with its line ends as signs: the panel is too narrow for a line each."""
        return sanitise(text.replace("\n", " "), keep_newlines=False)
