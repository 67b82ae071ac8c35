"""The pages of the report screen that are about words: pattern copying, and what was borrowed from the tuning data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text

from itx.borrow.excess import Excess
from itx.records import Run
from itx.report.borrowing import BorrowFigures, BorrowingFigures
from itx.report.checks import say_drops, say_finding, say_log, say_masked
from itx.report.study import AuthorPatterns, DataPatterns, Estimate, Lengths, Patterns, Phrase, Study
from itx.report.wording import ABSENT, say_count
from itx.text import sanitise
from itx.tui.plotting import Writer
from itx.tui.shape import WIDE
from itx.tui.wording import cut, one_line, wrap_text

if TYPE_CHECKING:
    from itx.report.claims import Claims

PHRASES = 6
ROWS = 8
_VERDICTS = {"does not hold": "alert", "not enough data": "faint", "holds": "strong"}
"""By verdict, the palette's style of it; the words say the same."""
CONTROLS = {"base": "base's own answers", "control": "rows never tuned on", "random": "random rows"}


# Pattern copying


def write_patterns(study: Study, writer: Writer, width: int) -> list[Text]:
    """Return lengths and layout of the responses beside the tuning data's, then how they begin and end."""
    patterns = study.patterns
    remark = "responses that end by EOS; median, and 10th to 90th percentile"
    lines = [writer.heading("Lengths in words", remark, width), *_write_lengths(patterns, writer, width), Text()]
    lines += [writer.heading("Layout", "shares of responses", width), *_write_layout(patterns, writer, width), Text()]
    if patterns.missing:
        said = f"Not compared with the tuning data: {patterns.missing.rstrip('.')}."
        lines += [*wrap_text(Text(one_line(said), style=writer.palette.faint), width), Text()]
    for name, found in patterns.models.items():
        lines += [writer.heading(one_line(name), say_count(found.responses, "response"), width)]
        lines += [*_write_phrases(found, patterns.data is not None, writer, width), Text()]
    return lines


def _say_lengths(lengths: Lengths, writer: Writer) -> list[Text]:
    figures = [lengths.mean, lengths.median]
    cells = [Text(ABSENT if value is None else f"{value:,.0f}") for value in figures]
    spread = ABSENT if lengths.low is None or lengths.high is None else f"{lengths.low:,.0f} to {lengths.high:,.0f}"
    return [Text(f"{lengths.count:,}"), *cells, Text(spread, style=writer.palette.faint)]


def _write_lengths(patterns: Patterns, writer: Writer, width: int) -> list[Text]:
    strong, blank = writer.palette.strong, Text()
    head = ["", "ended", "mean", "median", "10 to 90 %", "not ended, so not known"]
    rows = [
        [Text(one_line(name), style=strong), *_say_lengths(found.words, writer), writer.share(found.censored)]
        for name, found in patterns.models.items()
    ]
    if patterns.data is not None:
        rows.append([Text("tuning data", style=strong), *_say_lengths(patterns.data.words, writer), blank])
    return writer.table(head, rows, width, [0, 4, 3, 0, 1, 2], least=12)


def _write_layout(patterns: Patterns, writer: Writer, width: int) -> list[Text]:
    def share(value: float | None) -> Text:
        return Text(ABSENT if value is None else f"{100 * value:.1f} %")

    def optional(estimate: Estimate | None) -> Text:
        return Text(ABSENT, style=writer.palette.faint) if estimate is None else writer.share(estimate)

    head = ["", "lists", "Markdown", "begins as a row does", "ends as a row does"]
    rows = [
        [
            Text(one_line(name), style=writer.palette.strong),
            writer.share(found.lists),
            writer.share(found.markdown),
            optional(found.opening_copied),
            optional(found.closing_copied),
        ]
        for name, found in patterns.models.items()
    ]
    data: DataPatterns | None = patterns.data
    if data is not None:
        name = Text("tuning data", style=writer.palette.strong)
        rows.append([name, share(data.lists), share(data.markdown), Text(), Text()])
    return writer.table(head, rows, width, [0, 0, 1, 2, 3], least=12)


