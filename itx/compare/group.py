"""Responses of one author to one prompt or to several, written and scored together.

All are at the same position. The author is extended by one id each; who has ended leaves its batch at once. When a
chunk is full every scorer is extended by all that was emitted since, by those too that ended within it, and both
blocks are reduced as one: memory is O(responses · chunk · vocabulary), and every response is cut into chunks where it
would be alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from itx.compare.draft import COLUMNS, OUTSIDE, Draft
from itx.compare.events import Emitted, Scored
from itx.compare.outside import add_outside
from itx.models.contract import Batch, Engine, Own, Reduction, Rows
from itx.models.turns import Turns
from itx.records import Score

Told = tuple[Draft, Emitted | Scored]


class Group:
    """Drafts of one author with the same scorers, chunk and width: all generated, or all given."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        first = drafts[0]
        self.drafts = list(drafts)
        self._given = first.given is not None
        self._author = first.author
        self._scorers = first.scorers
        self._chunk = first.chunk
        self._width = first.width
        self._steps = 0
        self._writing = list(drafts)
        """Those that go on; where they are written, by their places in the author's batch."""
        self._waiting = list(drafts)
        """Those that are not scored to their end, by their places in the scorers' batches."""
        # Such a response is read in one pass, which needs nothing of another.
        once = first.given is not None and len(drafts) == 1 and len(first.given) <= first.chunk
        self._stream = _open(first.author, len(drafts), once=once)
        # By place and not by name: a model may score itself.
        self._streams = [_open(engine, len(drafts), once=once) for engine in first.scorers]

    @property
    def done(self) -> bool:
        """Whether every response has ended and is scored."""
        return not self._waiting

    def step(self) -> Iterator[Told]:
        """Let each response that goes on emit its next id; score them when a chunk is full or all have ended.

        What keeps one from going on is its draft's ``failure``.
        """
        tokens = self._read_given() if self._given else self._choose()
        for draft, token in zip(self._writing, tokens, strict=True):
            if token is None:
                draft.finish = "length"
            else:
                yield draft, draft.emit(token)
        going = [place for place, draft in enumerate(self._writing) if not draft.ended]
        if going and len(going) < len(self._writing) and not self._given:
            self._stream.select(going)
        self._writing = [self._writing[place] for place in going]
        self._steps += 1
        if not going or self._steps % self._chunk == 0:
            yield from self._score()

    def cancel(self) -> Iterator[Told]:
        """End every response here; what was emitted is scored."""
        for draft in self._writing:
            draft.finish = "cancelled"
        self._writing = []
        yield from self._score()

    def _choose(self) -> Sequence[int | None]:
        arithmetic = self._author.arithmetic
        rows = self._stream.extend([draft.next_fed() for draft in self._writing], [1] * len(self._writing))
        parts = arithmetic.split(rows)
        if not self._writing[0].greedy:
            return [draft.choose(part) for draft, part in zip(self._writing, parts, strict=True)]
        for draft, part in zip(self._writing, parts, strict=True):
            draft.rows.append(part)
        return arithmetic.argmaxes(rows)

    def _read_given(self) -> Sequence[int | None]:
        return [draft.next_given() for draft in self._writing]

    def _score(self) -> Iterator[Told]:
        reached = self._waiting
        # Nothing is to be scored of an empty response that was given, nor where a chunk has just been.
        fresh = [place for place, draft in enumerate(reached) if len(draft.ids) > draft.scored]
        if fresh:
            self._keep(fresh)
            yield from self._reduce()
        for draft in reached:
            if draft.finish is not None:
                for scored in draft.cross():
                    yield draft, scored
            draft.complete = draft.ended
        self._keep([place for place, draft in enumerate(self._waiting) if not draft.ended])

    def _keep(self, places: Sequence[int]) -> None:
        """Leave all but these places out of what follows."""
        if 0 < len(places) < len(self._waiting):
            for stream in self._followers():
                stream.select(places)
        self._waiting = [self._waiting[place] for place in places]

    def _followers(self) -> list[Batch]:
        return [self._stream, *self._streams] if self._given else self._streams

    def _reduce(self) -> Iterator[Told]:
        """Score all that was emitted since the last chunk."""
        arithmetic, drafts = self._author.arithmetic, self._waiting
        counts = [len(draft.ids) - draft.scored for draft in drafts]
        if self._given:
            own = self._stream.extend([draft.read_unscored(self._author.name) for draft in drafts], counts)
        else:
            own = arithmetic.stack([row for draft in drafts for row in draft.rows])
            for draft in drafts:
                draft.rows = []
        others = [
            arithmetic.adopt(
                stream.extend([draft.read_unscored(engine.name) for draft in drafts], counts), engine.arithmetic
            )
            for engine, stream in zip(self._scorers, self._streams, strict=True)
        ]
        ids = [token for draft in drafts for token in draft.ids[draft.scored :]]
        figures = arithmetic.reduce(own, others, ids, self._width)
        figures = add_outside(figures, self._author, self._scorers, own, others, self._width)
        del own, others
        for draft, part in zip(drafts, cut_figures(figures, counts), strict=True):
            yield draft, draft.take(part)


class _Once:
    """What stands for a stream that is extended once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def extend(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Read ``ids``."""
        return self._engine.read(ids, keep)


def _open(engine: Engine, count: int, *, once: bool) -> Batch:
    """Return fresh streams; one alone needs none of what tells several apart."""
    if count > 1:
        return engine.batch(count)
    return Turns([_Once(engine) if once else engine.stream()], engine.arithmetic)


def cut_figures(figures: Reduction, counts: Sequence[int]) -> Iterator[Reduction]:
    """Yield the figures of so many positions each, in order."""
    start = 0
    for count in counts:
        part = slice(start, start + count)
        own = Own(figures.own.logp[part], figures.own.entropy[part], figures.own.top[part])
        yield Reduction(own, [_cut_score(score, part) for score in figures.scores])
        start += count


def _cut_score(score: Score, part: slice) -> Score:
    return msgspec.structs.replace(score, **{name: getattr(score, name)[part] for name in (*COLUMNS, *OUTSIDE)})
