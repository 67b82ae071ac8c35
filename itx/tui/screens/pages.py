"""The pages of help and of contexts, as functions of their width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from itx.records import Run
from itx.text import sanitise
from itx.tui.actions import ACTIONS, Action, When, applies, show_keys
from itx.tui.answers import Exchange
from itx.tui.palette import Palette, Signs
from itx.tui.screens.reading import Writer
from itx.tui.spans import FINE, HALLUCINATED
from itx.tui.wording import wrap_text

_MARKS = (
    ("unshifted", "plain", "the scorer's own first choice (rank 1)"),
    ("marginal", "underlined", "among its first three"),
    ("shifted", "bold", "beyond them: what tuning changed (classes: Lin et al. 2023, arXiv 2312.01552)"),
)
_BRACKETS = (
    ("[1 words]", "borrowed: they stand so in row responses nearest the prompt, the number names the span"),
    (f"[1{HALLUCINATED} words]", "marked as hallucinated"),
    (f"[1{FINE} words]", "marked as fine"),
)
_WORDS = (
    ("author, scorer", "the model that wrote a response, and another that scores each of its tokens"),
    ("rank", "1 + the number of vocabulary entries to which the scorer gives more than to the token emitted"),
    ("KL a|b", "how far b's distribution is from a's, in nats, over the full vocabulary; JS is its symmetric kin"),
    ("rise", "author's minus scorer's log-probability of the token"),
    ("temperature", "figures are from raw logits at temperature 1; decoding only chooses the token"),
)

_DATA_WORDS = (
    ("row", "one instruction and response of the tuning data, FILE#INDEX"),
    ("borrowed words", "words absent from the prompt that stand in a verbatim span of the rows nearest it"),
    ("raised", "a token of the span is shifted, or the author gives it 3 nats more than base"),
    ("null", "what a control has in as many words: rows never tuned on, random rows, or base's own answer"),
    ("boilerplate", "so many rows have the span that it says nothing of one"),
    ("like, near", "a row that a sentence resembles without its words; a row near the prompt, whatever was written"),
)


def _entry(key: Text, description: str, width: int, column: int) -> list[Text]:
    body = wrap_text(Text(description), width - column)
    lines = []
    for index, part in enumerate(body):
        head = key.copy() if index == 0 else Text()
        head.append(" " * max(1, column - head.cell_len))
        lines.append(head.append_text(part))
    return lines


def _write_keys(actions: Sequence[Action], palette: Palette, width: int) -> list[Text]:
    """Return the keys of actions in their groups, each with a blank line behind it."""
    lines: list[Text] = []
    for group in dict.fromkeys(action.group for action in actions):
        lines.append(Text(group, style=palette.strong))
        for action in actions:
            if action.group == group:
                key = Text("  ").append(show_keys(action), palette.accent)
                lines += _entry(key, action.description, width, min(16, width // 3))
        lines.append(Text())
    return lines


def keys_page(palette: Palette, actions: Sequence[Action], words: Sequence[tuple[str, str]] = ()) -> Writer:
    """Return the page of a screen's keys, and of words that it uses."""

    def write(width: int) -> list[Text]:
        lines = _write_keys(actions, palette, width)
        if words:
            lines.append(Text("Words", style=palette.strong))
        for word, meaning in words:
            lines += _entry(Text("  ").append(word, palette.accent), meaning, width, min(20, width // 3))
        return lines

    return write


def help_page(palette: Palette, signs: Signs, conditions: frozenset[When]) -> Writer:
    """Return the page of keys, marks and words. Actions that cannot be used now are left out."""

    def write(width: int) -> list[Text]:
        column = min(16, width // 3)
        lines = _write_keys([action for action in ACTIONS if applies(action, conditions)], palette, width)
        lines.append(Text("Marks", style=palette.strong))
        for name, look, meaning in _MARKS:
            lines += _entry(Text("  ").append(name, palette.shift(name)), f"{look}: {meaning}", width, column)
        lines += _entry(Text("  ").append("dim", palette.unscored), "not scored yet", width, column)
        lines += _entry(
            Text("  ").append(signs.ghost.format("word"), palette.ghost),
            "beside the cursor: the scorer's first choice, where it is another",
            width,
            column,
        )
        for brackets, meaning in _BRACKETS if "data" in conditions else ():
            lines += _entry(Text("  ").append(brackets, palette.bracket), meaning, width, column)
        glyphs = signs.glyphs
        lines += _entry(
            Text("  ").append(f"{glyphs.newline} {glyphs.tab} {glyphs.part} {glyphs.end}", palette.sign),
            "line end, tab, a token that is only a part of a character, the token that ends a response",
            width,
            column,
        )
        lines += [Text(), Text("Words", style=palette.strong)]
        for word, meaning in (*_WORDS, *(_DATA_WORDS if "data" in conditions else ())):
            lines += _entry(Text("  ").append(word, palette.accent), meaning, width, max(column, 18))
        return lines

    return write


def contexts_page(run: Run | None, exchange: Exchange | None, palette: Palette) -> Writer:
    """Return the page of the prompt and of the exact prefix of each model: text, ids, and whether they agree."""

    def write(width: int) -> list[Text]:
        if exchange is None:
            return []
        lines = _write_text(f"Prompt {exchange.prompt_id}", exchange.prompt, width, palette)
        if exchange.reference is not None:
            lines += _write_text("Known answer", exchange.reference, width, palette)
        if exchange.error is not None:
            lines += _write_text("Failed", exchange.error, width, palette)
        contexts = exchange.contexts
        if not contexts:
            ended = exchange.status not in ("waiting", "running")
            none = "No context is recorded." if ended else "No context yet: the prompt has not begun."
            return [*lines, Text(none, style=palette.faint)]
        for warning in run.warnings if run is not None else []:
            lines += wrap_text(
                Text("warning: ", style=palette.alert).append(sanitise(warning), palette.plain), width, 2
            )
        same = len({tuple(context.ids) for context in contexts.values()}) == 1
        verdict = "Every model sees exactly the same tokens." if same else "The models see different tokens."
        lines.append(Text(verdict, style=palette.strong if same else palette.alert))
        if run is not None:
            source = f", template from {run.context.template_source}" if run.context.template_source else ""
            lines += wrap_text(
                Text(sanitise(f"Context policy: {run.context.policy}{source}."), style=palette.faint), width
            )
        shown = dict(list(contexts.items())[:1]) if same else contexts
        for name, context in shown.items():
            title = ", ".join(contexts) if same else name
            lines += [Text(), Text(f"{title}: {len(context.ids):,} tokens", style=palette.strong)]
            lines += _write_text("", context.text, width, palette)
            lines += _write_tokens(context.ids, exchange, width, palette)
        return lines

    return write


def _write_text(title: str, text: str, width: int, palette: Palette) -> list[Text]:
    """Return a text under its title with its own line ends, and a blank line."""
    lines = [Text(sanitise(title, keep_newlines=False), style=palette.strong)] if title else []
    for part in text.split("\n"):
        lines += wrap_text(Text(sanitise(part)), width) or [Text()]
    return [*lines, Text()]


def _write_tokens(ids: list[int], exchange: Exchange, width: int, palette: Palette) -> list[Text]:
    """Return ids with their pieces, as many a line as fit."""
    lines: list[Text] = []
    line = Text()
    for identifier in ids:
        entry = Text(str(identifier), style=palette.accent)
        if identifier in exchange.pieces:
            piece = exchange.pieces[identifier].replace("\n", "\\n").replace("\t", "\\t")
            entry.append(" " + sanitise(piece, keep_newlines=False), palette.faint)
        if line.cell_len and line.cell_len + entry.cell_len + 3 > width:
            lines.append(line)
            line = Text()
        if line.cell_len:
            line.append(" | ", palette.faint)
        line.append_text(entry)
    return [*lines, line]
