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
        self._streams: dict[str, Stream] = {}
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
        """Emit the next id; when a chunk is full or the response ends, score what was not scored yet."""
        token = self._next_given() if self._given is not None else self._choose_next()
        if token is None:
            yield from self.stop("length")
            return
        yield self._emit(token)
        if self.finish is not None or len(self._ids) - self._scored == self._chunk:
            yield from self._score()

    def stop(self, finish: Finish) -> Iterator[Scored]:
        """End the response here; what was emitted is scored."""
        self.finish = finish
        yield from self._score()

    def _next_given(self) -> int | None:
        given = self._given or ()
        return given[len(self._ids)] if len(self._ids) < len(given) else None

    def _choose_next(self) -> int:
        stream = self._stream(self.author)
        fed = self._contexts[self.author.name].ids if not self._ids else self._ids[-1:]
        rows = stream.extend(fed)
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

    def _stream(self, engine: Engine) -> Stream:
        if engine.name not in self._streams:
            self._streams[engine.name] = engine.stream()
        return self._streams[engine.name]

    def _extend(self, engine: Engine, start: int, stop: int) -> Rows:
        """Return the engine's rows that predict positions ``start`` … ``stop - 1``."""
        context = self._contexts[engine.name].ids
        fed = context + self._ids[: stop - 1] if start == 0 else self._ids[start - 1 : stop - 1]
        return self._stream(engine).extend(fed, keep=stop - start)

    def _score(self) -> Iterator[Scored]:
        start, stop = self._scored, len(self._ids)
        if start == stop:
            return
        arithmetic = self.author.arithmetic
        own = self._extend(self.author, start, stop) if self._given is not None else arithmetic.stack(self._rows)
        self._rows = []
        others = [arithmetic.adopt(self._extend(engine, start, stop), engine.arithmetic) for engine in self._scorers]
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
