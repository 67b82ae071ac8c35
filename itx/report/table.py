"""The tidy table: one row a position and scorer, in the columns and the order of the contract."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

import msgspec

from itx.borrow.category import INITIATION, categories
from itx.records import Borrowing, Response, Run, Trace
from itx.report.borrowing import FindBorrowings
from itx.report.figures import order_pairs
from itx.text import escape_json, sanitise

Value = str | int | float | bool | None

COLUMNS = (
    "prompt_id",
    "author",
    "scorer",
    "position",
    "token_id",
    "piece",
    "author_logp",
    "scorer_logp",
    "rank",
    "ties",
    "shift",
    "kl_author_scorer",
    "kl_scorer_author",
    "js",
    "author_entropy",
    "scorer_entropy",
    "exact",
    "category",
    "initiation",
    "span_id",
    "borrow",
)
# What a spreadsheet takes for the start of a formula.
_FORMULA = ("=", "+", "-", "@")


def tidy_rows(
    run: Run, traces: Iterable[Trace], find_borrowings: FindBorrowings | None = None
) -> Iterator[dict[str, Value]]:
    """Yield the rows, EOS included (its category is ``eos``); ``piece`` is None where the run does not name the id.

    Where the scorer has another tokenizer ``exact`` is False and what does not exist is None: ``scorer_logp`` but where
    one token is a common span, ``rank``, ``ties`` and ``shift`` but where one token meets one token, and KL and JS.

    A failed prompt has no rows, as it has no part in the figures. ``span_id`` is the span that a position lies in (its
    owner, else a borrowed one, the rarest, the longest), None outside all; ``borrow`` is ``raised`` or ``borrowed`` at
    a borrowed word and ``none`` elsewhere. Both are None where a response was not traced.
    """
    for trace in traces:
        if trace.error is not None:
            continue
        borrowings = find_borrowings(trace) if find_borrowings else {}
        for response in trace.responses:
            spans, borrowed = _list_sources(response, borrowings.get(response.author))
            pieces = trace.read_pieces(response.author)
            named = categories(response, pieces)
            for scorer in order_pairs(run, response):
                score = response.scores[scorer]
                for position, token in enumerate(response.ids):
                    rank = score.rank[position]
                    yield {
                        "prompt_id": trace.prompt_id,
                        "author": response.author,
                        "scorer": scorer,
                        "position": position,
                        "token_id": token,
                        "piece": pieces.get(token),
                        "author_logp": response.logp[position],
                        "scorer_logp": score.logp[position],
                        "rank": rank,
                        "ties": score.ties[position],
                        "shift": run.thresholds.classify(rank),
                        "kl_author_scorer": score.kl_author_scorer[position],
                        "kl_scorer_author": score.kl_scorer_author[position],
                        "js": score.js[position],
                        "author_entropy": response.entropy[position],
                        "scorer_entropy": score.entropy[position],
                        "exact": score.exact,
                        "category": named[position],
                        "initiation": position < INITIATION,
                        "span_id": spans[position],
                        "borrow": borrowed[position],
                    }


def _list_sources(response: Response, borrowing: Borrowing | None) -> tuple[list[int | None], list[str | None]]:
    """Return the columns ``span_id`` and ``borrow`` of a response."""
    count = len(response.ids)
    spans: list[int | None] = [None] * count
    if borrowing is None:
        return spans, [None] * count
    order = sorted(borrowing.spans, key=lambda span: (not span.borrowed, span.rows, span.start - span.end, span.start))
    for span in reversed(order):
        spans[span.start : span.end] = [span.id] * (span.end - span.start)
    borrowed: list[str | None] = ["none"] * count
    for position, number in borrowing.positions.items():
        spans[position] = number
        borrowed[position] = "raised" if borrowing.spans[number - 1].raised else "borrowed"
    return spans, borrowed


def write_jsonl(run: Run, traces: Iterable[Trace], find_borrowings: FindBorrowings | None = None) -> Iterator[str]:
    """Yield the table as JSON lines, with exact texts; what a terminal would obey or hide is escaped."""
    for row in tidy_rows(run, traces, find_borrowings):
        yield escape_json(msgspec.json.encode(row).decode()) + "\n"


def write_csv(run: Run, traces: Iterable[Trace], find_borrowings: FindBorrowings | None = None) -> Iterator[str]:
    """Yield the table as CSV with a header line, for spreadsheets.

    Text cells have their control characters made visible, so that a row is a line; one that a spreadsheet would take
    for a formula starts with an apostrophe. JSONL has the exact pieces. Booleans are true and false, None is empty.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in tidy_rows(run, traces, find_borrowings):
        writer.writerow([_write_cell(row[column]) for column in COLUMNS])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _write_cell(value: Value) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    plain = sanitise(value, keep_newlines=False)
    return f"'{plain}" if plain.startswith(_FORMULA) else plain
