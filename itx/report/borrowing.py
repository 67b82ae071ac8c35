"""What was borrowed over all prompts of a run: figures for ``itx report --json``, from records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

from itx.borrow.crossing import Cell, CrossTable, count_cells, cross
from itx.borrow.excess import CONTROLS, Control, Difference, Excess, Measured, find_difference, find_excess, measure
from itx.borrow.ranking import RankedSpan, RowShare, RowTally, largest, list_ranked
from itx.records import Borrowing, Model, Null, Record, Run, Trace
from itx.report.wording import say_count

Borrowings = Mapping[str, Borrowing]
"""What the responses of one prompt borrowed, by author."""
FindBorrowings = Callable[[Trace], Borrowings]
"""Returns what the responses of a trace borrowed: a recording's ``borrowings_of``."""
LISTED = 20
"""Rows and spans that are listed a model."""


class BorrowFigures(Record, frozen=True, kw_only=True):
    """One model's borrowing over all prompts.

    ``words`` could be borrowed (of content, entities and digits, absent from the prompt), ``borrowed`` are;
    ``distinct`` counts a word once a response. ``raised`` are those in raised spans, None for base, which is nothing's
    tuning. ``rate`` is borrowed words per 100. ``excess`` has one entry a control that the run has. ``table`` counts
    positions without EOS, ``categories`` the same by kind of word; both are empty for base.
    """

    responses: int
    words: int
    borrowed: int
    distinct: int
    raised: int | None
    rate: float | None
    excess: list[Excess]
    table: CrossTable | None
    categories: dict[str, CrossTable]
    rows: list[RowShare]
    spans: list[RankedSpan]


class BorrowingFigures(Record, frozen=True, kw_only=True):
    """``models`` by name, base among them; ``differences`` of each two tuned models; what has no tracing."""

    models: dict[str, BorrowFigures]
    differences: list[Difference]
    untraced: int
    """Responses without a line in ``borrow.jsonl``."""


class _Tally:
    def __init__(self) -> None:
        self.measured: dict[str, Measured] = {}
        self.cells: Counter[Cell] = Counter()
        self.rows = RowTally()
        self.spans: list[RankedSpan] = []

    def close(self, is_base: bool) -> BorrowFigures:
        words = sum(int(each.own.words) for each in self.measured.values())
        borrowed = sum(int(each.own.borrowed) for each in self.measured.values())
        found = (find_excess(self.measured, control) for control in CONTROLS)
        kinds = sorted({category for category, _, _ in self.cells})
        return BorrowFigures(
            responses=len(self.measured),
            words=words,
            borrowed=borrowed,
            distinct=sum(each.distinct for each in self.measured.values()),
            raised=None if is_base else sum(each.raised for each in self.measured.values()),
            rate=100 * borrowed / words if words else None,
            excess=[excess for excess in found if excess is not None],
            table=cross(self.cells) if self.cells else None,
            categories={category: cross(self.cells, category) for category in kinds},
            rows=self.rows.first(LISTED),
            spans=self.spans,
        )


def summarise_borrowing(run: Run, traced: Iterable[tuple[Trace, Borrowings]]) -> BorrowingFigures | None:
    """Return the figures, or None where nothing was traced; failed prompts take no part, and no trace is kept."""
    base = run.base.name
    tallies = {model.name: _Tally() for model in [run.base, *run.tuned]}
    untraced = 0
    for trace, borrowings in traced:
        if trace.error is not None:
            continue
        for response in trace.responses:
            borrowing = borrowings.get(response.author)
            if borrowing is None:
                untraced += 1
                continue
            tally = tallies[response.author]
            tally.measured[trace.prompt_id] = measure(borrowing)
            tally.rows.add(borrowing)
            tally.spans = largest([*tally.spans, *list_ranked(borrowing)], LISTED)
            score = response.scores.get(base)
            if score is not None and response.author != base:
                tally.cells += count_cells(
                    response, score, borrowing, trace.read_pieces(response.author), run.thresholds
                )
    models = {name: tally for name, tally in tallies.items() if tally.measured}
    if not models:
        return None
    against: tuple[Control | None, ...] = (None, "control", "random")
    found = (
        find_difference(
            (first.name, tallies[first.name].measured), (second.name, tallies[second.name].measured), control
        )
        for first, second in _pair(run.tuned)
        for control in against
    )
    return BorrowingFigures(
        models={name: tally.close(name == base) for name, tally in models.items()},
        differences=[difference for difference in found if difference is not None],
        untraced=untraced,
    )


def _pair(models: list[Model]) -> list[tuple[Model, Model]]:
    """Return every two models; one that was tuned in full comes before a LoRA, else the run's order stands."""
    ordered = sorted(models, key=lambda model: model.method == "lora")
    return list(combinations(ordered, 2))


def say_borrowed(borrowing: Borrowing) -> str:
    """Return ``9 of 40 words borrowed (8 different, 5 in raised spans)``."""
    said = f"{borrowing.borrowed:,} of {say_count(borrowing.candidates, 'word')} borrowed"
    if not borrowing.borrowed:
        return said
    scored = any(span.rise is not None for span in borrowing.spans)
    raised = f", {borrowing.raised:,} in raised spans" if scored else ""
    return f"{said} ({borrowing.distinct:,} different{raised})"


def say_controls(null: Null) -> str:
    """Return what the controls of one response count; nothing where it has none."""
    counts = [
        ("base's own answer, the same rows", null.base),
        ("rows never tuned on", null.control),
        (f"random rows ({null.draws} draws)", null.random),
    ]
    return "; ".join(f"{name} {count.borrowed:.3g} of {count.words:,}" for name, count in counts if count is not None)
