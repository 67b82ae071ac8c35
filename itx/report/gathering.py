"""The counted positions of a run as columns: traces are read once, and of each only figures are kept."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import cast

import numpy as np
from numpy.typing import NDArray

from itx.borrow.category import categories
from itx.records import Finish, Response, Run, Score, Trace
from itx.report.figures import Failure, order_pairs
from itx.report.lean import read_first_choices
from itx.report.spans import list_spans, measure_rise
from itx.report.wording import Ending, name_ending

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CATEGORIES = ("refusal", "style", "format", "digit", "function", "entity", "content")
"""Every category but ``eos``, in the order in which the first that fits is taken."""
_CODES = {name: code for code, name in enumerate(CATEGORIES)}
_FIGURES = ("rank", "logp", "kl", "reverse", "js", "entropy", "ties")
_NOTHING: Floats = np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """What one scorer says of an author's responses: one entry a counted position, nan where there is no figure.

    ``scored`` (one entry a response) says which responses it scored; ``stop_rank`` and ``stop_logp`` are of each
    response's closing EOS. ``outside_author`` and ``outside_scorer`` have the positions that have one. ``rises`` has
    one entry a common span of two tokenizers, ``pairs`` counts those of one token each.
    """

    scored: NDArray[np.bool_]
    rank: Floats
    logp: Floats
    kl: Floats
    reverse: Floats
    js: Floats
    entropy: Floats
    ties: Floats
    stop_rank: Floats
    stop_logp: Floats
    outside_author: Floats
    outside_scorer: Floats
    rises: Floats
    pairs: int
    exact: bool
    aligned: bool


@dataclass(frozen=True, kw_only=True)
class AuthorColumns:
    """One author's responses. The first fields have one entry a response, those from ``response`` on one a counted
    position; ``prompt`` is the number of the prompt in ``Gathered.prompts``, ``first`` 1 where the emitted token is
    the author's first choice, 0 where not, nan where that is not known. ``names`` says what some ids mean."""

    prompt: Integers
    length: Integers
    given: NDArray[np.bool_]
    ending: list[Ending]
    finish: list[Finish]
    text: list[str]
    response: Integers
    position: Integers
    token: Integers
    category: Integers
    end: Integers
    logp: Floats
    entropy: Floats
    first: Floats
    names: dict[int, str]
    pairs: dict[str, PairColumns]

    @property
    def starts(self) -> Integers:
        """The first entry of each response among the positions."""
        return np.concatenate([[0], np.cumsum(self.length)[:-1]]).astype(np.int64) if len(self.length) else self.length

    def piece(self, entry: int) -> str:
        """Return the text of an entry's token."""
        token = int(self.token[entry])
        if token in self.names:
            return self.names[token]
        start = int(self.end[entry - 1]) if self.position[entry] else 0
        return self.text[int(self.response[entry])][start : int(self.end[entry])]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All responses of the prompts that did not fail. ``prompts`` has the ids of all prompts."""

    run: Run
    prompts: list[str]
    failed: list[Failure]
    authors: dict[str, AuthorColumns]


@dataclass
class _Pair:
    chunks: dict[str, dict[int, Floats]] = field(default_factory=lambda: {name: {} for name in _FIGURES})
    stops: dict[int, tuple[float, float]] = field(default_factory=dict)
    outside: tuple[list[Floats], list[Floats]] = field(default_factory=lambda: ([], []))
    rises: list[float] = field(default_factory=list)
    pairs: int = 0
    exact: bool = True
    aligned: bool = False

    def add(self, number: int, response: Response, score: Score) -> None:
        count = response.length
        lists: tuple[Sequence[float | None], ...] = (
            score.rank,
            score.logp,
            score.kl_author_scorer,
            score.kl_scorer_author,
            score.js,
            score.entropy,
            score.ties,
        )
        for name, values in zip(_FIGURES, lists, strict=True):
            self.chunks[name][number] = _convert(values)[:count]
        if count < len(response.ids):
            rank, logp = score.rank[count], score.logp[count]
            self.stops[number] = (np.nan if rank is None else float(rank), np.nan if logp is None else logp)
        for kept, outside in zip(self.outside, (score.outside_author, score.outside_scorer), strict=True):
            if outside:
                kept.append(np.array(outside[:count]))
        self.exact = self.exact and score.exact
        if score.spans or not score.exact:
            self.aligned = self.aligned or score.aligned
            spans = list_spans(response, score)
            self.pairs += sum(span.is_pair for span in spans)
            self.rises.extend(map(measure_rise, spans))

    def close(self, lengths: Integers) -> PairColumns:
        absent = {
            number: np.full(length, np.nan)
            for number, length in enumerate(lengths)
            if number not in self.chunks["rank"]
        }
        columns = {
            name: _join([found[number] if number in found else absent[number] for number in range(len(lengths))])
            for name, found in self.chunks.items()
        }
        stops = [self.stops.get(number, (np.nan, np.nan)) for number in range(len(lengths))]
        return PairColumns(
            scored=np.array([number not in absent for number in range(len(lengths))], dtype=np.bool_),
            stop_rank=np.array([rank for rank, _ in stops], dtype=np.float64),
            stop_logp=np.array([logp for _, logp in stops], dtype=np.float64),
            outside_author=_join(self.outside[0]),
            outside_scorer=_join(self.outside[1]),
            rises=np.array(self.rises, dtype=np.float64),
            pairs=self.pairs,
            exact=self.exact,
            aligned=self.aligned,
            **columns,
        )


@dataclass
class _Author:
    prompt: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)
    given: list[bool] = field(default_factory=list)
    ending: list[Ending] = field(default_factory=list)
    finish: list[Finish] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    token: list[Integers] = field(default_factory=list)
    category: list[Integers] = field(default_factory=list)
    end: list[Integers] = field(default_factory=list)
    logp: list[Floats] = field(default_factory=list)
    entropy: list[Floats] = field(default_factory=list)
    first: list[Floats] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    pairs: dict[str, _Pair] = field(default_factory=dict)

    def add(self, prompt: int, response: Response, pieces: Mapping[int, str], run: Run) -> None:
        number, count = len(self.prompt), response.length
        self.prompt.append(prompt)
        self.length.append(count)
        self.given.append(response.given)
        limit = run.decoding.max_new_tokens
        self.ending.append(name_ending(response.finish, len(response.ids), limit, given=response.given))
        self.finish.append(response.finish)
        self.text.append(response.text)
        ids = np.array(response.ids[:count], dtype=np.int64)
        ends = np.array(response.ends[:count], dtype=np.int64)
        self.token.append(ids)
        self.end.append(ends)
        named = categories(response, pieces)[:count]
        self.category.append(np.array([_CODES[name] for name in named], dtype=np.int64))
        self.logp.append(_convert(response.logp)[:count])
        self.entropy.append(_convert(response.entropy)[:count])
        self.first.append(_find_first(response, ids))
        # A part of a character is named by its piece, and so is what completes one.
        partial = np.flatnonzero(np.diff(ends, prepend=0) == 0)
        for place in {*partial.tolist(), *(partial + 1).tolist()}:
            if place < count and (token := int(ids[place])) not in self.names and token in pieces:
                self.names[token] = pieces[token]
        for scorer in order_pairs(run, response):
            self.pairs.setdefault(scorer, _Pair()).add(number, response, response.scores[scorer])

    def close(self) -> AuthorColumns:
        lengths = np.array(self.length, dtype=np.int64)
        return AuthorColumns(
            prompt=np.array(self.prompt, dtype=np.int64),
            length=lengths,
            given=np.array(self.given, dtype=np.bool_),
            ending=self.ending,
            finish=self.finish,
            text=self.text,
            response=np.repeat(np.arange(len(lengths)), lengths),
            position=np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(length) for length in lengths)]),
            token=_join_integers(self.token),
            category=_join_integers(self.category),
            end=_join_integers(self.end),
            logp=_join(self.logp),
            entropy=_join(self.entropy),
            first=_join(self.first),
            names=self.names,
            pairs={name: pair.close(lengths) for name, pair in self.pairs.items()},
        )


def _convert(values: Sequence[float | None]) -> Floats:
    """Return figures as an array; None becomes nan."""
    try:
        # Twice as fast where there is no None.
        return np.frombuffer(array("d", cast(Sequence[float], values)), dtype=np.float64)
    except TypeError:
        return np.array(values, dtype=np.float64)


def _join(parts: list[Floats]) -> Floats:
    return np.concatenate([_NOTHING, *parts])


def _join_integers(parts: list[Integers]) -> Integers:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _find_first(response: Response, ids: Integers) -> Floats:
    """Return for each counted position whether the emitted token is the author's first choice."""
    best = np.array(read_first_choices(response)[: len(ids)], dtype=np.float64)
    return np.where(best < 0, np.nan, best == ids)


