"""What the library lists, as columns: how a run and a prompt are said, sorted and filtered. Nothing here draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from rich.cells import cell_len

from itx.records import Run
from itx.report.catalogue import PromptFigures, Tally, add
from itx.report.wording import say_nats
from itx.tui.librarian import Shelved

Row = TypeVar("Row")
Value = float | str | None
GAP = 2


@dataclass(frozen=True)
class RunRow:
    """A run with the sums over its prompts; None while they are not counted."""

    shelved: Shelved
    tally: Tally | None

    @classmethod
    def of(cls, shelved: Shelved) -> RunRow:
        """Return the row of a run."""
        return cls(shelved, shelved.figures.tally() if shelved.figures is not None else None)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.shelved.folder.resolve().name

    @property
    def date(self) -> str:
        """When it was made, in Coordinated Universal Time, as far as it says."""
        run = self.shelved.run
        if run is not None and len(run.created) >= 16:
            return run.created[:16].replace("T", " ")
        return datetime.fromtimestamp(self.shelved.changed, UTC).strftime("%Y-%m-%d %H:%M")

    @property
    def models(self) -> str:
        """The models' names, the base's left out where it is called base."""
        return name_models(self.shelved.run) if self.shelved.run is not None else ""


@dataclass(frozen=True)
class PromptRow:
    """A prompt with the sums over the responses that count."""

    number: int
    figures: PromptFigures
    tally: Tally

    @classmethod
    def of(cls, number: int, figures: PromptFigures, model: str | None) -> PromptRow:
        """Return the row of the prompt that was asked as the ``number``-th (from 1): of one model, or of all."""
        return cls(number, figures, add(found for name, found in figures.models.items() if model in (None, name)))


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A figure of the rows. ``value`` sorts; None comes last. Of too many columns those of the highest rank go."""

    name: str
    width: int
    """Cells; of a column that takes what is left over, the least."""
    value: Callable[[Row], Value]
    say: Callable[[Row], str]
    rank: int
    share: int = 0
    """How large a part of what is left over it takes; then it is a text, on the left."""
    down: bool = True
    """Whether the largest come first unless the order is reversed."""


def name_models(run: Run) -> str:
    """Return ``lora, full``."""
    return ", ".join(model.name for model in run.tuned)


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _rise(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"


def _nats(tally: Tally | None) -> str:
    return "" if tally is None or tally.kl_mean is None else say_nats(tally.kl_mean, tally.exact)


def _some(count: int) -> str:
    """Return a count; of none, nothing: what is rare must be seen."""
    return f"{count:,}" if count else ""


def _of(row: RunRow, find: Callable[[Tally], Value]) -> Value:
    return find(row.tally) if row.tally is not None else None


def _count(row: RunRow, what: str) -> int | None:
    figures = row.shelved.figures
    if figures is None:
        return None
    return {"prompts": len(figures.prompts), "failed": figures.failed, "marks": figures.marks}[what]


RUN_COLUMNS: tuple[Column[RunRow], ...] = (
    Column("run", 20, lambda row: row.name.casefold(), lambda row: row.name, 0, share=3, down=False),
    Column("tuned", 11, lambda row: row.models.casefold(), lambda row: row.models, 7, share=2, down=False),
    Column("date", 10, lambda row: row.date, lambda row: row.date[:10], 4),
    Column("prompts", 8, lambda row: _count(row, "prompts"), lambda row: f"{_count(row, 'prompts') or 0:,}", 3),
    Column(
        "shifted",
        8,
        lambda row: _of(row, lambda tally: tally.shifted_share),
        lambda row: _share(row.tally.shifted_share if row.tally is not None else None),
        1,
    ),
    Column("mean KL", 8, lambda row: _of(row, lambda tally: tally.kl_mean), lambda row: _nats(row.tally), 2),
    Column(
        "borrowed",
        9,
        lambda row: _of(row, lambda tally: tally.borrowed_share),
        lambda row: _share(row.tally.borrowed_share if row.tally is not None else None),
        5,
    ),
    Column("failed", 7, lambda row: _count(row, "failed"), lambda row: _some(_count(row, "failed") or 0), 6),
    Column("marks", 6, lambda row: _count(row, "marks"), lambda row: _some(_count(row, "marks") or 0), 8),
)

PROMPT_COLUMNS: tuple[Column[PromptRow], ...] = (
    Column("#", 4, lambda row: row.number, lambda row: f"{row.number:,}", 0, down=False),
    Column(
        "prompt",
        30,
        lambda row: row.figures.prompt.casefold(),
        lambda row: row.figures.prompt,
        0,
        share=1,
        down=False,
    ),
    Column("shifted", 8, lambda row: row.tally.shifted_share, lambda row: _share(row.tally.shifted_share), 1),
    Column("mean KL", 8, lambda row: row.tally.kl_mean, lambda row: _nats(row.tally), 2),
    Column("largest rise", 13, lambda row: row.tally.rise, lambda row: _rise(row.tally.rise), 4),
    Column(
        "borrowed",
        9,
        lambda row: row.tally.borrowed if row.tally.traced else None,
        lambda row: _some(row.tally.borrowed),
        3,
    ),
    Column(
        "tokens",
        7,
        lambda row: row.tally.length_mean,
        lambda row: "" if row.tally.length_mean is None else f"{row.tally.length_mean:.0f}",
        5,
    ),
    Column("marks", 6, lambda row: row.figures.marks, lambda row: _some(row.figures.marks), 6),
)


def arrange(rows: Sequence[Row], column: Column[Row], *, reverse: bool) -> list[Row]:
    """Return rows in the order of a column; those without the figure last, equal ones as they came."""
    down = column.down != reverse
    known = [row for row in rows if column.value(row) is not None]
    rest = [row for row in rows if column.value(row) is None]

    def key(row: Row) -> tuple[float, str]:
        value = column.value(row)
        return (0.0, value) if isinstance(value, str) else (value or 0.0, "")

    return [*sorted(known, key=key, reverse=down), *rest]


def fit_columns(columns: Sequence[Column[Row]], sorting: int, width: int) -> list[tuple[int, int]]:
    """Return (index, cells) of the columns that fit; the one that sorts always stays, and text takes what is left."""
    kept = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[index].width for index in kept) + GAP * max(0, len(kept) - 1)

    while needed() > width:
        spare = [index for index in kept if index != sorting and columns[index].rank]
        if not spare:
            break
        kept.remove(max(spare, key=lambda index: columns[index].rank))
    left = max(0, width - needed())
    shares = sum(columns[index].share for index in kept)
    found = []
    for index in kept:
        column = columns[index]
        extra = left * column.share // shares if column.share else 0
        found.append((index, column.width + extra))
    return found


def matches(query: str, *texts: str) -> bool:
    """Return True where every word of ``query`` occurs in the texts, whatever the case."""
    whole = " ".join(texts).casefold()
    return all(word in whole for word in query.casefold().split())


def fit_name(column: Column[Row], width: int) -> str:
    """Return a column's name in so many cells, on the side its figures stand on."""
    name = column.name if cell_len(column.name) <= width else column.name[:width]
    return name.ljust(width) if column.share else name.rjust(width)
