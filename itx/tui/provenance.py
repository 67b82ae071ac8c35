"""What a session knows of where words come from: borrowings, marks, and the tuning data or the rows carried of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from itx.errors import ItxError
from itx.records import Borrowing, Mark, Span, Trace, Verdict
from itx.tui.carried import CarriedRows
from itx.tui.checks import Checks
from itx.tui.growing import Growing
from itx.tui.judging import Judgements
from itx.tui.survey import Survey
from itx.tui.tracer import NotWritten, Sketched, Traced, TraceFailed, TracingNote
from itx.tui.tracing import Tracing

if TYPE_CHECKING:
    from itx.runs.verifications import Verification

Reader = Callable[[str, str], "Borrowing | None"]
"""Returns what is on disk of a prompt and an author. Raises ItxError."""
REST_SECONDS = 0.002
"""Between two prompts that are read in the background, so that keys stay quick."""

KEPT = 64
"""Borrowings that are kept in memory where they can be read again."""


class Provenance:
    """Borrowings by prompt and author, read from disk or traced now; asked on the screen's thread."""

    def __init__(
        self,
        folder: Path | None = None,
        tracing: Tracing | None = None,
        read: Reader | None = None,
        *,
        expected: bool = False,
    ) -> None:
        """``expected``: the run names tuning data, so that borrowings may yet be written."""
        self.tracing = tracing
        self.judgements = Judgements(folder)
        self.checks = Checks(folder)
        self.survey = Survey()
        self.carried = CarriedRows()
        self.problems: deque[tuple[str, ItxError]] = deque()
        """What could not be read, with a title, to be said once."""
        self._read = read
        self._known: dict[tuple[str, str], Borrowing | None] = {}
        self._asked: set[str] = set()
        """Prompts whose finished answers were given to tracing, or are not to be."""
        self._near: set[str] = set()
        """Prompts that rows were sought for as they were asked."""
        self._sketches: dict[tuple[str, str], Borrowing] = {}
        """Of responses that are not traced yet; without an author, of a prompt that was just asked."""
        self._failed: dict[tuple[str, str], str] = {}
        """Why a response could not be traced."""
        self._recorded = expected or (folder is not None and (folder / "borrow.jsonl").exists())
        self._reading: threading.Thread | None = None
        self._closing = threading.Event()
        try:
            self.judgements.read()
        except ItxError as error:
            self.problems.append(("The marks could not be read", error))

    @property
    def has_data(self) -> bool:
        """Whether anything is known of the tuning data, or will be."""
        return self.tracing is not None or self._recorded

    @property
    def searchable(self) -> bool:
        """Whether the tuning data itself can be searched, now or once it is read; else the rows carried."""
        return self.tracing is not None and self.tracing.able

    def read_from(self, read: Reader) -> None:
        """Read from disk what is not known yet, from now on."""
        self._read = read
        self._known = {key: found for key, found in self._known.items() if found is not None}

    def find(self, prompt_id: str, author: str) -> Borrowing | None:
        """Return what a response borrowed; None where it is not traced, or its line cannot be used."""
        key = prompt_id, author
        if key not in self._known:
            found: Borrowing | None = None
            if self._read is not None and self.has_data:
                try:
                    found = self._read(prompt_id, author)
                except ItxError as error:
                    self.problems.append(("What was borrowed could not be read", error))
            if self._read is not None and len(self._known) >= KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[key] = found
            if found is not None:
                self._take(found)
        return self._known[key]

    def look_up(self, prompt_id: str, author: str) -> tuple[Borrowing | None, bool]:
        """Return what is known of a response, and whether that is all: else it is a sketch, or rows near its prompt."""
        found = self.find(prompt_id, author)
        if found is not None:
            return found, True
        return self._sketches.get((prompt_id, author)) or self._sketches.get((prompt_id, "")), False

    def findings(self, trace: Trace) -> tuple[dict[str, Borrowing], list[Mark]]:
        """Return what is known of a trace's responses, by author, and a person's marks on them."""
        found = {response.author: self.find(trace.prompt_id, response.author) for response in trace.responses}
        known = {author: borrowing for author, borrowing in found.items() if borrowing is not None}
        return known, self.judgements.of(trace.prompt_id)

    def want(self, trace: Trace | None) -> None:
        """Look again for what was not known of a trace; have it traced, once, where it can be and was not."""
        if trace is None:
            return
        for response in trace.responses if self._read is not None else ():
            key = trace.prompt_id, response.author
            if key in self._known and self._known[key] is None:
                del self._known[key]
        if self.tracing is None or trace.prompt_id in self._asked:
            return
        self._asked.add(trace.prompt_id)
        if any(self.find(trace.prompt_id, response.author) is None for response in trace.responses):
            self.tracing.trace(trace)

    # Any thread may call these; they do not wait

    def find_near(self, question: Trace) -> None:
        """Have the rows found that are near a prompt that was just asked."""
        if self.tracing is not None and question.prompt_id not in self._near:
            self._near.add(question.prompt_id)
            self.tracing.find_near(question)

    def follow(self, growing: Growing) -> None:
        """Have the answers to a prompt traced while they are written."""
        self.find_near(growing.question)
        if self.tracing is not None:
            self.tracing.follow(growing)

    def trace(self, trace: Trace) -> None:
        """Have a trace that was just made traced; of one that failed, forget what was traced as it was written."""
        if trace.error is not None:
            self.forget(trace.prompt_id)
        self._asked.add(trace.prompt_id)
        if self.tracing is not None:
            self.tracing.trace(trace)

    def forget(self, prompt_id: str) -> None:
        """Trace a prompt's answers no more, and show nothing of them: it failed."""
        self._asked.add(prompt_id)
        if self.tracing is not None:
            self.tracing.follow(None)
        for key in [key for key in list(self._sketches) if key[0] == prompt_id]:
            self._sketches.pop(key, None)

    # On the screen's thread

    def take(self) -> TracingNote | None:
        """Take in the next thing that tracing tells; None where there is none."""
        note = self.tracing.take() if self.tracing is not None else None
        match note:
            case Traced(borrowing):
                key = borrowing.prompt_id, borrowing.author
                self._known[key] = borrowing
                self._failed.pop(key, None)
                self._drop_sketches(*key)
                self._take(borrowing)
            case Sketched(borrowing):
                # What is finished has been traced, or is about to be.
                if borrowing.prompt_id not in self._asked:
                    self._sketches[borrowing.prompt_id, borrowing.author] = borrowing
            case TraceFailed(prompt_id, author, error):
                self._drop_sketches(prompt_id, author)
                if self._failed.get((prompt_id, author)) != error.cause:
                    self._failed[prompt_id, author] = error.cause
                    what = f"{author}'s answer to prompt {prompt_id}" if author else f"Rows near prompt {prompt_id}"
                    self.problems.append((f"{what} could not be {'traced' if author else 'found'}", error))
            case NotWritten(prompt_id, author, error):
                self.problems.append((f"What {author} borrowed for prompt {prompt_id} is not on disk", error))
        return note

    def _drop_sketches(self, prompt_id: str, author: str) -> None:
        for whose in (author, ""):
            self._sketches.pop((prompt_id, whose), None)

    def _take(self, borrowing: Borrowing) -> None:
        self.survey.take_borrowing(borrowing)
        self.carried.take(borrowing)

    def say_waiting(self, prompt_id: str, author: str, trace: Trace | None) -> str:
        """Return why nothing is known of a response: what is being done, or what keeps it from being done."""
        if self.tracing is None:
            return "This response was not traced."
        if trace is not None and trace.error is not None:
            return "What a failed prompt left is not traced."
        if (prompt_id, author) in self._failed:
            return f"This response could not be traced: {self._failed[prompt_id, author]}"
        if said := self.tracing.say():
            return said
        return "Being traced." if trace is not None else "Traced as it is written."

    def judge(self, prompt_id: str, author: str) -> Callable[[Span], Verdict | None]:
        """Return what says a person's verdict on the spans of a response."""

        def judge(span: Span) -> Verdict | None:
            mark = self.judgements.find(prompt_id, author, span)
            return mark.verdict if mark is not None else None

        return judge

    def check(self, borrowing: Borrowing, span: Span) -> Verification | None:
        """Return what ``itx verify`` found of a span; None where it was not checked, or its line cannot be used."""
        try:
            return self.checks.find(borrowing, span)
        except ItxError as error:
            self.problems.append(("What was checked could not be read", error))
            return None

    # In the background

    def read_all(
        self,
        traces: Callable[[], Iterator[Trace]],
        borrowings_of: Callable[[Trace], dict[str, Borrowing]],
        base: str,
    ) -> None:
        """Begin to read every trace and borrowing of a recorded run, once: for totals, sorting and search."""
        if self._reading is None:
            self._reading = threading.Thread(
                target=self._read_all, args=(traces, borrowings_of, base), name="itx-survey", daemon=True
            )
            self._reading.start()

    @property
    def is_reading(self) -> bool:
        """Whether that goes on."""
        return self._reading is not None and self._reading.is_alive()

    @property
    def has_read(self) -> bool:
        """Whether that was begun."""
        return self._reading is not None

    def _read_all(
        self,
        traces: Callable[[], Iterator[Trace]],
        borrowings_of: Callable[[Trace], dict[str, Borrowing]],
        base: str,
    ) -> None:
        try:
            for trace in traces():
                self.survey.take_trace(trace, base)
                for borrowing in borrowings_of(trace).values() if self._recorded else ():
                    self._take(borrowing)
                if self._closing.wait(REST_SECONDS):
                    return
        except ItxError as error:
            self.problems.append(("Not all of the run could be read", error))

    def close(self, seconds: float = 0.0) -> None:
        """End what goes on; what is queued to be traced gets so many seconds."""
        self._closing.set()
        if self.tracing is not None:
            self.tracing.close(seconds)
        self.judgements.close()
