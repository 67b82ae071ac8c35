"""What the panels are about: one author's response as one scorer sees it, and the token under the cursor."""

from __future__ import annotations

from dataclasses import dataclass

from itx.records import Borrowing, Response, Run, Score, ShiftClass, Thresholds
from itx.tui.answers import Answer, Exchange


@dataclass(frozen=True)
class View:
    """A pair of models on one exchange. ``cursor`` is a position of the author's response, or None."""

    exchange: Exchange | None
    author: str
    scorer: str
    thresholds: Thresholds
    cursor: int | None = None
    borrowing: Borrowing | None = None
    """Where the response's words occur in the tuning data, where it was traced."""
    settled: bool = True
    """Whether that is all of it: while a response is written it is a sketch, or only the rows near its prompt."""

    @property
    def state(self) -> tuple[object, ...]:
        """What must differ for a panel to look different; the last entry is how many positions are scored."""
        scored = self.answer.scored(self.scorer) if self.answer is not None else -1
        ended = self.answer.end if self.answer is not None else None
        return (
            id(self.exchange),
            self.author,
            self.scorer,
            self.thresholds,
            self.cursor,
            ended,
            id(self.borrowing),
            scored,
        )

    @property
    def answer(self) -> Answer | None:
        """The author's response, where there is one."""
        return self.exchange.answers.get(self.author) if self.exchange is not None else None

    @property
    def score(self) -> Score | None:
        """What the scorer says of it, as far as it is known."""
        return self.answer.scores.get(self.scorer) if self.answer is not None else None

    @property
    def shift(self) -> ShiftClass | None:
        """The shift class at the cursor; None where there is no cursor or no figure."""
        if self.answer is None or self.cursor is None:
            return None
        return self.answer.shift(self.cursor, self.scorer, self.thresholds)


def pairs(run: Run) -> list[tuple[str, str]]:
    """Return the pairs of models that two panes can show: base with each tuned model, then the tuned ones."""
    tuned = [model.name for model in run.tuned]
    return [(run.base.name, name) for name in tuned] + [
        (first, second) for index, first in enumerate(tuned) for second in tuned[index + 1 :]
    ]


def scorer_for(author: str, other: str, base: str, response: Answer | Response | None) -> str:
    """Return who scores ``author`` beside ``other``: the other model where it has scored it, else base."""
    if response is not None and other not in response.scores:
        if base in response.scores and author != base:
            return base
        return next(iter(response.scores), other)
    return other
