"""What was borrowed, in Markdown: numbered spans with the rows that have them, controls, cross-tables and marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from itx.borrow.crossing import SHIFTS, CrossTable, count_cells, cross
from itx.borrow.excess import Control, Difference, Excess
from itx.records import Borrowing, Example, Mark, Response, Run, Span, Trace
from itx.report.borrowing import BorrowFigures, BorrowingFigures, say_borrowed, say_controls
from itx.report.escape import code, escape_inline, escape_line, quote, write_table
from itx.report.wording import say_count, say_nats
from itx.text import sanitise

_LISTED = 10
_EXAMPLES = 2
_CONTROLS: dict[Control, str] = {
    "base": "base's own answers, the same rows",
    "control": "rows never tuned on, near the prompt",
    "random": "random rows of the same length",
}
_CLOSING = "`]`"


def write_borrowing(run: Run, trace: Trace, response: Response, borrowing: Borrowing, marks: Sequence[Mark]) -> str:
    """Return the section on one response: its spans and their rows, its controls, its cross-table, its marks."""
    controls = say_controls(borrowing.null)
    parts = [
        f"#### Borrowed wording of {code(response.author)}\n\n",
        f"{say_borrowed(borrowing)} — content, entities and digits that the prompt lacks, whole in rows nearest the "
        f"prompt.{f' Controls: {controls}.' if controls else ''}\n\n",
    ]
    if any(span.borrowed for span in borrowing.spans):
        parts.append(quote(_bracket(response, borrowing)) + "\n")
    parts.extend(_write_span(span, marks) for span in borrowing.spans)
    places = {(span.start, span.end) for span in borrowing.spans}
    parts.extend(write_lone_mark(mark, response) for mark in marks if (mark.start, mark.end) not in places)
    for found in borrowing.paraphrases:
        like = f"{code(found.row)} (cosine {found.score:.2f}): {escape_inline(found.passage)}"
        parts.append(f"- In other words, not counted: {code(found.text)}, as {like}\n\n")
    near = [neighbour for neighbour in borrowing.neighbours if neighbour.query == "prompt"]
    if near:
        rows = ", ".join(f"{code(neighbour.row)} ({neighbour.score:.2f})" for neighbour in near)
        parts.append(f"Rows nearest the prompt: {rows}.\n\n")
    base = run.base.name
    score = response.scores.get(base)
    if score is not None and response.author != base and response.length:
        cells = count_cells(response, score, borrowing, trace.read_pieces(response.author), run.thresholds)
        parts.append(f"{_write_cross(cross(cells))}\n")
    return "".join(parts)


def _bracket(response: Response, borrowing: Borrowing) -> list[str]:
    """Return the response's lines with ``[1 … ]`` around its borrowed spans; of two that overlap the first goes on.

    The brackets are code: that holds beside any character, where emphasis needs a blank (CommonMark 0.31.2, §6.2).
    """
    text = sanitise(response.text)
    written = ""
    place = 0
    for span in sorted((span for span in borrowing.spans if span.borrowed), key=lambda span: span.start):
        start, end = response.span(span.start)[0], response.span(span.end - 1)[1]
        start += len(text[start:end]) - len(text[start:end].lstrip())
        start = max(start, place)
        if start >= end:
            continue
        adjoins = written.endswith(_CLOSING) and start == place
        opening = (
            f"{written.removesuffix(_CLOSING)}`][{span.id}`"
            if adjoins
            else f"{written}{_escape(text[place:start])}`[{span.id}`"
        )
        written = f"{opening} {_escape(text[start:end])} {_CLOSING}"
        place = end
    return (written + _escape(text[place:])).split("\n")


def _escape(text: str) -> str:
    first, *others = text.split("\n")
    return "\n".join([escape_inline(first), *map(escape_line, others)])


def _write_span(span: Span, marks: Sequence[Mark]) -> str:
    facts = [f"positions {span.start} to {span.end - 1}"]
    facts.append(f"borrowed, {say_count(span.rows, 'row')} near the prompt" if span.borrowed else "not borrowed")
    if not span.borrowed:
        facts.append(f"{say_count(span.rows, 'row')} of all")
    if span.rise is not None:
        facts.append(f"rise {say_nats(span.rise)} nats{', raised' if span.raised else ''}")
    if span.boilerplate:
        facts.append("boilerplate")
    own = [mark for mark in marks if (mark.start, mark.end) == (span.start, span.end)]
    facts += [_say_mark(mark) for mark in own if mark.row is None]
    written = f"- **{span.id}** {code(span.text)}: {'; '.join(facts)}\n"
    verdicts = {mark.row: mark for mark in own if mark.row is not None}
    for place, example in enumerate(span.examples):
        verdict = verdicts.pop(example.row, None)
        if place < _EXAMPLES or verdict is not None:
            judged = "" if verdict is None else f" ({_say_mark(verdict)})"
            written += f"  - {code(example.row)}{judged}: {_quote_example(example)}\n"
    written += "".join(f"  - {code(row)} ({_say_mark(mark)})\n" for row, mark in verdicts.items())
    return written + "\n"


def write_lone_mark(mark: Mark, response: Response) -> str:
    """Return a mark of positions that are no span any more: a person's judgement is never left out."""
    end = min(mark.end, len(response.ids))
    said = (
        "" if mark.start >= end else f" {code(response.text[response.span(mark.start)[0] : response.span(end - 1)[1]])}"
    )
    source = "" if mark.row is None else f" as from {code(mark.row)}"
    return f"- Positions {mark.start} to {mark.end - 1}, not a span now:{said}{source} {_say_mark(mark)}\n\n"