class Gatherer:
    """Takes traces one by one; a failed prompt takes no part, a cancelled response does up to where it stopped."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._prompts: list[str] = []
        self._failed: list[Failure] = []
        self._authors = {model.name: _Author() for model in [*run.tuned, run.base]}

    def add(self, trace: Trace) -> None:
        """Take a trace; it is not kept."""
        number = len(self._prompts)
        self._prompts.append(trace.prompt_id)
        if trace.error is not None:
            self._failed.append(Failure(prompt_id=trace.prompt_id, error=trace.error))
            return
        for response in trace.responses:
            self._authors[response.author].add(number, response, trace.read_pieces(response.author), self._run)

    def close(self) -> Gathered:
        """Return the columns of all that was taken."""
        return Gathered(
            run=self._run,
            prompts=self._prompts,
            failed=self._failed,
            authors={name: author.close() for name, author in self._authors.items()},
        )


def merge(parts: Sequence[Gathered]) -> Gathered:
    """Return the columns of all parts of a run, one after another; prompts are numbered on."""
    offsets = [0, *accumulate(len(part.prompts) for part in parts)]
    names = list(parts[0].authors)
    return Gathered(
        run=parts[0].run,
        prompts=[prompt for part in parts for prompt in part.prompts],
        failed=[failure for part in parts for failure in part.failed],
        authors={name: _merge_author([part.authors[name] for part in parts], offsets) for name in names},
    )


def _merge_author(parts: Sequence[AuthorColumns], offsets: Sequence[int]) -> AuthorColumns:
    responses = [0, *accumulate(len(part.prompt) for part in parts)]
    scorers = dict.fromkeys(name for part in parts for name in part.pairs)
    return AuthorColumns(
        prompt=_join_integers([part.prompt + offset for part, offset in zip(parts, offsets, strict=False)]),
        given=np.concatenate([part.given for part in parts]),
        ending=[ending for part in parts for ending in part.ending],
        finish=[finish for part in parts for finish in part.finish],
        text=[text for part in parts for text in part.text],
        response=_join_integers([part.response + offset for part, offset in zip(parts, responses, strict=False)]),
        names={token: piece for part in reversed(parts) for token, piece in part.names.items()},
        pairs={name: _merge_pair([_find_pair(part, name) for part in parts]) for name in scorers},
        length=_join_integers([part.length for part in parts]),
        position=_join_integers([part.position for part in parts]),
        token=_join_integers([part.token for part in parts]),
        category=_join_integers([part.category for part in parts]),
        end=_join_integers([part.end for part in parts]),
        logp=_join([part.logp for part in parts]),
        entropy=_join([part.entropy for part in parts]),
        first=_join([part.first for part in parts]),
    )


def _find_pair(part: AuthorColumns, scorer: str) -> PairColumns:
    """Return what a scorer says of a part, which may be nothing."""
    return part.pairs[scorer] if scorer in part.pairs else _Pair().close(part.length)


def _merge_pair(parts: Sequence[PairColumns]) -> PairColumns:
    figures = (*_FIGURES, "stop_rank", "stop_logp", "outside_author", "outside_scorer", "rises")
    return PairColumns(
        scored=np.concatenate([part.scored for part in parts]),
        pairs=sum(part.pairs for part in parts),
        exact=all(part.exact for part in parts),
        aligned=any(part.aligned for part in parts),
        **{name: _join([getattr(part, name) for part in parts]) for name in figures},
    )
