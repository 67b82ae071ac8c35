"""A person's marks: written to the run at once, and known to the screen once they are there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from itx.records import Mark, Verdict

if TYPE_CHECKING:
    from itx.runs.marks import MarkBook


class Judged(Protocol):
    """What is judged: positions ``start`` to ``end`` of a response (end exclusive)."""

    @property
    def start(self) -> int:
        """The first position."""
        ...

    @property
    def end(self) -> int:
        """The position behind the last."""
        ...


class Judgements:
    """The marks of a run's folder. The file is read when a mark is first asked for."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._book: MarkBook | None = None

    def read(self) -> None:
        """Read what is there. Raises RunError for a line that cannot be used; then no mark is known."""
        if self.folder is not None and self._book is None and (self.folder / "marks.jsonl").exists():
            self._book = self._open(self.folder)

    @staticmethod
    def _open(folder: Path) -> MarkBook:
        from itx.runs.marks import MarkBook

        return MarkBook(folder)

    def find(self, prompt_id: str, author: str, judged: Judged, row: str | None = None) -> Mark | None:
        """Return the mark of a span, or with ``row`` of a source of it; None where there is none."""
        if self._book is None:
            return None
        return self._book.verdict(prompt_id, author, judged.start, judged.end, row)

    def of(self, prompt_id: str) -> list[Mark]:
        """Return the marks that stand of a prompt's responses, in the order in which they were made."""
        return [mark for mark in self._book.marks if mark.prompt_id == prompt_id] if self._book is not None else []

    def add(
        self, prompt_id: str, author: str, judged: Judged, verdict: Verdict, row: str | None = None, note: str = ""
    ) -> None:
        """Record a mark. Raises RunError where that fails; then the mark is not known either."""
        if self.folder is None:
            return
        if self._book is None:
            self._book = self._open(self.folder)
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        start, end = judged.start, judged.end
        self._book.add(
            Mark(
                time=time,
                prompt_id=prompt_id,
                author=author,
                start=start,
                end=end,
                verdict=verdict,
                row=row,
                note=note,
            )
        )

    def close(self) -> None:
        """Let go of the file."""
        if self._book is not None:
            self._book.close()
