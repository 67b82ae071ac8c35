"""Text from strangers in Markdown, judged by parsers: what is shown is the text, and nothing else is made of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from itx.records import ShiftClass
from itx.report.escape import code, code_block, code_piece, escape_inline, quote, quote_text, write_line, write_table
from itx.report.marks import Stretch
from itx.text import sanitise

HOSTILE = [
    "0.A",
    "[x](http://evil.example)",
    "![x](http://evil.example/a.png)",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<!-- comment -->",
    "http://evil.example/x https://a.b www.evil.com evil.com mail@evil.com",
    "<http://evil.example>",
    "| a | b |\n| --- | --- |\n| c | d |",
    "a | b\n--|--\nc | d",
    "# Heading\n## Another\n=====\n-----",
    "Heading\n===\nOther\n---",
    "- item\n* item\n+ item\n1. item\n2) item\n  - deep",
    "> quote\n>> deep",
    "    code\n\ttabbed",
    "```\nfence\n```\n~~~\nfence\n~~~",
    "`code` ``more`` **bold** __bold__ *it* _it_ ~~gone~~",
    "***\n___\n---\n* * *",
    "[ref]: http://evil.example\n[ref]",
    "&lt;b&gt; &amp; &#60; &copy; AT&T",
    "back\\slash \\* \\\\ end\\",
    "trailing  \nbreak\\\nend",
    "[^1]: note [^1]",
    "\x1b[31mred\x1b[0m\x07\x00 \u202eevil\u202c \u200b",
    "$x$ $$y$$ @user #12 :smile:",
    "<b>bold</b> </b> <em>",
    "closed #",
    "",
    "\n\n\n",
    "   lead",
    "1.\n2.\n-\n+\n*\n#\n>\n|",
    ":-- | --:",
    "3.5 and e.g. this, 1,000.5; U.S.A.",
    "a\u2028b\u0085c\rd",
]
PARSERS = {
    "commonmark with GitHub's tables": MarkdownIt("commonmark").enable(["table", "strikethrough"]),
    "with bare links": MarkdownIt("gfm-like"),
}
MARKED = {"strong_open", "strong_close", "em_open", "em_close"}
SEEN = st.text(st.characters(codec="utf-8"), max_size=80) | st.text("ab1 .-+*#_`~<>[]()!|&:\\\n=$", max_size=60)


def _inline(tokens: list[Token]) -> list[Token]:
    return [child for token in tokens if token.type == "inline" for child in token.children or []]


def _shown(tokens: list[Token]) -> str:
    """Return the text a reader sees, with a line feed for every break and paragraph."""
    lines: list[str] = []
    for token in tokens:
        if token.type == "inline":
            shown = ""
            for child in token.children or []:
                if child.type in {"text", "code_inline"}:
                    shown += child.content
                elif child.type in {"softbreak", "hardbreak"}:
                    shown += "\n"
            lines.append(shown)
    return "\n".join(lines)


def _squeeze(text: str) -> list[str]:
    """Lines without blank ones and with runs of white space as one: what HTML keeps of a text."""
    return [" ".join(line.replace("\xa0", " ").split()) for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS.keys())
@given(text=SEEN)
def test_quoted_text_is_shown_and_nothing_else(parser: MarkdownIt, text: str) -> None:
    _check_quote(parser, text)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS.keys())
def test_hostile_text_is_shown_and_nothing_else(parser: MarkdownIt, text: str) -> None:
    _check_quote(parser, text)


def _check_quote(parser: MarkdownIt, text: str) -> None:
    tokens = parser.parse(f"Before.\n\n{quote_text(text)}\nAfter.\n")
    assert {token.type for token in tokens} <= {
        "paragraph_open", "paragraph_close", "inline", "blockquote_open", "blockquote_close",
    }  # fmt: skip
    assert {child.type for child in _inline(tokens)} <= {"text", "hardbreak", "softbreak"}
    assert _squeeze(_shown(tokens)) == ["Before.", *_squeeze(sanitise(text)), "After."]


STRETCHES = st.lists(
    st.builds(
        Stretch,
        text=(
            st.text("ab1é東.-+*#_`~<>[]()!|&:\\=,🎉\u0301", min_size=1, max_size=6)
            | st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=4)
        ).filter(lambda text: bool(text.strip()) and text == text.strip()),
        shift=st.sampled_from(["unshifted", "marginal", "shifted"]),
    )
    | st.just(Stretch(text=" ")),
    max_size=8,
)


def _classes(children: list[Token]) -> list[tuple[str, ShiftClass]]:
    """Return every shown character with the emphasis that a reader sees."""
    bold = italic = 0
    shown: list[tuple[str, ShiftClass]] = []
    for child in children:
        sign = child.content if child.type == "html_inline" else child.type
        if sign in {"strong_open", "<b>"}:
            bold += 1
        elif sign in {"strong_close", "</b>"}:
            bold -= 1
        elif sign in {"em_open", "<em>"}:
            italic += 1
        elif sign in {"em_close", "</em>"}:
            italic -= 1
        elif child.type == "text":
            shift: ShiftClass = "shifted" if bold else "marginal" if italic else "unshifted"
            shown += [(letter, shift) for letter in child.content if not letter.isspace()]
    assert (bold, italic) == (0, 0)
    return shown


def _merge(stretches: list[Stretch]) -> list[Stretch]:
    """Neighbours of the same class are one stretch, as mark_lines gives them."""
    merged: list[Stretch] = []
    for stretch in stretches:
        if merged and merged[-1].shift == stretch.shift:
            merged[-1] = Stretch(text=merged[-1].text + stretch.text, shift=stretch.shift)
        else:
            merged.append(stretch)
    return merged


@settings(max_examples=500)
@given(stretches=STRETCHES)
@example([Stretch(text="Sure", shift="shifted"), Stretch(text="!", shift="marginal"), Stretch(text="x")])
@example([Stretch(text="un"), Stretch(text="*", shift="shifted"), Stretch(text="able", shift="marginal")])
@example([Stretch(text="1", shift="unshifted"), Stretch(text=".", shift="shifted"), Stretch(text=" x")])
@example([Stretch(text="://")])
def test_every_character_has_the_mark_of_its_class(stretches: list[Stretch]) -> None:
    line = _merge(stretches)
    wanted = [
        (sign, stretch.shift) for stretch in line for sign in sanitise(stretch.text, keep_newlines=False)
        if not sign.isspace()
    ]  # fmt: skip
    for parser in PARSERS.values():
        tokens = parser.parse(quote([write_line(line)]))
        children = _inline(tokens)
        kinds = {child.type for child in children}
        assert kinds <= MARKED | {"text", "html_inline"}
        assert {child.content for child in children if child.type == "html_inline"} <= {"<b>", "</b>", "<em>", "</em>"}
        assert _classes(children) == wanted


def test_marks_are_plain_where_markdown_allows_it() -> None:
    def written(*parts: tuple[str, ShiftClass]) -> str:
        return write_line([Stretch(text=text, shift=shift) for text, shift in parts])

    assert written(("Sure", "shifted"), (" thing", "unshifted")) == "**Sure** thing"
    assert written(("un", "unshifted"), ("believ", "shifted"), ("able", "unshifted")) == "un**believ**able"
    assert written(("un", "unshifted"), ("believ", "marginal"), ("able", "unshifted")) == "un<em>believ</em>able"
    assert written(("Sure", "unshifted"), ("!", "shifted")) == "Sure<b>!</b>"
    assert written(("a ", "unshifted"), ("b", "marginal")) == "a _b_"


@pytest.mark.parametrize("text", [*HOSTILE, "`", "``", "` `", "a`", " ", "|", "\\|", "a\\", "'", "x | y"])
def test_cells_stay_in_their_table(text: str) -> None:
    table = write_table(["a", "b"], [[code(text), "1"], [code_piece(text, 7), escape_inline(text).strip() or "—"]], [1])
    for parser in PARSERS.values():
        tokens = parser.parse(table)
        assert [token.type for token in tokens if token.type in {"table_open", "tr_open", "td_open", "th_open"}] == (
            ["table_open", "tr_open", "th_open", "th_open"] + ["tr_open", "td_open", "td_open"] * 2
        )
        assert {child.type for child in _inline(tokens)} <= {"text", "code_inline"}
        cells = [token for token in tokens if token.type == "inline"]
        plain = sanitise(text, keep_newlines=False)
        shown = ["".join(child.content for child in cell.children or []) for cell in cells]
        if plain.strip():
            assert shown[2] == plain
        assert shown[4] == f"'{plain}'"
        assert shown[5].split() == (plain.split() or ["—"])


@given(text=SEEN)
def test_any_piece_is_one_code_span(text: str) -> None:
    children = _inline(PARSERS["with bare links"].parse(f"a {code_piece(text, 1).replace(chr(92) + '|', '|')} b"))
    assert [child.type for child in children] == ["text", "code_inline", "text"]
    assert children[1].content == f"'{sanitise(text, keep_newlines=False)}'"


@given(text=SEEN)
@example("```\n````\n")
def test_any_text_stays_in_its_block(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse(f"a\n\n{code_block(text)}\nb\n")
    assert [token.type for token in tokens if token.level == 0 and token.nesting >= 0] == [
        "paragraph_open", "fence", "paragraph_open",
    ]  # fmt: skip
    assert tokens[3].content.rstrip("\n") == sanitise(text).rstrip("\n")


def test_unknown_pieces_are_named_by_id() -> None:
    assert code_piece(None, 12) == "id 12"
    assert code("") == "—"
