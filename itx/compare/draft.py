"""One response as it comes to be: what was emitted, what is scored, and how it ended. Whoever has the streams fills it.

Every scorer of one tokenizer follows in chunks; those with another one read the text when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from itx.compare.alignment import read_pieces
from itx.compare.crossing import Written, empty_score, score_text
from itx.compare.decoding import Chooser
from itx.compare.events import Emitted, Scored
from itx.compare.naming import Named, Names
from itx.compare.rounding import round_figures, round_score, round_tops
from itx.errors import MismatchError
from itx.models.contract import Engine, Reduction, Rows
from itx.records import Context, Finish, Response, Score, Top

COLUMNS = ("logp", "rank", "ties", "entropy", "kl_author_scorer", "kl_scorer_author", "js", "top")
OUTSIDE = ("outside_author", "outside_scorer")


class Draft:
    """The response of one author under way.

    ``limit`` bounds the positions; ``given`` are ids that are scored instead of chosen. ``apart`` are scorers with
    another tokenizer than the author's. ``width`` are the columns that author and ``scorers`` share, ``chunk`` the
    positions that these are extended by.
    """

    def __init__(
        self,
        author: Engine,
        scorers: Sequence[Engine],
        contexts: Mapping[str, Context],
        *,
        chunk: int,
        width: int,
        limit: int,
        chooser: Chooser,
        names: Names | None = None,
        given: Sequence[int] | None = None,
        apart: Sequence[Engine] = (),
    ) -> None:
        self.author = author
        self.scorers = list(scorers)
        self.chunk = chunk
        self.width = width
        self.given = given
        self.ids: list[int] = []
        self.scored = 0
        """Positions that are scored."""
        self.rows: list[Rows] = []
        """The author's rows of those that are not, one each, where it wrote them."""
        self.finish: Finish | None = None
        self.failure: MismatchError | None = None
        """Why it cannot go on, once a scorer lacks what it went on with or cannot read it."""
        self.complete = False
        """Whether it has ended and is scored to its end; whoever fills it in a group says so."""
        self._apart = list(apart)
        self._contexts = contexts
        self._limit = limit
        self._chooser = chooser
        self._names = names
        self._decoder = author.vocabulary.decoder()
        self._text: list[str] = []
        self._ends: list[int] = []
        self._characters = 0
        self._logp: list[float] = []
        self._entropy: list[float] = []
        self._top: list[Top] = []
        self._scores: dict[str, Score] = {
            engine.name: msgspec.structs.replace(empty_score(0), exact=True, outside_author=[], outside_scorer=[])
            for engine in self.scorers
        }

    @property
    def ended(self) -> bool:
        """Whether nothing more is emitted."""
        return self.finish is not None or self.failure is not None

    @property
    def greedy(self) -> bool:
        """Whether the best id is chosen, and nothing drawn."""
        return self._chooser.greedy

    def next_fed(self) -> list[int]:
        """Return what the author is fed before it chooses: its context, later the last id."""
        return self._contexts[self.author.name].ids if not self.ids else self.ids[-1:]

    def choose(self, rows: Rows) -> int:
        """Return the id that follows by the last of the author's rows, which are kept until they are scored."""
        self.rows.append(rows)
        return self._chooser.choose(rows, self.author.arithmetic)

    def next_given(self) -> int | None:
        """Return the next of the ids given, or None behind the last."""
        given = self.given or ()
        return given[len(self.ids)] if len(self.ids) < len(given) else None

    def emit(self, token: int) -> Emitted:
        """Take the next id in. Sets ``finish`` where it ends the response, ``failure`` where a scorer lacks it."""
        position = len(self.ids)
        self.ids.append(token)
        ends_here = token in self.author.eos
        last = position + 1 >= (self._limit if self.given is None else len(self.given))
        closing = ends_here and (self.given is None or last)
        text = "" if closing else self._decoder.feed(token)
        if closing or last:
            self.finish = "eos" if closing else "length"
            text += self._decoder.flush()
        self._text.append(text)
        self._characters += len(text)
        self._ends.append(self._characters)
        piece = self.author.vocabulary.piece(token)
        if self.finish is None:
            self._check_known(token, piece)
        return Emitted(author=self.author.name, position=position, id=token, piece=piece, text=text, is_eos=closing)

    def _check_known(self, token: int, piece: str) -> None:
        """Set ``failure`` where a scorer has no embedding for ``token`` (the author added it): it cannot go on."""
        lacking = next((engine for engine in self.scorers if token >= engine.vocab_size), None)
        if lacking is not None:
            self.failure = MismatchError(
                f"At position {len(self.ids) - 1} {self.author.name} has {piece!r} ({token}), and {lacking.name} knows "
                f"{lacking.vocab_size} ids only: it cannot score what follows.",
                f"What is scored up to there is kept; to go on, lengthen the embeddings of {lacking.name} "
                "(resize_token_embeddings), as the tuning did.",
            )

    def read_unscored(self, name: str) -> list[int]:
        """Return what a model is fed to predict the positions that are not scored: its context first, at the start."""
        return self.read_between(name, self.scored, len(self.ids))

    def read_between(self, name: str, start: int, stop: int) -> list[int]:
        """Return the same for positions ``start`` … ``stop - 1``, behind those before ``start``."""
        return self._contexts[name].ids + self.ids[: stop - 1] if start == 0 else self.ids[start - 1 : stop - 1]

    def take(self, figures: Reduction) -> Scored:
        """Take in the figures of all positions that were not scored."""
        start = self.scored
        rounded = [round_score(score) for score in figures.scores]
        logp, entropy = round_figures(figures.own.logp), round_figures(figures.own.entropy)
        top = round_tops(figures.own.top)
        self._logp += logp
        self._entropy += entropy
        self._top += top
        scores = {engine.name: score for engine, score in zip(self.scorers, rounded, strict=True)}
        for name, score in scores.items():
            for column in (*COLUMNS, *OUTSIDE):
                getattr(self._scores[name], column).extend(getattr(score, column))
        self.rows = []
        self.scored = len(self.ids)
        used = [(self.author.name, top, self.ids[start:]), *((name, score.top, []) for name, score in scores.items())]
        return self._tell(start, logp, entropy, top, scores, self._name(used))

    def _name(self, used: Sequence[tuple[str, Sequence[Top], Sequence[int]]]) -> Named:
        return Named({}, {}) if self._names is None else self._names.add(used)

    def _tell(
        self,
        start: int,
        logp: list[float],
        entropy: list[float],
        top: list[Top],
        scores: dict[str, Score],
        named: Named,
    ) -> Scored:
        return Scored(
            author=self.author.name,
            start=start,
            logp=logp,
            entropy=entropy,
            top=top,
            scores=scores,
            pieces=named.pieces,
            own_pieces=named.own_pieces,
        )

    def cross(self) -> Iterator[Scored]:
        """Score the whole text by the scorers with another tokenizer; sets ``failure`` where one cannot read it."""
        if not self._apart:
            return
        closed = self.finish == "eos"
        ids = self.ids[: len(self.ids) - closed]
        written = Written(read_pieces(self.author.vocabulary, ids), self._logp, closed)
        for engine in self._apart:
            crossing = score_text(engine, self._contexts[engine.name], written, self.chunk)
            self.failure = self.failure or crossing.failure
            score = self._scores[engine.name] = crossing.score
            named = self._name([(engine.name, score.top, score.ids)])
            yield self._tell(self.scored, [], [], [], {engine.name: score}, named)

    def response(self) -> Response:
        """Return the response as far as it is scored."""
        count = self.scored
        unread = {engine.name: empty_score(count) for engine in self._apart if engine.name not in self._scores}
        return Response(
            author=self.author.name,
            ids=self.ids[:count],
            text="".join(self._text[:count]),
            finish=self.finish or "cancelled",
            logp=self._logp,
            entropy=self._entropy,
            top=self._top,
            scores=self._scores | unread,
            ends=self._ends[:count],
            given=self.given is not None,
        )
