"""Several prompts answered by models that are loaded one after the other.

Each model in turn writes its responses, its rows of logits going to the disk, and scores those that models before it
wrote; then, in the opposite order, each scores what models after it wrote. So of k models each is loaded twice at most.
Chunks and arithmetic are those of models that are loaded together, and so are the figures, to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import msgspec

from itx.compare.case import Case
from itx.compare.draft import COLUMNS, OUTSIDE, Draft
from itx.compare.events import Cancel, Told
from itx.compare.outside import add_outside
from itx.compare.spool import Spool, SpooledRows, measure_rows
from itx.errors import MemoryExhaustedError
from itx.models.contract import Engine, Own, Reduction
from itx.records import Prompt, Score

MOST = 32
"""Prompts between two turns of the models, at most: what a crash could cost."""


class _Leg(NamedTuple):
    """A response that was written: its rows, and the figures that are known by now, a chunk each, by scorer."""

    case: Case
    draft: Draft
    rows: SpooledRows
    figures: dict[str, list[Reduction]]


def choose_size(authors: Sequence[Engine], positions: int, room: int) -> int:
    """Return how many prompts' rows have room on the disk. Raises MemoryExhaustedError where not one's have."""
    needed = max(1, sum(measure_rows(positions, engine.vocab_size) for engine in authors))
    if needed > room:
        raise MemoryExhaustedError(
            f"The rows of one prompt take {needed / 1e9:.1f} GB of disk, and there is room for {room / 1e9:.1f} GB.",
            "Name a folder with more room: TMPDIR=FOLDER itx run …, or use a smaller --max-new-tokens.",
        )
    return min(MOST, room // needed)


class Relay:
    """Prompts, and the models by seat, in the order in which they are asked."""

    def __init__(
        self, prompts: Sequence[Prompt], open_case: Callable[[Prompt], Case], seats: Sequence[Sequence[Engine]]
    ) -> None:
        self._cases = [open_case(prompt) for prompt in prompts]
        self._seats = [list(seat) for seat in seats]
        self._legs: list[_Leg] = []
        self._begun = {place for place, case in enumerate(self._cases) if case.done}
        self._stopped = False

    def answer(self, cancel: Cancel) -> Iterator[Told]:
        """Yield every prompt's events, and all Finished ones at the end, in order.

        A prompt that had not begun when ``cancel`` came has none; those that had are scored to where they were stopped.
        """
        for case in self._cases:
            yield Told(case.prompt, case.started())
        with Spool() as spool:
            for place, seat in enumerate(self._seats):
                for engine in seat:
                    yield from self._write(engine, spool, cancel)
                self._score(seat, {engine.name for other in self._seats[: place + 1] for engine in other})
            for place in range(len(self._seats) - 2, -1, -1):
                self._score(self._seats[place], {engine.name for seat in self._seats[place + 1 :] for engine in seat})
        for leg in self._legs:
            if leg.case.error is None and leg.draft.ids:
                yield Told(leg.case.prompt, leg.draft.take(_join(leg)))
            leg.draft.complete = True
        for place in sorted(self._begun):
            case = self._cases[place]
            case.settle()
            yield Told(case.prompt, case.finished())

    def _write(self, engine: Engine, spool: Spool, cancel: Cancel) -> Iterator[Told]:
        """Let a model write all its responses, or read those that are given."""
        for place, case in enumerate(self._cases):
            for draft in case.drafts:
                if draft.author is not engine or case.error is not None:
                    continue
                self._stopped = self._stopped or cancel()
                if self._stopped and place not in self._begun:
                    return
                self._begun.add(place)
                leg = _Leg(case, draft, spool.open(engine.vocab_size), {})
                self._legs.append(leg)
                with case.failing():
                    yield from self._fill(leg, cancel)

    def _fill(self, leg: _Leg, cancel: Cancel) -> Iterator[Told]:
        draft, author = leg.draft, leg.draft.author
        stream = author.stream()
        written = 0
        while not draft.ended:
            self._stopped = self._stopped or cancel()
            if self._stopped:
                draft.finish = "cancelled"
            else:
                token = draft.choose(stream.extend(draft.next_fed())) if draft.given is None else draft.next_given()
                if token is None:
                    draft.finish = "length"
                else:
                    yield Told(leg.case.prompt, draft.emit(token))
            count = len(draft.ids)
            if count > written and (draft.ended or count - written == draft.chunk):
                if draft.given is None:
                    rows = author.arithmetic.stack(draft.rows)
                    draft.rows = []
                else:
                    rows = stream.extend(draft.read_between(author.name, written, count), keep=count - written)
                leg.rows.append(rows, author.arithmetic)
                written = count

    def _score(self, seat: Sequence[Engine], authors: set[str]) -> None:
        """Let the models of a seat score what these authors wrote and they have not scored."""
        for engine, leg in product(seat, self._legs):
            draft = leg.draft
            wanted = draft.author.name in authors and any(engine is scorer for scorer in draft.scorers)
            if wanted and engine.name not in leg.figures and leg.case.error is None:
                with leg.case.failing():
                    leg.figures[engine.name] = list(_score_leg(leg, engine))


def _score_leg(leg: _Leg, engine: Engine) -> Iterator[Reduction]:
    """Yield the figures of a response beside one scorer, chunk by chunk."""
    draft, author = leg.draft, leg.draft.author
    arithmetic = author.arithmetic
    stream = engine.stream()
    for start in range(0, len(draft.ids), draft.chunk):
        stop = min(start + draft.chunk, len(draft.ids))
        fed = draft.read_between(engine.name, start, stop)
        other = arithmetic.adopt(stream.extend(fed, keep=stop - start), engine.arithmetic)
        own = leg.rows.read(start, stop, arithmetic)
        figures = arithmetic.reduce(own, [other], draft.ids[start:stop], draft.width)
        yield add_outside(figures, author, [engine], own, [other], draft.width)


def _join(leg: _Leg) -> Reduction:
    """Return the figures of the whole response, scorers in the draft's order."""
    by_scorer = [leg.figures[engine.name] for engine in leg.draft.scorers]
    own = [figures.own for figures in by_scorer[0]]
    return Reduction(
        Own(
            [value for each in own for value in each.logp],
            [value for each in own for value in each.entropy],
            [top for each in own for top in each.top],
        ),
        [_join_scores([figures.scores[0] for figures in each]) for each in by_scorer],
    )


def _join_scores(scores: Sequence[Score]) -> Score:
    columns = {name: [value for score in scores for value in getattr(score, name)] for name in (*COLUMNS, *OUTSIDE)}
    return msgspec.structs.replace(scores[0], **columns)
