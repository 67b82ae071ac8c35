"""One response as it comes to be: an author's stream that writes (or is given) ids, and scorers that follow in chunks.

The author feeds one id at a time; its last rows are kept until a chunk is full. Then every scorer is extended by that
chunk, both blocks are reduced where they lie, and dropped: memory is O(chunk · vocabulary), and chunk boundaries are
the same for every run. A scorer's context is fed with its first chunk. Scorers with another tokenizer read the text
when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from itx.compare.alignment import read_pieces
from itx.compare.crossing import Written, empty_score, score_text
from itx.compare.decoding import Chooser
from itx.compare.events import Emitted, Scored
from itx.compare.naming import Named, Names
from itx.compare.outside import measure_outside
from itx.compare.rounding import round_figures, round_score, round_tops
from itx.errors import MismatchError
from itx.models.contract import Engine, Reduction, Rows, Stream
from itx.records import Context, Finish, Response, Score, Top

_COLUMNS = ("logp", "rank", "ties", "entropy", "kl_author_scorer", "kl_scorer_author", "js", "top")
_OUTSIDE = ("outside_author", "outside_scorer")


class Writing:
    """The response of one author under way, with all its scorers.

    ``limit`` bounds the positions; ``given`` are ids that are scored instead of chosen. ``apart`` are scorers with
    another tokenizer than the author's.
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
        self.finish: Finish | None = None
        self._scorers = list(scorers)
        self._apart = list(apart)
        self._contexts = contexts
        self._chunk = chunk
        self._width = width
        self._limit = limit
        self._chooser = chooser
        self._names = names
        self._given = given
        # By place and not by name: a model may score itself.
        self._stream = author.stream()
        self._streams = [engine.stream() for engine in self._scorers]
        self._decoder = author.vocabulary.decoder()
        self._ids: list[int] = []
        self._text: list[str] = []
        self._ends: list[int] = []
        self._characters = 0
        self._rows: list[Rows] = []
        self._scored = 0
        self._logp: list[float] = []
        self._entropy: list[float] = []
        self._top: list[Top] = []
        self._scores: dict[str, Score] = {
            engine.name: msgspec.structs.replace(empty_score(0), exact=True, outside_author=[], outside_scorer=[])
            for engine in self._scorers
        }

    def step(self) -> Iterator[Emitted | Scored]:
        """Emit the next id; when a chunk is full or the response ends, score what was not scored yet.

        Raises MismatchError where the response goes on behind an id that a scorer lacks, or a scorer with another
        tokenizer cannot read it; up to there it is scored.
        """
        token = self._next_given() if self._given is not None else self._choose_next()
        if token is None:
            yield from self.stop("length")
            return
        yield self._emit(token)
        lacking = self._find_lacking(token) if self.finish is None else None
        if self.finish is not None or lacking or len(self._ids) - self._scored == self._chunk:
            yield from self._score()
        if self.finish is not None:
            yield from self._cross()
        if lacking:
            raise MismatchError(
                f"At position {len(self._ids) - 1} {self.author.name} has {self.author.vocabulary.piece(token)!r} "
                f"({token}), and {lacking.name} knows {lacking.vocab_size} ids only: it cannot score what follows.",
                f"What is scored up to there is kept; to go on, lengthen the embeddings of {lacking.name} "
                "(resize_token_embeddings), as the tuning did.",
            )

    def stop(self, finish: Finish) -> Iterator[Scored]:
        """End the response here; what was emitted is scored. Raises MismatchError as ``step`` does."""
        self.finish = finish
        yield from self._score()
        yield from self._cross()

    def _find_lacking(self, token: int) -> Engine | None:
        """Return a scorer that has no embedding for ``token`` (the author added it) and so cannot go on behind it."""
        return next((engine for engine in self._scorers if token >= engine.vocab_size), None)

    def _next_given(self) -> int | None:
        given = self._given or ()
        return given[len(self._ids)] if len(self._ids) < len(given) else None

    def _choose_next(self) -> int:
        fed = self._contexts[self.author.name].ids if not self._ids else self._ids[-1:]
        rows = self._stream.extend(fed)
        self._rows.append(rows)
        return self._chooser.choose(rows, self.author.arithmetic)

    def _emit(self, token: int) -> Emitted:
        position = len(self._ids)
        self._ids.append(token)
        ends_here = token in self.author.eos
        last = position + 1 >= (self._limit if self._given is None else len(self._given))
        closing = ends_here and (self._given is None or last)
        text = "" if closing else self._decoder.feed(token)
        if closing or last:
            self.finish = "eos" if closing else "length"
            text += self._decoder.flush()
        self._text.append(text)
        self._characters += len(text)
        self._ends.append(self._characters)
        piece = self.author.vocabulary.piece(token)
        return Emitted(author=self.author.name, position=position, id=token, piece=piece, text=text, is_eos=closing)

    def _extend(self, stream: Stream, name: str, start: int, stop: int) -> Rows:
        """Return a model's rows that predict positions ``start`` … ``stop - 1``."""
        fed = self._contexts[name].ids + self._ids[: stop - 1] if start == 0 else self._ids[start - 1 : stop - 1]
        return stream.extend(fed, keep=stop - start)

    def _score(self) -> Iterator[Scored]:
        start, stop = self._scored, len(self._ids)
        if start == stop:
            return
        author, arithmetic = self.author, self.author.arithmetic
        if self._given is not None:
            own = self._extend(self._stream, author.name, start, stop)
        else:
            own = arithmetic.stack(self._rows)
        self._rows = []
        others = [
            arithmetic.adopt(self._extend(stream, engine.name, start, stop), engine.arithmetic)
            for engine, stream in zip(self._scorers, self._streams, strict=True)
        ]
        figures = arithmetic.reduce(own, others, self._ids[start:stop], self._width)
        rounded = [round_score(score) for score in self._add_outside(own, others, figures)]
        del own, others
        self._scored = stop
        logp, entropy = round_figures(figures.own.logp), round_figures(figures.own.entropy)
        top = round_tops(figures.own.top)
        self._logp += logp
        self._entropy += entropy
        self._top += top
        scores = {engine.name: score for engine, score in zip(self._scorers, rounded, strict=True)}
        for name, score in scores.items():
            for column in (*_COLUMNS, *_OUTSIDE):
                getattr(self._scores[name], column).extend(getattr(score, column))
        used = [(author.name, top, self._ids[start:stop]), *((name, score.top, []) for name, score in scores.items())]
        yield self._tell(start, logp, entropy, top, scores, self._name(used))

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

    def _add_outside(self, own: Rows, others: Sequence[Rows], figures: Reduction) -> list[Score]:
        """Return the scores with the probability that lies outside the common ids, where not all ids are common."""
        author, width = self.author, self._width
        scores = []
        ours: list[float] | None = None
        for engine, rows, score in zip(self._scorers, others, figures.scores, strict=True):
            if author.vocab_size == width == engine.vocab_size:
                scores.append(score)
                continue
            if ours is None:
                ours = self._measure_outside(author, own, figures.own.top)
            theirs = self._measure_outside(engine, rows, score.top)
            scores.append(msgspec.structs.replace(score, outside_author=ours, outside_scorer=theirs))
        return scores

    def _measure_outside(self, engine: Engine, rows: Rows, tops: Sequence[Top]) -> list[float]:
        if engine.vocab_size == self._width:
            return [0.0] * len(tops)
        return measure_outside(rows, self.author.arithmetic, tops, self._width)

    def _cross(self) -> Iterator[Scored]:
        """Score the whole text by the scorers with another tokenizer."""
        if not self._apart:
            return
        closed = self.finish == "eos"
        ids = self._ids[: len(self._ids) - closed]
        written = Written(read_pieces(self.author.vocabulary, ids), self._logp, closed)
        failure: MismatchError | None = None
        for engine in self._apart:
            crossing = score_text(engine, self._contexts[engine.name], written, self._chunk)
            failure = failure or crossing.failure
            score = self._scores[engine.name] = crossing.score
            named = self._name([(engine.name, score.top, score.ids)])
            yield self._tell(self._scored, [], [], [], {engine.name: score}, named)
        if failure is not None:
            raise failure

    def response(self) -> Response:
        """Return the response as far as it is scored."""
        count = self._scored
        unread = {engine.name: empty_score(count) for engine in self._apart if engine.name not in self._scores}
        return Response(
            author=self.author.name,
            ids=self._ids[:count],
            text="".join(self._text[:count]),
            finish=self.finish or "cancelled",
            logp=self._logp,
            entropy=self._entropy,
            top=self._top,
            scores=self._scores | unread,
            ends=self._ends[:count],
            given=self._given is not None,
        )
