"""The tidy table: one row a position and scorer, in the columns and the order of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from itx.borrow.category import INITIATION, categories
from itx.records import Borrowing, Record, Response, Run, Trace
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


class Block(Record, frozen=True, kw_only=True):
    """The rows of one response and scorer as columns, in the order of ``COLUMNS``, each with one entry a position."""

    columns: dict[str, Sequence[Value]]
    length: int


def tidy_blocks(run: Run, traces: Iterable[Trace], find_borrowings: FindBorrowings | None = None) -> Iterator[Block]:
    """Yield the rows as columns, a response and scorer at a time; see ``tidy_rows``."""
    for trace in traces:
        if trace.error is not None:
            continue
        borrowings = find_borrowings(trace) if find_borrowings else {}
        for response in trace.responses:
            count = len(response.ids)
            spans, borrowed = _list_sources(response, borrowings.get(response.author))
            pieces = trace.read_pieces(response.author)
            named = categories(response, pieces)
            for scorer in order_pairs(run, response):
                score = response.scores[scorer]
                columns: dict[str, Sequence[Value]] = {
                    "prompt_id": [trace.prompt_id] * count,
                    "author": [response.author] * count,
                    "scorer": [scorer] * count,
                    "position": range(count),
                    "token_id": response.ids,
                    "piece": [pieces.get(token) for token in response.ids],
                    "author_logp": response.logp,
                    "scorer_logp": score.logp,
                    "rank": score.rank,
                    "ties": score.ties,
                    "shift": [run.thresholds.classify(rank) for rank in score.rank],
                    "kl_author_scorer": score.kl_author_scorer,
                    "kl_scorer_author": score.kl_scorer_author,
                    "js": score.js,
                    "author_entropy": response.entropy,
                    "scorer_entropy": score.entropy,
                    "exact": [score.exact] * count,
                    "category": named,
                    "initiation": [position < INITIATION for position in range(count)],
                    "span_id": spans,
                    "borrow": borrowed,
                }
                yield Block(columns=columns, length=count)


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
    for block in tidy_blocks(run, traces, find_borrowings):
        for cells in zip(*block.columns.values(), strict=True):
            yield dict(zip(COLUMNS, cells, strict=True))


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
    """Yield the table as CSV (RFC 4180) with a header line, one line a row.

    All texts are quoted. Control characters in them are made visible, so that no terminal obeys them, and one that a
    spreadsheet would take for a formula (= + - @) starts with an apostrophe: JSONL and Parquet have the exact pieces.
    None is an empty cell without quotes, booleans are true and false. Figures are the shortest that give the same
    double again; pandas needs ``keep_default_na=False`` for pieces such as ``NA``, and like ``csv`` it does not tell an
    empty piece from None.
    """
    yield ",".join(COLUMNS) + "\n"
    for block in tidy_blocks(run, traces, find_borrowings):
        rows = zip(*(map(_write_cell, column) for column in block.columns.values()), strict=True)
        yield "".join(f"{','.join(cells)}\n" for cells in rows)


def _write_cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        plain = sanitise(value, keep_newlines=False).replace('"', '""')
        return f'"\'{plain}"' if plain.startswith(_FORMULA) else f'"{plain}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
