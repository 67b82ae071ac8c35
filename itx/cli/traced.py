"""What ``itx trace`` prints: for programs as JSON, for people as text with its spans in numbered brackets."""

from __future__ import annotations

import msgspec

from itx.borrow.join import is_boilerplate
from itx.data.tracing import Traced
from itx.text import escape_json, sanitise

_LONGEST = 300
"""Characters of a row that are shown."""


def write_json(found: Traced, total: int) -> str:
    """Return the JSON of the contract, indented, harmless on a terminal. ``total`` is the number of rows searched."""
    written = {
        "neighbours": [
            {
                "row": each.row,
                "score": each.score,
                "lexical": each.lexical,
                "semantic": each.semantic,
                "text": each.text,
                "instruction": each.instruction,
                "query": each.query,
            }
            for each in found.neighbours
        ],
        "spans": [
            {
                "start": span.start,
                "end": span.end,
                "text": span.text,
                "rows": span.rows,
                "examples": span.examples,
                "bits": span.bits,
                "boilerplate": is_boilerplate(span.rows, total),
            }
            for span in found.spans
        ],
        "paraphrases": found.paraphrases,
        "rows": total,
    }
    return escape_json(msgspec.json.format(msgspec.json.encode(_storable(written)), indent=2).decode()) + "\n"


def write_traced(found: Traced, text: str, total: int) -> str:
    """Return the findings for people: nothing in it that a terminal would obey."""
    order = sorted(found.spans, key=lambda span: (span.start, span.end))
    lines = [_bracket(text, [(start, end, n) for n, span in enumerate(order, 1) for start, end in span.owned]), ""]
    if not order:
        lines.append(f"No verbatim span in {_count(total)}.")
    for number, span in enumerate(order, 1):
        many = " (boilerplate)" if is_boilerplate(span.rows, total) else ""
        lines.append(f"[{number}] {_count(span.rows)}{many}: {_shorten(span.text)}")
        lines.append(f"    {_clean(', '.join(span.examples))}")
    if found.paraphrases:
        lines += ["", "Paraphrases (no words in common that count, near in meaning)"]
    for each in found.paraphrases:
        lines.append(f"  {each.score:.2f} {_shorten(each.text)}")
        lines.append(f"    {_clean(each.row)}: {_shorten(each.passage)}")
    if found.neighbours:
        lines += ["", "Rows near the text" + (" or its prompt" if _asked(found) else "")]
    for near in found.neighbours:
        lines.append(
            f"  {_clean(near.row)}  meaning {_score(near.semantic)}  words {_score(near.lexical)}  by {near.query}"
        )
        if near.instruction.strip():
            lines.append(f"    Q {_shorten(near.instruction)}")
        lines.append(f"    A {_shorten(near.text)}")
    return "\n".join(lines) + "\n"


def _asked(found: Traced) -> bool:
    return any(near.query == "prompt" for near in found.neighbours)


def _count(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"


def _bracket(text: str, owned: list[tuple[int, int, int]]) -> str:
    pieces = []
    before = 0
    for start, end, number in sorted(owned):
        # Two words of one character (½) share its place.
        if start < before:
            continue
        pieces += [text[before:start], f"[{number} ", text[start:end], "]"]
        before = end
    return sanitise("".join([*pieces, text[before:]]))


def _clean(text: str) -> str:
    return sanitise(text, keep_newlines=False)


def _shorten(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text.split())
    return _clean(line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…")


def _storable(value: object) -> object:
    """Return the same with every lone surrogate, which JSON in UTF-8 cannot hold, replaced."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: _storable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_storable(each) for each in value]
    return _storable(msgspec.to_builtins(value)) if isinstance(value, msgspec.Struct) else value
