"""One response written and scored alone: an author's stream that writes (or is given) ids, and scorers that follow.

The author feeds one id at a time; its last rows are kept until a chunk is full. Then every scorer is extended by that
chunk, both blocks are reduced where they lie, and dropped: memory is O(chunk · vocabulary), and chunk boundaries are
the same for every run. A scorer's context is fed with its first chunk.
"""

from __future__ import annotations

from collections.abc import Iterator

from itx.compare.draft import Draft
from itx.compare.events import Emitted, Scored
from itx.compare.outside import add_outside
from itx.records import Finish, Response


class Writing:
    """A draft under way, with the streams of its author and of all its scorers."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        # By place and not by name: a model may score itself.
        self._stream = draft.author.stream()
        self._streams = [engine.stream() for engine in draft.scorers]

    @property
    def finish(self) -> Finish | None:
        """How the response ended, None while it goes on."""
        return self.draft.finish

    def step(self) -> Iterator[Emitted | Scored]:
        """Emit the next id; when a chunk is full or the response ends, score what was not scored yet.

        Raises MismatchError where the response goes on behind an id that a scorer lacks, or a scorer with another
        tokenizer cannot read it; up to there it is scored.
        """
        draft = self.draft
        token = self._choose_next() if draft.given is None else draft.next_given()
        if token is None:
            yield from self.stop("length")
            return
        yield draft.emit(token)
        if draft.ended or len(draft.ids) - draft.scored == draft.chunk:
            yield from self._score()
        if draft.finish is not None:
            yield from draft.cross()
        if draft.failure is not None:
            raise draft.failure

    def stop(self, finish: Finish) -> Iterator[Scored]:
        """End the response here; what was emitted is scored. Raises MismatchError as ``step`` does."""
        self.draft.finish = finish
        yield from self._score()
        yield from self.draft.cross()
        if self.draft.failure is not None:
            raise self.draft.failure

    def _choose_next(self) -> int:
        return self.draft.choose(self._stream.extend(self.draft.next_fed()))

    def _score(self) -> Iterator[Scored]:
        draft = self.draft
        ids = draft.ids[draft.scored :]
        if not ids:
            return
        author, arithmetic, count = draft.author, draft.author.arithmetic, len(ids)
        if draft.given is not None:
            own = self._stream.extend(draft.read_unscored(author.name), keep=count)
        else:
            own = arithmetic.stack(draft.rows)
            draft.rows = []
        others = [
            arithmetic.adopt(stream.extend(draft.read_unscored(engine.name), keep=count), engine.arithmetic)
            for engine, stream in zip(draft.scorers, self._streams, strict=True)
        ]
        figures = arithmetic.reduce(own, others, ids, draft.width)
        figures = add_outside(figures, author, draft.scorers, own, others, draft.width)
        del own, others
        yield draft.take(figures)

    def response(self) -> Response:
        """Return the response as far as it is scored."""
        return self.draft.response()
