"""What a person sends to a colleague: responses with marks that need no colour, the shifted tokens, the curve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from itx.records import Mark, Response, Run, Score, Trace
from itx.report.borrowing import Borrowings, FindBorrowings, summarise_borrowing
from itx.report.curve import LEVEL, plot_text
from itx.report.escape import code, code_block, code_piece, escape_inline, quote, quote_text, write_line, write_table
from itx.report.figures import count_classes, order_pairs, order_responses, summarise
from itx.report.marks import BLANK, LINE_FEED, mark_lines
from itx.report.provenance import write_provenance
from itx.report.sources import write_borrowing, write_borrowing_summary, write_lone_mark
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
from itx.report.summary import write_pairs
from itx.report.wording import say_count, say_ending, say_nats, say_probability, say_rank, say_share

_WIDTH = 72
_HEIGHT = 6


def write_markdown(
    run: Run,
    traces: Iterable[Trace],
    command: Sequence[str] | None = None,
    *,
    find_borrowings: FindBorrowings | None = None,
    marks: Sequence[Mark] = (),
) -> str:
    """Return the findings of ``traces`` as Markdown.

    ``command`` stands in for the run's own; ``find_borrowings`` gives what the responses of a trace borrowed.
    Everything from prompts, models, rows and files is escaped.
    """
    kept = list(traces)
    traced = [(trace, find_borrowings(trace) if find_borrowings else {}) for trace in kept]
    names = " ⇄ ".join(escape_inline(model.name) for model in run.models)
    parts = [f"# What tuning changed: {names}\n\n", _write_legend(run), "\n"]
    if len(kept) > 1:
        figures = summarise(run, kept)
        parts.append(f"## All {say_count(figures.prompts, 'prompt')}\n\n{write_pairs(figures)}\n")
    borrowed = summarise_borrowing(run, traced)
    if borrowed is not None:
        parts.append(write_borrowing_summary(borrowed))
    parts.extend(_write_trace(run, trace, borrowings, marks) for trace, borrowings in traced)
    parts.append(write_provenance(run, command))
    return "".join(parts)


def _write_legend(run: Run) -> str:
    bounds = run.thresholds
    low, high = bounds.unshifted, bounds.marginal
    return (
        f"Marks, by the scorer's rank of each token: **shifted** {high + 1} or worse, _marginal_ {low + 1} to {high}, "
        f"unmarked {low}{' or better' if low > 1 else ''}. "
        f"{LINE_FEED} is a marked line feed, {BLANK} a marked blank. EOS is shown, not counted. KL in nats.\n"
    )


def _write_trace(run: Run, trace: Trace, borrowings: Borrowings, marks: Sequence[Mark]) -> str:
    parts = [f"## Prompt {escape_inline(trace.prompt_id)}\n\n", quote_text(trace.prompt), "\n"]
    if trace.reference is not None:
        parts.append(f"Known answer:\n\n{quote_text(trace.reference)}\n")
    if trace.error is not None:
        parts.append(f"This prompt failed: {escape_inline(trace.error)}\n\n")
    for response in order_responses(run, trace):
        scorers = order_pairs(run, response)
        for scorer in scorers:
            parts.append(_write_pair(run, trace, response, scorer))
        if not scorers:
            written = _write_response(run, trace, response, None)
            parts.append(f"### {code(response.author)} answered; nobody scored it\n\n{written}\n")
        own = [mark for mark in marks if (mark.prompt_id, mark.author) == (trace.prompt_id, response.author)]
        if response.author in borrowings:
            parts.append(write_borrowing(run, trace, response, borrowings[response.author], own))
        else:
            parts.extend(write_lone_mark(mark, response) for mark in own)
    return "".join(parts)


def _write_response(run: Run, trace: Trace, response: Response, score: Score | None) -> str:
    if not response.text and response.length == 0:
        written = "An empty response.\n"
    else:
        pieces = trace.read_pieces(response.author)
        written = quote(map(write_line, mark_lines(response, score, run.thresholds, pieces)))
    notes = list(filter(None, [say_ending(response, run.decoding)]))
    if response.given:
        notes.append("given, not generated")
    return written + (f"\n({'; '.join(notes)})\n" if notes else "")


def _write_pair(run: Run, trace: Trace, response: Response, scorer: str) -> str:
    score = response.scores[scorer]
    counts = count_classes(response, score, run.thresholds)
    parts = [
        f"### {code(response.author)} answered, scored by {code(scorer)}\n\n",
        _write_response(run, trace, response, score),
        "\n",
    ]
    if score.aligned:
        said = describe_spans(response, score, escape_inline(response.author), escape_inline(scorer))
        parts.append(f"{said}.\n\n")
    if counts.positions:
        divergences = [value for value in score.kl_author_scorer[: response.length] if value is not None]
        mean = sum(divergences) / len(divergences) if divergences else None
        parts.append(
            f"{say_count(counts.positions, 'position')}: "
            f"{say_share(counts.unshifted, counts.positions)} unshifted, "
            f"{say_share(counts.marginal, counts.positions)} marginal, "
            f"{say_share(counts.shifted, counts.positions)} shifted; "
            f"mean KL({escape_inline(response.author)}‖{escape_inline(scorer)}) {say_nats(mean, score.exact)} nats\n\n"
        )
        names = escape_inline(response.author), escape_inline(scorer)
        outside = say_outside(average_outside(response, score, *names))
        parts.append(f"{outside}.\n\n" if outside else "")
        parts.append(_write_shifted(run, trace, response, scorer))
        if divergences:
            parts.append(_write_curve(divergences, score))
    parts.append(_write_spans(response, scorer))
    return "".join(parts)


def _write_curve(divergences: Sequence[float], score: Score) -> str:
    curve = plot_text(divergences, _WIDTH, _HEIGHT)
    notes = ["in nats"] if score.exact else ["lower bounds, in nats"]
    if len(divergences) > max(line.count(LEVEL) for line in curve):
        notes.append("a column shows the largest of its positions")
    return f"KL by position ({'; '.join(notes)}):\n\n{code_block(chr(10).join(curve))}\n"


def _write_spans(response: Response, scorer: str) -> str:
    """Return the common spans of two tokenizers that the author gives most more; nothing where they share one."""
    author, other = code(response.author), code(scorer)
    rows = [
        [
            str(span.author_start),
            code_piece(read_span(response, span), response.ids[span.author_start]),
            say_tokens(span),
            say_probability(span.author_logp),
            say_probability(span.scorer_logp),
            say_nats(measure_rise(span)),
        ]
        for span in largest_spans(response, response.scores[scorer], LISTED)
    ]
    header = ["position", f"{author} gives more", "tokens", f"p by {author}", f"p by {other}", "nats"]
    return write_table(header, rows, [0, 2, 3, 4, 5]) + "\n" if rows else ""


def _write_shifted(run: Run, trace: Trace, response: Response, scorer: str) -> str:
    score = response.scores[scorer]
    shifted = [
        position for position in range(len(response.ids)) if run.thresholds.classify(score.rank[position]) == "shifted"
    ]
    if not shifted:
        return "No shifted token.\n\n"
    author, other = code(response.author), code(scorer)
    own, others = trace.read_pieces(response.author), trace.read_pieces(scorer)
    header = ["position", f"{other} wanted", f"p by {other}", f"{author} said", f"p by {author}", f"p by {other}"]
    header += ["rank", "KL"]
    rows = []
    for position in shifted:
        token = response.ids[position]
        wanted, wanted_logp = score.top[position][0] if score.top[position] else (None, 0.0)
        said = code_piece(own.get(token), token)
        rows.append(
            [
                str(position),
                "—" if wanted is None else code_piece(others.get(wanted), wanted),
                "—" if wanted is None else say_probability(wanted_logp),
                said if position < response.length else f"{said} (EOS)",
                say_probability(response.logp[position]),
                say_probability(score.logp[position]),
                say_rank(score.rank[position]),
                say_nats(score.kl_author_scorer[position], score.exact),
            ]
        )
    return write_table(header, rows, [0, 2, 4, 5, 6, 7]) + "\n"
