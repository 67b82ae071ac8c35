"""Text from strangers inside Markdown: shown as it is, never taken for Markdown, HTML or a link.

What is written follows CommonMark 0.31 and GitHub's tables, strikethrough and bare links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from itx.records import ShiftClass
from itx.report.marks import Stretch
from itx.text import sanitise

_INLINE = re.compile(r"[\\`*_\[\]<|~$@#]|&(?=[#\w])|:(?=//)|(?<=[^\W\d])\.(?=\w)|(?<=\w)\.(?=[^\W\d])")
_START = re.compile(r"(?P<blank> *)(?:(?P<sign>[+=>:-])|(?P<number>\d+)(?=[.)]))")
_MARKS = {"shifted": ("**", "<b>", "</b>"), "marginal": ("_", "<em>", "</em>")}
_PUNCTUATION = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def escape_inline(text: str) -> str:
    """Return ``text`` for the middle of a line; line feeds become visible."""
    return _INLINE.sub(lambda found: f"\\{found.group()}", sanitise(text, keep_newlines=False))


def escape_line(text: str) -> str:
    """Return ``text`` for a line of its own, or the whole of a list's item; line feeds become visible."""
    return _escape_start(text, escape_inline(text))


def _escape_start(text: str, escaped: str) -> str:
    """Keep a line's start from opening a list, a heading, a quote, a rule, a table or a block of code."""
    found = _START.match(text)
    if found and found["sign"]:
        place = len(found["blank"])
        # A colon may be escaped already, as one that makes a link.
        if escaped[place] != "\\":
            escaped = f"{escaped[:place]}\\{escaped[place:]}"
    elif found and found["number"]:
        place = found.end("number")
        # The point may be escaped already, as one that makes a name of a host.
        if escaped[place] != "\\":
            escaped = f"{escaped[:place]}\\{escaped[place:]}"
    blanks = len(escaped) - len(escaped.lstrip(" "))
    return "&nbsp;" * blanks + escaped[blanks:]


def write_line(stretches: Sequence[Stretch]) -> str:
    """Return one line of a response: shifted **bold**, marginal _italic_, the rest as it is."""
    written = ""
    for place, stretch in enumerate(stretches):
        if stretch.shift == "unshifted":
            written += escape_inline(stretch.text) if written else escape_line(stretch.text)
            continue
        escaped = escape_inline(stretch.text)
        following = stretches[place + 1] if place + 1 < len(stretches) else None
        after = "" if following is None else following.text[0] if following.shift == "unshifted" else "*"
        written += _emphasise(stretch.text, escaped, stretch.shift, written[-1:], after)
    return written


def _emphasise(text: str, escaped: str, shift: ShiftClass, before: str, after: str) -> str:
    """Use Markdown's own signs where CommonMark's flanking rules take them for emphasis, HTML where they would not."""
    sign, opening, closing = _MARKS[shift]
    # A blank or an edge outside is always right; a letter inside is right for **, which may stand within a word.
    opens = before in {"", " "} or (text[0].isalnum() and (sign == "**" or before in _PUNCTUATION))
    closes = after in {"", " "} or (text[-1].isalnum() and (sign == "**" or after in _PUNCTUATION))
    return f"{sign}{escaped}{sign}" if opens and closes else f"{opening}{escaped}{closing}"


def quote(lines: Iterable[str]) -> str:
    """Return escaped lines as a block quote that keeps their breaks."""
    written = [line.rstrip(" ") for line in lines]
    quoted: list[str] = []
    for line, following in zip(written, [*written[1:], ""], strict=True):
        # A backslash at the end is a line break, but only within a paragraph.
        quoted.append(f"> {line}{chr(92) if following else ''}" if line else ">")
    return "\n".join(quoted) + "\n"


def quote_text(text: str) -> str:
    """Return text from a stranger as a block quote."""
    return quote(write_line([Stretch(text=line)] if line else []) for line in sanitise(text).split("\n"))


def code(text: str) -> str:
    """Return ``text`` as a code span that may stand in a table; line feeds become visible."""
    plain = sanitise(text, keep_newlines=False)
    if not plain.strip():
        return "—" if not plain else f"`'{plain}'`"
    fence = "`" * (_longest_run(plain) + 1)
    pad = " " if plain[0] in "` " or plain[-1] in "` " else ""
    return f"{fence}{pad}{plain}{pad}{fence}".replace("|", "\\|")


def code_piece(piece: str | None, token: int) -> str:
    """Return a token's piece as a code span in quotation marks, or its id where the piece is not known."""
    return code(f"'{piece}'") if piece is not None else f"id {token}"


def code_block(text: str, language: str = "") -> str:
    """Return ``text`` as a fenced block that nothing within it can close."""
    plain = sanitise(text)
    fence = "`" * max(3, _longest_run(plain) + 1)
    return f"{fence}{language}\n{plain}\n{fence}\n"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def write_table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Return a table of cells that are escaped already; the columns in ``numbers`` are set to the right."""
    right = set(numbers)
    rule = ["---:" if place in right else "---" for place in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [header, rule, *rows])
