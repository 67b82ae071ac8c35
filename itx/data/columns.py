"""The names that people give to the columns of tuning data, and a row's values found by what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from itx.errors import UsageError

Meaning = Literal[
    "instruction",
    "input",
    "response",
    "system",
    "messages",
    "chosen",
    "rejected",
    "text",
    "tools",
    "history",
    "label",
]
MEANINGS: tuple[Meaning, ...] = get_args(Meaning)

Columns = Mapping[Meaning, Sequence[str]]
"""For each meaning the names to look for, first match wins. Names of ours are in lower case and match any case."""

KNOWN: Columns = {
    "instruction": (
        *("instruction", "instructions", "prompt", "question", "query", "problem", "user", "human", "inputs"),
        "input",
    ),
    "input": ("input", "context"),
    "response": (
        *("output", "response", "completion", "solution", "answer", "outputs", "assistant", "targets", "target"),
        "reply",
    ),
    "system": ("system", "system_prompt", "system_message"),
    "messages": ("messages", "conversations", "conversation", "chat", "dialogue", "dialog", "turns"),
    "chosen": ("chosen", "chosen_messages", "chosen_response", "preferred_output", "response_j"),
    "rejected": ("rejected", "rejected_messages", "rejected_response", "non_preferred_output", "response_k"),
    "text": ("text", "content"),
    "tools": ("tools", "functions"),
    "history": ("history",),
    "label": ("label", "kto_tag"),
}

# In the order in which the shapes are looked for; a prompt goes before chosen answers, too.
_BY_SHAPE: Sequence[Sequence[Meaning]] = (("chosen", "rejected"), ("messages",), ("response",), ("text",))


def override_columns(columns: Mapping[str, str] | None) -> Columns:
    """Return the known names with those of ``columns`` in their place; an empty name means no column.

    Where the columns of one shape are named, those of the shapes that would be found before it are not looked for.
    Raises UsageError for a meaning that itx does not know.
    """
    named = dict(columns or {})
    for meaning in named:
        if meaning not in MEANINGS:
            raise UsageError(
                f"{meaning!r} is nothing that a column can hold.", f"A column can be: {', '.join(MEANINGS)}."
            )
    for rank, shape in enumerate(_BY_SHAPE):
        if any(named.get(meaning) for meaning in shape):
            for earlier in _BY_SHAPE[:rank]:
                named = dict.fromkeys(earlier, "") | named
    return {meaning: _pick(meaning, named.get(meaning)) for meaning in MEANINGS}


def _pick(meaning: Meaning, name: str | None) -> Sequence[str]:
    if name is None:
        return KNOWN[meaning]
    return (name,) if name else ()


class Fields:
    """The values of a row that are not null, found by meaning."""

    def __init__(self, row: Mapping[str, object], columns: Columns) -> None:
        self._row = row
        self._columns = columns
        self._folded: dict[str, str] | None = None

    @property
    def names(self) -> list[str]:
        """The row's own names of its columns."""
        return [str(name) for name in self._row]

    def find(self, meaning: Meaning, besides: str | None = None) -> str | None:
        """Return the column that holds ``meaning``, unless it is ``besides``; None where there is none."""
        for name in self._columns[meaning]:
            column = name if name in self._row else self._fold().get(name)
            if column is not None and column != besides and self._row[column] is not None:
                return column
        return None

    def get(self, meaning: Meaning) -> object:
        """Return the value of ``meaning``, or None."""
        column = self.find(meaning)
        return None if column is None else self._row[column]

    def value(self, column: str) -> object:
        """Return what a column that was found holds."""
        return self._row[column]

    def _fold(self) -> dict[str, str]:
        if self._folded is None:
            self._folded = {name.strip().lower(): name for name in self._row if isinstance(name, str)}
        return self._folded
