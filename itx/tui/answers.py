"""What the screen draws: one prompt with the answers to it, whether recorded or still growing.

A recorded trace and the events of a live comparison fill the same two nouns, so that both look alike to the letter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from itx.compare.events import Emitted, Event, Finished, Scored, Started
from itx.records import Context, Finish, Response, Score, ShiftClass, Thresholds, Top, Trace
from itx.tui.wrapping import Piece

Status = Literal["waiting", "running", "done", "failed", "cancelled"]


def _empty_score(exact: bool) -> Score:
    return Score(
        logp=[],
        rank=[],
        ties=[],
        entropy=[],
        kl_author_scorer=[],
        kl_scorer_author=[],
        js=[],
        top=[],
        exact=exact,
        ids=[],
        spans=[],
        outside_author=[],
        outside_scorer=[],
    )


@dataclass
class Answer:
    """One author's response as far as it is known. Positions count from 0; figures may be behind the text."""

    author: str
    ids: list[int] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    """What each position completed of the text; empty for the end and for a part of a character."""
    end: int | None = None
    """The position of the token that ended the response."""
    finish: Finish | None = None
    given: bool = False
    logp: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    top: list[Top] = field(default_factory=list)
    scores: dict[str, Score] = field(default_factory=dict)

    @classmethod
    def from_response(cls, response: Response, pieces: dict[int, str]) -> Answer:
        """Return the answer that a recorded response holds."""
        count = len(response.ids)
        if len(response.ends) == count:
            parts = [response.text[slice(*response.span(position))] for position in range(count)]
        else:  # a trace of another program, without ends: its pieces are the nearest thing to the text
            parts = [pieces.get(identifier, f"<{identifier}>") for identifier in response.ids]
        end = count - 1 if response.finish == "eos" and count else None
        if end is not None:
            parts[end] = ""
        return cls(
            author=response.author,
            ids=list(response.ids),
            parts=parts,
            end=end,
            finish=response.finish,
            given=response.given,
            logp=list(response.logp),
            entropy=list(response.entropy),
            top=list(response.top),
            scores=dict(response.scores),
        )

    @property
    def length(self) -> int:
        """Positions emitted so far, the end included."""
        return len(self.ids)

    @property
    def counted(self) -> int:
        """Positions that count in aggregates: all but the end."""
        return self.length - (self.end is not None)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.parts)

    def piece(self, position: int) -> Piece:
        """Return what ``position`` completed."""
        return Piece(self.parts[position], position == self.end)

    def scored(self, scorer: str) -> int:
        """Return how many positions ``scorer`` has scored."""
        score = self.scores.get(scorer)
        return len(score.rank) if score is not None else 0

    def shift(self, position: int, scorer: str, thresholds: Thresholds) -> ShiftClass | None:
        """Return the shift class of ``position``, or None while it is not scored."""
        score = self.scores.get(scorer)
        if score is None or not 0 <= position < len(score.rank):
            return None
        return thresholds.classify(score.rank[position])

    def counts(self, scorer: str, thresholds: Thresholds) -> dict[ShiftClass, int]:
        """Return how many scored positions have each class; the end does not count."""
        counts: dict[ShiftClass, int] = {"unshifted": 0, "marginal": 0, "shifted": 0}
        score = self.scores.get(scorer)
        for position, rank in enumerate(score.rank if score is not None else []):
            if position != self.end and rank is not None:
                counts[thresholds.classify(rank)] += 1
        return counts

    def shifted(self, scorer: str, thresholds: Thresholds) -> list[int]:
        """Return the shifted positions, in order, the end included."""
        score = self.scores.get(scorer)
        ranks = score.rank if score is not None else []
        return [position for position, rank in enumerate(ranks) if thresholds.classify(rank) == "shifted"]

    def rises(self, scorer: str) -> list[int]:
        """Return all positions with both log-probs by author − scorer log-prob, largest first."""
        score = self.scores.get(scorer)
        if score is None:
            return []
        figures = enumerate(zip(self.logp, score.logp, strict=False))
        rise = {position: own - other for position, (own, other) in figures if other is not None}
        return sorted(rise, key=lambda position: (-rise[position], position))

    def choice(self, position: int, scorer: str) -> tuple[int, float] | None:
        """Return the scorer's own first choice (id, log-prob) at ``position``."""
        score = self.scores.get(scorer)
        if score is None or not 0 <= position < len(score.top) or not score.top[position]:
            return None
        return score.top[position][0]

    def emit(self, event: Emitted) -> None:
        """Take in one emitted token."""
        self.ids.append(event.id)
        self.parts.append("" if event.is_eos else event.text)
        if event.is_eos:
            self.end = event.position

    def take_scores(self, event: Scored) -> None:
        """Take in the figures of a chunk of positions."""
        self.logp.extend(event.logp)
        self.entropy.extend(event.entropy)
        self.top.extend(event.top)
        for scorer, part in event.scores.items():
            score = self.scores.setdefault(scorer, _empty_score(part.exact))
            score.logp.extend(part.logp)
            score.rank.extend(part.rank)
            score.ties.extend(part.ties)
            score.entropy.extend(part.entropy)
            score.kl_author_scorer.extend(part.kl_author_scorer)
            score.kl_scorer_author.extend(part.kl_scorer_author)
            score.js.extend(part.js)
            score.top.extend(part.top)
            score.ids.extend(part.ids)
            score.spans.extend(part.spans)
            score.outside_author.extend(part.outside_author)
            score.outside_scorer.extend(part.outside_scorer)


