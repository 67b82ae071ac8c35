"""Rows as a tuning sees them: token ids, and which of them it learns.

A context is encoded exactly as a comparison encodes it, so the ids that are read are those that the tuned model will be
asked with. The answer is what the whole text's ids have behind them; where the tokenizer would join the border between
both, the answer is encoded apart. The end of a response is learned, too: the first end-of-sequence id that the template
writes behind it, or the tokenizer's own where it writes none.

A conversation is one example as long as each context goes on as the example before it did; where a template writes
earlier turns in another way than it wrote them as answers, a new example begins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import groupby

from itx.compare.context import encode_context
from itx.compare.template import ChatTemplate
from itx.data.row import Role, Row, Turn
from itx.errors import TemplateError
from itx.models.contract import Vocabulary
from itx.records import Message, Record
from itx.tune.shortening import shorten

_SPEAKERS: dict[Role, str] = {"system": "system", "instruction": "user", "response": "assistant", "tool": "tool"}


@dataclass(frozen=True, slots=True)
class Example:
    """Ids of one row, or of a part of it; ``learned[i]`` says whether id i carries loss (never the first)."""

    row: str
    ids: tuple[int, ...]
    learned: tuple[bool, ...]

    @property
    def weight(self) -> int:
        """How many ids carry loss."""
        return sum(self.learned)


class Skipped(Record, frozen=True, kw_only=True):
    """A row that is not tuned on, and why."""

    row: str
    reason: str


@dataclass(slots=True)
class Examples:
    """What became of the rows, in their order; ``truncated`` and ``shortened`` are ids of rows that lost their end."""

    examples: list[Example] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    shortened: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[str]:
        """The ids of the rows that are tuned on."""
        return list(dict.fromkeys(example.row for example in self.examples))


class ExampleMaker:
    """Makes examples by one template and vocabulary; ``ends`` are the ids that end a response.

    ``max_tokens`` cuts an example on its right, ``max_words`` a response before that. ``system`` is said first where a
    row has no system message.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        template: ChatTemplate,
        ends: Collection[int],
        *,
        max_tokens: int,
        max_words: int | None = None,
        system: str | None = None,
    ) -> None:
        self._vocabulary = vocabulary
        self._template = template
        self._ends = frozenset(ends)
        self._max_tokens = max_tokens
        self._max_words = max_words
        self._system = system

    def make_all(
        self, rows: Iterable[Row], without: Collection[str] = (), tell: Callable[[int], None] = lambda count: None
    ) -> Examples:
        """Return the examples of all rows but those ``without``; ``tell`` hears how many rows are read.

        Raises TemplateError where the template is broken; a row that it refuses is skipped.
        """
        self._template.check()
        made = Examples()
        dropped = frozenset(without)
        for count, row in enumerate(rows, 1):
            tell(count)
            if row.id in dropped:
                made.skipped.append(Skipped(row=row.id, reason="left out (--without)"))
                continue
            try:
                messages, shortened = self._read(row)
                whole = self._encode(row.id, messages)
                kept = [self._cut(example) for example in whole]
                kept = [example for example in kept if example.weight]
                if not kept:
                    raise ValueError(f"its response begins behind {self._max_tokens} tokens (--max-tokens)")
            except (TemplateError, ValueError) as error:
                reason = error.cause if isinstance(error, TemplateError) else str(error)
                made.skipped.append(Skipped(row=row.id, reason=reason))
                continue
            made.examples += kept
            if shortened:
                made.shortened.append(row.id)
            if kept != whole:
                made.truncated.append(row.id)
        return made

    def _read(self, row: Row) -> tuple[list[tuple[Message, bool]], bool]:
        """Return the row's messages, each with whether it is learned, and whether one was shortened."""
        shortened = False
        messages: list[tuple[Message, bool]] = []
        turns = [turn for turn in row.turns if turn.role in _SPEAKERS]
        for (role, trained), group in groupby(turns, key=_kind):
            text = "\n\n".join(turn.text for turn in group)
            if trained and self._max_words is not None:
                cut = shorten(text, self._max_words)
                shortened = shortened or cut != text
                text = cut
            messages.append((Message(role=_SPEAKERS[role], content=text), trained))
        learned = [message for message, trained in messages if trained]
        if not learned:
            raise ValueError("it has no response to learn")
        if not any(message.content.strip() for message in learned):
            raise ValueError("its response is empty")
        if self._system is not None and not any(message.role == "system" for message, _ in messages):
            messages.insert(0, (Message(role="system", content=self._system), False))
        return messages, shortened

    def _encode(self, row: str, messages: list[tuple[Message, bool]]) -> list[Example]:
        said = [message for message, _ in messages]
        parts: list[tuple[list[int], list[bool]]] = []
        for place, (message, trained) in enumerate(messages):
            if not trained or not message.content.strip():
                continue
            context, answer = self._answer(said[:place], message)
            if parts and context[: len(parts[-1][0])] == parts[-1][0]:
                ids, learned = parts.pop()
            else:
                ids, learned = [], []
            learned = [*learned, *[False] * (len(context) - len(ids)), *[True] * len(answer)]
            parts.append(([*context, *answer], learned))
        return [Example(row, tuple(ids), tuple(learned)) for ids, learned in parts]

    def _answer(self, before: list[Message], message: Message) -> tuple[list[int], list[int]]:
        """Return the ids of the context of an answer, and those of the answer with its end."""
        variables = self._vocabulary.variables
        opened = self._template.render(before, variables)
        whole = self._template.render([*before, message], variables, opens_answer=False)
        if not whole.startswith(opened):
            raise ValueError("the chat template writes an answer in another way than it opens one")
        context = encode_context(self._vocabulary, opened).ids
        if not context:
            raise ValueError("the chat template gives its response no context")
        answer = encode_context(self._vocabulary, whole).ids
        if answer[: len(context)] == context:
            answer = answer[len(context) :]
        else:
            answer = self._vocabulary.encode(whole[len(opened) :])
        end = next((place for place, token in enumerate(answer) if token in self._ends), None)
        if end is not None:
            return context, answer[: end + 1]
        own = getattr(self._vocabulary, "tokenizer_eos", None)
        return context, [*answer, min(self._ends) if own is None else own]

    def _cut(self, example: Example) -> Example:
        limit = self._max_tokens
        if len(example.ids) <= limit:
            return example
        return Example(example.row, example.ids[:limit], example.learned[:limit])


def _kind(turn: Turn) -> tuple[Role, bool]:
    return turn.role, turn.trained and turn.role == "response"
