"""The findings of one prompt as plain text, for pipes and terminals without styles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from itx.records import Borrowing, CommonSpan, Response, Run, Score, Trace
from itx.report.borrowing import Borrowings, say_borrowed, say_controls
from itx.report.cells import cut, measure, pad, wrap
from itx.report.curve import sparkline
from itx.report.figures import count_classes, order_pairs, order_responses
from itx.report.marks import BLANK, LINE_FEED, Stretch, mark_lines
from itx.report.spans import (
    LISTED,
    average_outside,
    describe_spans,
    largest_spans,
    measure_rise,
    read_span,
    say_outside,
    say_tokens,
)
from itx.report.wording import say_count, say_ending, say_nats, say_probability, say_rank, say_share
from itx.text import sanitise

NARROWEST = 40
_NARROWEST_COLUMN = 4
_SHIFTED = [("{", "}"), ("[[", "]]"), ("{{", "}}"), ("<<", ">>")]
_MARGINAL = [("_", "_"), ("~", "~"), ("^", "^"), ("__", "__")]
_ASCII = str.maketrans(
    {LINE_FEED: "<nl>", BLANK: "<sp>", "⇄": "<->", "‖": "||", "≥": ">=", "…": "...", "–": "-", "—": "-", "␊": "<nl>"}
    | {"’": "'", "‘": "'", "“": '"', "”": '"', "␉": "<tab>", "␛": "<esc>"}
)
Marks = dict[str, tuple[str, str]]


def write_plain(
    run: Run, trace: Trace, width: int = 80, ascii_only: bool = False, borrowings: Borrowings | None = None
) -> str:
    """Return the prompt, every response with marks, the shifted tokens, the KL curve and the borrowed wording.

    No line is wider than ``width`` cells (at least 40). The marks are signs that occur in none of the responses, where
    there are such. With ``ascii_only`` what has no ASCII sign is written as an escape.
    """
    page = _Page(max(width, NARROWEST), ascii_only)
    page.add(f"Prompt {sanitise(trace.prompt_id, keep_newlines=False)}")
    page.add_text(trace.prompt)
    if trace.reference is not None:
        page.add("Known answer")
        page.add_text(trace.reference)
    if trace.error is not None:
        page.add("This prompt failed")
        page.add_text(trace.error)
    marks = _choose_marks(trace)
    for response in order_responses(run, trace):
        scorers = order_pairs(run, response)
        origin = " (given text)" if response.given else ""
        for scorer in scorers:
            _add_pair(page, run, trace, response, scorer, marks)
        if not scorers:
            page.add("")
            page.add(f"{response.author} answered; nobody scored it{origin}")
            _add_response(page, run, trace, response, None, marks)
        borrowing = (borrowings or {}).get(response.author)
        if borrowing is not None:
            _add_borrowing(page, borrowing)
    if trace.responses:
        page.add("")
        bounds = run.thresholds
        (left, right), (low, high) = marks["shifted"], marks["marginal"]
        page.add(
            f"By the scorer's rank of each token: {left}shifted{right} {bounds.marginal + 1} or worse, "
            f"{low}marginal{high} {bounds.unshifted + 1} to {bounds.marginal}, unmarked better. "
            "KL in nats. EOS is shown, not counted."
        )
    return page.text


class _Page:
    """Lines within a width."""

    def __init__(self, width: int, ascii_only: bool) -> None:
        self.width = width
        self.ascii_only = ascii_only
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def clean(self, text: str) -> str:
        """Return one line of text in the signs this page may have."""
        text = sanitise(text, keep_newlines=False)
        if not self.ascii_only:
            return text
        return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")

    def add(self, line: str, indent: int = 0) -> None:
        blank = " " * indent
        self._lines.extend((blank + part).rstrip() for part in wrap(self.clean(line), self.width - indent))

    def add_text(self, text: str) -> None:
        for line in sanitise(text).split("\n"):
            self.add(line, indent=2)

    def add_table(self, header: Sequence[str], rows: Sequence[Sequence[str]], free: Sequence[int]) -> None:
        """Add a table; the columns in ``free`` are text and give way where it is too wide, the others are numbers."""
        cells = [[self.clean(cell) for cell in row] for row in [header, *rows]]
        widths = [max(measure(row[place]) for row in cells) for place in range(len(header))]
        spare = self.width - 2 - 2 * (len(header) - 1) - sum(widths)
        while spare < 0 and max(widths[place] for place in free) > _NARROWEST_COLUMN:
            widths[max(free, key=lambda place: widths[place])] -= 1
            spare += 1
        mark = self.clean("…")
        for row in cells:
            written = [
                pad(cut(cell, size, mark), size, right=place not in free)
                for place, (cell, size) in enumerate(zip(row, widths, strict=True))
            ]
            self._lines.append(cut(("  " + "  ".join(written)).rstrip(), self.width, mark))


def _choose_marks(trace: Trace) -> Marks:
    texts = "".join(response.text for response in trace.responses)

    def choose(candidates: list[tuple[str, str]]) -> tuple[str, str]:
        return next((pair for pair in candidates if not any(sign in texts for sign in pair)), candidates[0])

    return {"shifted": choose(_SHIFTED), "marginal": choose(_MARGINAL)}


def _add_response(page: _Page, run: Run, trace: Trace, response: Response, score: Score | None, marks: Marks) -> None:
    if not response.text and response.length == 0:
        page.add("(an empty response)", indent=2)
    else:
        for line in mark_lines(response, score, run.thresholds, trace.read_pieces(response.author)):
            page.add("".join(_mark(stretch, marks) for stretch in line), indent=2)
    ending = say_ending(response, run.decoding)
    if ending:
        page.add(f"({ending})", indent=2)


def _mark(stretch: Stretch, marks: Marks) -> str:
    before, after = marks.get(stretch.shift, ("", ""))
    return f"{before}{stretch.text}{after}"


def _add_pair(page: _Page, run: Run, trace: Trace, response: Response, scorer: str, marks: Marks) -> None:
    score = response.scores[scorer]
    page.add("")
    page.add(f"{response.author} answered, scored by {scorer}" + (" (given text)" if response.given else ""))
    _add_response(page, run, trace, response, score, marks)
    if score.aligned:
        page.add("")
        page.add(f"{describe_spans(response, score, response.author, scorer)}.", indent=2)
    counts = count_classes(response, score, run.thresholds)
    if counts.positions:
        divergences = [value for value in score.kl_author_scorer[: response.length] if value is not None]
        mean = say_nats(sum(divergences) / len(divergences) if divergences else None, score.exact)
        if not score.aligned:
            page.add("")
        page.add(
            f"{say_count(counts.positions, 'position')}: {say_share(counts.unshifted, counts.positions)} unshifted, "
            f"{say_share(counts.marginal, counts.positions)} marginal, "
            f"{say_share(counts.shifted, counts.positions)} shifted; mean KL {mean}",
            indent=2,
        )
        if divergences:
            tail = page.clean(f" largest {say_nats(max(divergences), score.exact)}")
            page.add(f"KL {sparkline(divergences, page.width - 5 - measure(tail), page.ascii_only)}{tail}", indent=2)
    outside = say_outside(average_outside(response, score, response.author, scorer))
    if outside:
        page.add(f"{outside}.", indent=2)
    rows = _list_shifted(run, trace, response, scorer, page.clean)
    if rows:
        page.add("")
        header = ["at", f"{scorer} wanted", "p", f"{response.author} said", "p", f"p by {scorer}", "rank", "KL"]
        page.add_table(header, rows, free=[1, 3])
    if risen := largest_spans(response, score, LISTED):
        page.add("")
        header = ["at", f"{response.author} gives more", "tokens", f"p by {response.author}", f"p by {scorer}", "nats"]
        page.add_table(header, [_write_span(response, span, page.clean) for span in risen], free=[1])


def _write_span(response: Response, span: CommonSpan, clean: Callable[[str], str]) -> list[str]:
    return [
        str(span.author_start),
        clean(f"'{sanitise(read_span(response, span), keep_newlines=False)}'"),
        say_tokens(span),
        say_probability(span.author_logp),
        say_probability(span.scorer_logp),
        say_nats(measure_rise(span)),
    ]


def _add_borrowing(page: _Page, borrowing: Borrowing) -> None:
    page.add("")
    page.add(f"{borrowing.author}: {say_borrowed(borrowing)}", indent=2)
    controls = say_controls(borrowing.null)
    if controls:
        page.add(f"Controls: {controls}", indent=2)
    for span in borrowing.spans:
        if span.borrowed:
            rise = "" if span.rise is None else f", rise {say_nats(span.rise)}{' (raised)' if span.raised else ''}"
            rows = ", ".join(example.row for example in span.examples)
            page.add(f"[{span.id}] {sanitise(span.text, keep_newlines=False)}: {rows}{rise}", indent=4)


def _list_shifted(
    run: Run, trace: Trace, response: Response, scorer: str, clean: Callable[[str], str]
) -> list[list[str]]:
    score = response.scores[scorer]
    said, other = trace.read_pieces(response.author), trace.read_pieces(scorer)
    rows = []
    for position, token in enumerate(response.ids):
        if run.thresholds.classify(score.rank[position]) != "shifted":
            continue
        wanted = score.top[position][0] if score.top[position] else None
        rows.append(
            [
                str(position),
                "-" if wanted is None else _name(other, wanted[0], clean),
                "-" if wanted is None else say_probability(wanted[1]),
                _name(said, token, clean),
                say_probability(response.logp[position]),
                say_probability(score.logp[position]),
                say_rank(score.rank[position]),
                say_nats(score.kl_author_scorer[position], score.exact),
            ]
        )
    return rows


def _name(pieces: Mapping[int, str], token: int, clean: Callable[[str], str]) -> str:
    piece = pieces.get(token)
    return f"id {token}" if piece is None else clean(f"'{sanitise(piece, keep_newlines=False)}'")