def _write_phrases(found: AuthorPatterns, with_rows: bool, writer: Writer, width: int) -> list[Text]:
    blocks = [("begins", found.openings), ("ends", found.closings), ("repeats", found.boilerplate)]
    if width < WIDE:
        return [line for title, phrases in blocks for line in _list_phrases(title, phrases, with_rows, writer, width)]
    room = width - 8
    widths = [room // 4, room // 4, room - 2 * (room // 4)]  # what is repeated is longest
    listed = [
        _list_phrases(title, phrases, with_rows, writer, each)
        for (title, phrases), each in zip(blocks, widths, strict=True)
    ]
    return writer.beside(listed, widths)


def _list_phrases(title: str, phrases: Sequence[Phrase], with_rows: bool, writer: Writer, width: int) -> list[Text]:
    if not phrases:
        return [Text(f"{title}: nothing twice", style=writer.palette.faint)]
    head = [title, "texts", *(["rows"] if with_rows else [])]
    rows = [
        [
            Text(one_line(phrase.text)),
            Text(f"{phrase.responses:,}"),
            *([Text("" if phrase.rows is None else f"{phrase.rows:,}")] if with_rows else []),
        ]
        for phrase in phrases[:PHRASES]
    ]
    return writer.table(head, rows, width, least=8)


# Borrowing


def write_borrowing(study: Study, writer: Writer, width: int) -> list[Text]:
    """Return each model's borrowed words beyond each control, the models' differences, and the rows and spans."""
    figures = study.borrowing
    if figures is None:
        said = "No response was traced in tuning data: itx run --data DATA, or itx open RUN --data DATA, does."
        return wrap_text(Text(said, style=writer.palette.faint), width)
    lines = [writer.heading("Borrowed words", "per 100 words that could be: ungated, beyond a control", width)]
    lines += [*_write_rates(figures, writer, width), Text()]
    differences = [each for each in figures.differences if each.difference is not None]
    if differences:
        rows = [
            [
                Text.assemble(
                    (one_line(f"{each.first} minus {each.second}"), writer.palette.strong),
                    ("" if each.control is None else f", beyond {CONTROLS[each.control]}", writer.palette.faint),
                ),
                Text(f"{each.prompts:,}"),
                _say_interval(each.difference, each.low, each.high, writer),
            ]
            for each in differences
        ]
        lines.append(writer.heading("Between models", "per 100 words, paired by prompt", width))
        lines += [*writer.table(["", "prompts", "difference"], rows, width, [0, 1, 0], least=18), Text()]
    if figures.untraced:
        said = f"{say_count(figures.untraced, 'response')} not traced."
        lines += [Text(said, style=writer.palette.faint), Text()]
    for name, model in figures.models.items():
        lines += _write_model(name, model, writer, width)
    return [*lines, *_write_checks(study, writer, width)]


def _write_checks(study: Study, writer: Writer, width: int) -> list[Text]:
    """Return what ``itx verify`` found of spans: nats that masking took from each, its rows' and random ones'."""
    if not study.checks:
        return []
    head = ["span", "finding", "nats lost", "random rows", "rows", "prompt"]
    rows = [
        [
            Text(one_line(f"{check.author} [{check.span}] {check.text}"), style=writer.palette.strong),
            Text(say_finding(caused=check.caused), style=writer.palette.alert if check.caused else ""),
            Text(say_log(check.drop)),
            Text(say_drops(check.control_drops), style=writer.palette.faint),
            Text(say_masked(check)),
            Text(cut(one_line(check.prompt_id), 24, writer.signs.ellipsis), style=writer.palette.faint),
        ]
        for check in study.checks
    ]
    remark = "retuned without its rows, and without as many random ones"
    lines = [writer.heading("Causal checks", remark, width)]
    return [*lines, *writer.table(head, rows, width, [0, 0, 1, 2, 3, 4], least=24), Text()]


def _say_interval(value: float | None, low: float | None, high: float | None, writer: Writer) -> Text:
    if value is None:
        return Text(ABSENT, style=writer.palette.faint)
    text = Text().append(f"{value:+6.2f}", writer.palette.strong)
    if low is not None and high is not None:
        text.append(f" [{low:+6.2f}, {high:+6.2f}]", writer.palette.faint)
    return text


def _write_rates(figures: BorrowingFigures, writer: Writer, width: int) -> list[Text]:
    head = ["model, beyond", "words", "borrowed", "per 100", "control", "excess", "lift"]
    rows: list[list[Text]] = []
    for name, model in figures.models.items():
        own = [Text(f"{model.words:,}"), Text(f"{model.borrowed:,}"), _say_rate(model.rate)]
        rows.append([Text(one_line(name), style=writer.palette.strong), *own, Text(), Text(), Text()])
        rows += [_write_excess(excess, writer) for excess in model.excess]
    return writer.table(head, rows, width, [0, 4, 3, 0, 2, 0, 1], least=22)


def _say_rate(rate: float | None) -> Text:
    return Text(ABSENT if rate is None else f"{rate:.2f}")


def _write_excess(excess: Excess, writer: Writer) -> list[Text]:
    return [
        Text(f"  {CONTROLS[excess.control]}", style=writer.palette.faint),
        Text(),
        Text(),
        _say_rate(excess.rate),
        _say_rate(excess.control_rate),
        _say_interval(excess.excess, excess.low, excess.high, writer),
        Text(ABSENT if excess.lift is None else f"{excess.lift:.1f}"),
    ]


def _write_model(name: str, model: BorrowFigures, writer: Writer, width: int) -> list[Text]:
    """Return the rows that a model borrows from most, and the spans that its tuning raised most."""
    lines: list[Text] = []
    if model.rows:
        lines.append(writer.heading(f"Rows that {one_line(name)} borrows from most", "", width))
        head = ["row", "words", "prompts", "passage"]
        room = max(16, width - 44)
        rows = [
            [
                Text(one_line(row.row)),
                Text(f"{row.words:,}"),
                Text(f"{row.prompts:,}"),
                writer.fit(
                    Text(cut(one_line(row.text), room, writer.signs.ellipsis), style=writer.palette.faint), room
                ),
            ]
            for row in model.rows[:ROWS]
        ]
        head[-1] = head[-1].ljust(room)
        lines += [*writer.table(head, rows, width, [0, 0, 1, 0], least=12), Text()]
    spans = [span for span in model.spans if span.borrowed][:ROWS]
    if spans:
        lines.append(
            writer.heading(f"Borrowed spans that {one_line(name)} raised most", "nats, author minus base", width)
        )
        room = max(16, width - 26)
        lines += [
            Text.assemble(
                (f"{span.rise:+7.1f}  ", writer.palette.strong),
                (writer.fit(Text(one_line(span.text)), room)),
                (f"  {cut(one_line(span.prompt_id), 14)}", writer.palette.faint),
            )
            for span in spans
        ]
        lines.append(Text())
    return lines


# The paper's statements


def write_statements(run: Run | None, claims: Claims | None, writer: Writer, width: int) -> list[Text]:
    """Return the paper's statements as ``itx claims`` prints them: each stands out, and so does its verdict."""
    if run is None or claims is None:
        return [Text("Being measured.", style=writer.palette.faint)]
    from itx.report.verdicts import write_claims  # it measures with numpy, which opening a run does without

    lines = []
    statements = {claim.statement for claim in claims.claims}
    for said in write_claims(run, claims, width).splitlines():
        line = Text(sanitise(said, keep_newlines=False))
        if said in statements or any(statement.startswith(said[:-1]) and said for statement in statements):
            line.stylize(writer.palette.accent + Style(bold=True))
        for verdict, style in _VERDICTS.items():
            if said.endswith(f"  {verdict}"):
                line.stylize(getattr(writer.palette, style), len(said) - len(verdict))
                break
        lines.append(line)
    return lines