@dataclass
class Exchange:
    """One prompt and the answers to it."""

    prompt_id: str
    prompt: str
    reference: str | None = None
    contexts: dict[str, Context] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    pieces: dict[int, str] = field(default_factory=dict)
    own_pieces: dict[str, dict[int, str]] = field(default_factory=dict)
    """The pieces of each model that has other ids than those of ``pieces``."""
    error: str | None = None
    status: Status = "waiting"
    trace: Trace | None = None
    """The complete trace, once there is one."""

    @classmethod
    def from_trace(cls, trace: Trace) -> Exchange:
        """Return the exchange that a trace holds."""
        exchange = cls(trace.prompt_id, trace.prompt)
        exchange.take_trace(trace)
        return exchange

    def take_trace(self, trace: Trace) -> None:
        """Become what the complete trace says."""
        self.prompt, self.reference, self.error = trace.prompt, trace.reference, trace.error
        self.contexts, self.pieces, self.trace = trace.contexts, trace.pieces, trace
        self.own_pieces = trace.own_pieces
        self.answers = {
            response.author: Answer.from_response(response, trace.read_pieces(response.author))
            for response in trace.responses
        }
        self.status = status_of(trace)

    def apply(self, event: Event) -> None:
        """Take in one event of a live comparison."""
        match event:
            case Started():
                self.contexts, self.reference = event.contexts, event.prompt.reference
                self.own_pieces = {name: {} for name in event.apart}
                self.answers = {author: Answer(author) for author in event.authors}
                self.status = "running"
            case Emitted():
                self.own_pieces.get(event.author, self.pieces).setdefault(event.id, event.piece)
                self.answers.setdefault(event.author, Answer(event.author)).emit(event)
            case Scored():
                self.pieces.update(event.pieces)
                for name, pieces in event.own_pieces.items():
                    self.own_pieces.setdefault(name, {}).update(pieces)
                self.answers.setdefault(event.author, Answer(event.author)).take_scores(event)
            case Finished():
                self.take_trace(event.trace)

    def name(self, identifier: int, model: str = "") -> str:
        """Return the text of an id of ``model``'s, or the id in angle brackets where no piece is known."""
        return self.own_pieces.get(model, self.pieces).get(identifier, f"<{identifier}>")


def status_of(trace: Trace) -> Status:
    """Return how the prompt of a complete trace ended."""
    if trace.error is not None:
        return "failed"
    if any(response.finish == "cancelled" for response in trace.responses):
        return "cancelled"
    return "done"