def _say_mark(mark: Mark) -> str:
    return f"marked {mark.verdict}" + (f", “{escape_inline(mark.note)}”" if mark.note else "")


def _quote_example(example: Example) -> str:
    before, match, after = (
        escape_inline(part)
        for part in (
            example.text[: example.start],
            example.text[example.start : example.end],
            example.text[example.end :],
        )
    )
    return f"… {before}<b>{match}</b>{after} …" if match else escape_line(example.text)


def _write_cross(table: CrossTable) -> str:
    rows = []
    for shift in SHIFTS:
        row = getattr(table, shift)
        rows.append([shift, f"{row.borrowed:,}", f"{row.other:,}"])
    return write_table(["positions", "of borrowed words", "others"], rows, [1, 2])


def write_borrowing_summary(figures: BorrowingFigures) -> str:
    """Return the section on all prompts: rates and controls, differences, cross-tables, rows and spans."""
    parts = [
        "## Borrowed wording\n\n",
        "Borrowed words per 100 words of content, entities and digits that the prompt lacks; whole in a verbatim span "
        "of the rows nearest the prompt. Intervals (95 %) resample prompts. Retrieved wording is not proof of a "
        "cause.\n\n",
        _write_rates(figures),
        "\n",
        *(_write_model(name, model) for name, model in figures.models.items()),
    ]
    if figures.differences:
        header = ["difference", "against", "prompts", "per 100", "95 %"]
        rows = [_write_difference(difference) for difference in figures.differences]
        parts.append(f"### Two tunings, paired by prompt\n\n{write_table(header, rows, [2, 3])}\n")
    if figures.untraced:
        parts.append(f"{say_count(figures.untraced, 'response')} not traced.\n\n")
    return "".join(parts)


def _write_rates(figures: BorrowingFigures) -> str:
    header = ["model", "words", "borrowed", "raised", "per 100", "control", "prompts", "control per 100"]
    header += ["excess", "95 %", "lift"]
    rows = []
    for name, model in figures.models.items():
        raised = "n/a" if model.raised is None else f"{model.raised:,}"
        own = [
            code(name),
            f"{model.words:,}",
            f"{model.borrowed:,} ({model.distinct:,} different within a response)",
            raised,
        ]
        own.append(_say(model.rate))
        for place, excess in enumerate(model.excess):
            rows.append([*(own if place == 0 else [""] * len(own)), *_write_excess(excess)])
        if not model.excess:
            rows.append([*own, "none", "", "", "", "", ""])
    return write_table(header, rows, [1, 2, 3, 4, 6, 7, 8, 10])


def _write_excess(excess: Excess) -> list[str]:
    lift = "n/a" if excess.lift is None else f"{excess.lift:.1f} ×"
    interval = _say_interval(excess.low, excess.high)
    prompts = f"{excess.prompts:,}"
    return [_CONTROLS[excess.control], prompts, _say(excess.control_rate), _say(excess.excess), interval, lift]


def _write_difference(difference: Difference) -> list[str]:
    against = "rates (and excess over base's answers)"
    if difference.control is not None:
        against = f"excess over {_CONTROLS[difference.control]}"
    return [
        f"{code(difference.first)} − {code(difference.second)}",
        against,
        f"{difference.prompts:,}",
        _say(difference.difference),
        _say_interval(difference.low, difference.high),
    ]


def _write_model(name: str, model: BorrowFigures) -> str:
    parts = []
    if model.table is not None:
        parts.append(f"### {code(name)}: shifted and borrowed\n\n{_write_categories(model)}\n")
    if model.rows and model.raised is not None:
        header = ["row", "borrowed words", "spans", "prompts", "passage"]
        rows = [
            [code(each.row), f"{each.words:,}", f"{each.spans:,}", f"{each.prompts:,}", escape_inline(each.text[:120])]
            for each in model.rows[:_LISTED]
        ]
        parts.append(f"### {code(name)}: rows it borrows from most\n\n{write_table(header, rows, [1, 2, 3])}\n")
    if model.spans:
        header = ["rise in nats", "prompt", "span", "text", "borrowed", "row"]
        rows = [
            [
                say_nats(span.rise),
                code(span.prompt_id),
                str(span.id),
                code(span.text),
                "yes" if span.borrowed else "no",
                "—" if span.row is None else code(span.row),
            ]
            for span in model.spans[:_LISTED]
        ]
        parts.append(f"### {code(name)}: spans that the tuning raised most\n\n{write_table(header, rows, [0, 2])}\n")
    return "".join(parts)


def _write_categories(model: BorrowFigures) -> str:
    header = ["kind of word", *(f"{shift}, {which}" for shift in SHIFTS for which in ("borrowed", "other"))]
    tables: Iterable[tuple[str, CrossTable | None]] = [("all", model.table), *model.categories.items()]
    rows = []
    for name, table in tables:
        if table is not None:
            counts = [getattr(getattr(table, shift), which) for shift in SHIFTS for which in ("borrowed", "other")]
            rows.append([name, *(f"{count:,}" for count in counts)])
    return write_table(header, rows, range(1, len(header)))


def _say(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}".replace("-", "−")


def _say_interval(low: float | None, high: float | None) -> str:
    return "n/a" if low is None or high is None else f"{_say(low)} to {_say(high)}"
