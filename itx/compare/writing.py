"""One response as it comes to be: an author's stream that writes (or is given) ids, and scorers that follow in chunks.

The author feeds one id at a time; its last rows are kept until a chunk is full. Then every scorer is extended by that
chunk, both blocks are reduced where they lie, and dropped: memory is O(chunk · vocabulary), and chunk boundaries are
the same for every run. A scorer's context is fed with its first chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from itx.compare.decoding import Chooser
from itx.compare.events import Emitted, Scored
from itx.compare.rounding import round_figures, round_score, round_tops
from itx.errors import MismatchError
from itx.models.contract import Engine, Rows, Stream
from itx.records import Context, Finish, Response, Score, Top

_COLUMNS = ("logp", "rank", "ties", "entropy", "kl_author_scorer", "kl_scorer_author", "js", "top")


class Writing:
    """The response of one author under way, with all its scorers.

    ``limit`` bounds the positions; ``given`` are ids that are scored instead of chosen.
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
        name_ids: Callable[[Sequence[Top], Sequence[int]], dict[int, str]],
        given: Sequence[int] | None = None,
    ) -> None:
        self.author = author
        self.finish: Finish | None = None
        self._scorers = list(scorers)
        self._contexts = contexts
        self._chunk = chunk
        self._width = width
        self._limit = limit
        self._chooser = chooser
        self._name_ids = name_ids
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
            engine.name: Score(
                logp=[], rank=[], ties=[], entropy=[], kl_author_scorer=[], kl_scorer_author=[], js=[], top=[]
            )
            for engine in self._scorers
        }

    def step(self) -> Iterator[Emitted | Scored]:
        """Emit the next id; when a chunk is full or the response ends, score what was not scored yet.

        Raises MismatchError where the response goes on behind an id that a scorer lacks; up to there it is scored.
        """
        token = self._next_given() if self._given is not None else self._choose_next()
        if token is None:
            yield from self.stop("length")
            return
        yield self._emit(token)
        lacking = self._find_lacking(token) if self.finish is None else None
        if self.finish is not None or lacking or len(self._ids) - self._scored == self._chunk:
            yield from self._score()
        if lacking:
            raise MismatchError(
                f"At position {len(self._ids) - 1} {self.author.name} has {self.author.vocabulary.piece(token)!r} "
                f"({token}), and {lacking.name} knows {lacking.vocab_size} ids only: it cannot score what follows.",
                f"What is scored up to there is kept; to go on, lengthen the embeddings of {lacking.name} "
                "(resize_token_embeddings), as the tuning did.",
            )

    def stop(self, finish: Finish) -> Iterator[Scored]:
        """End the response here; what was emitted is scored."""
        self.finish = finish
        yield from self._score()

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
        del own, others
        self._scored = stop
        logp, entropy = round_figures(figures.own.logp), round_figures(figures.own.entropy)
        top = round_tops(figures.own.top)
        self._logp += logp
        self._entropy += entropy
        self._top += top
        scores = {engine.name: round_score(score) for engine, score in zip(self._scorers, figures.scores, strict=True)}
        tops = list(top)
        for name, score in scores.items():
            for column in _COLUMNS:
                getattr(self._scores[name], column).extend(getattr(score, column))
            tops += score.top
        pieces = self._name_ids(tops, self._ids[start:stop])
        yield Scored(
            author=self.author.name, start=start, logp=logp, entropy=entropy, top=top, scores=scores, pieces=pieces
        )

    def response(self) -> Response:
        """Return the response as far as it is scored."""
        count = self._scored
        return Response(
            author=self.author.name,
            ids=self._ids[:count],
            text="".join(self._text[:count]),
            finish=self.finish or "cancelled",
            logp=self._logp,
            entropy=self._entropy,
            top=self._top,
            scores=self._scores,
            ends=self._ends[:count],
            given=self._given is not None,
        )
