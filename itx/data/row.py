"""A row of tuning data: one instruction–response instance, whatever file it came from."""

from __future__ import annotations

from typing import Literal

from itx.records import Record

Role = Literal["system", "instruction", "response", "rejected", "tool"]


class Turn(Record, frozen=True, kw_only=True):
    """One piece of a row. ``trained`` says whether the tuning was to produce this text."""

    role: Role
    text: str
    trained: bool = False


class Row(Record, frozen=True, kw_only=True):
    """``id`` is ``FILE#INDEX``: the file's name and the row's number in it, from 0, broken rows counted."""

    id: str
    turns: list[Turn]

    def text(self, role: Role) -> str:
        """Return all text of one role, turns joined by a blank line; of responses only what was trained on."""
        wanted = [turn.text for turn in self.turns if turn.role == role and (turn.trained or role != "response")]
        return "\n\n".join(wanted)

    @property
    def instruction(self) -> str:
        """What the row asks."""
        return self.text("instruction")

    @property
    def response(self) -> str:
        """What the tuning was to answer: the text that spans are searched in."""
        return self.text("response")
