"""The join: which words of a response stand in the rows nearest its prompt, and whether the tuning raised them.

A borrowed word is a word of content, an entity or digits, absent from the prompt, inside a verbatim span of exactly the
``k`` rows nearest the *prompt* (rows found by the response would be found because of what it says). Words and spans are
searched in folded form; what is shown is exact. Spans over all rows that lie inside no borrowed one are listed, too,
and counted nowhere.

Everything is a function of its arguments; random rows come from a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from msgspec.structs import replace

from itx.borrow.null import DRAWS, Pool, count_random
from itx.borrow.passage import Passages
from itx.borrow.places import find_positions
from itx.borrow.rise import is_raised, sum_rise
from itx.borrow.source import Source
from itx.borrow.words import Words, count_borrowed, covered, read_words
from itx.data.folding import fold_words
from itx.data.information import Information
from itx.data.spans import Match, find_spans, own_words
from itx.records import (
    Borrowing,
    ControlCount,
    Example,
    Neighbour,
    Null,
    Paraphrase,
    Response,
    Span,
    Thresholds,
    Trace,
)
from itx.runs.borrowings import fingerprint_response

NEIGHBOURS = 5
_EXAMPLES = 3
_LONGEST_TEXT = 20_000
"""Characters of what a neighbour answers, and of what it asks, that a run carries."""
_BOILERPLATE_SHARE = 0.01
_BOILERPLATE_ROWS = 10


class _Near(NamedTuple):
    """The rows nearest a prompt, and the words of their responses."""

    neighbours: list[Neighbour]
    words: list[list[str]]


def join(
    trace: Trace,
    response: Response,
    source: Source,
    *,
    control: Source | None = None,
    k: int = NEIGHBOURS,
    thresholds: Thresholds | None = None,
    base: str = "base",
    seed: int = 0,
) -> Borrowing:
    """Return what ``response`` (of ``trace``) has in common with rows of ``source``; for many, use a ``Joiner``."""
    joiner = Joiner(source, control=control, k=k, thresholds=thresholds, base=base, seed=seed)
    return joiner.borrow(trace, response)


class Joiner:
    """A source and its controls, ready for one response after the other; random rows are chosen once, by ``seed``.

    ``control`` holds rows that no model was tuned on. ``base`` names the model that raised spans are measured against.
    Bits of words are those of ``source`` for every control, so that all are measured alike.
    """

    def __init__(
        self,
        source: Source,
        *,
        control: Source | None = None,
        k: int = NEIGHBOURS,
        thresholds: Thresholds | None = None,
        base: str = "base",
        seed: int = 0,
    ) -> None:
        self._source = source
        self._control = control
        self._k = k
        self._thresholds = thresholds or Thresholds()
        self._base = base
        self._pool = Pool.of(source, seed)
        self._sketched: tuple[str, _Near] | None = None
        """The prompt of the last sketch, and the rows nearest it: the next one is mostly of the same."""

    @property
    def has_control(self) -> bool:
        """Whether there are rows that no model was tuned on."""
        return self._control is not None

    def search(self, text: str, how: Literal["words", "meaning", "near", "verbatim"], limit: int) -> list[Neighbour]:
        """Return the rows that a person's query finds, best first."""
        return list(self._source.search(text, how, limit))

    def borrow(self, trace: Trace, response: Response) -> Borrowing:
        """Return what a response of a trace borrowed, beside its controls."""
        near = _find_near(_query(trace), self._source, self._k)
        words = read_words(response.text if response.ids else "", _told(trace))
        listed = _list_neighbours(near, response, self._source, self._k)
        found = self._measure_words(trace, response, words, near)
        return replace(
            found,
            neighbours=listed,
            null=self._count_controls(trace, response, words, near),
            paraphrases=_find_paraphrases(response, found.spans, listed, self._source),
            response=fingerprint_response(response),
        )

    def sketch(self, trace: Trace, response: Response) -> Borrowing:
        """Return the spans of a response that is still being written, and the rows nearest its prompt; not to be kept.

        Scores may be behind the text: spans that reach beyond them have no rise yet. Controls, rows near the response
        and paraphrases wait for the whole of it, for they cost more than all else. One thread may ask at a time.
        """
        query = _query(trace)
        if self._sketched is None or self._sketched[0] != query:
            self._sketched = query, _find_near(query, self._source, self._k)
        near = self._sketched[1]
        words = read_words(response.text if response.ids else "", _told(trace))
        neighbours = [_shorten(neighbour) for neighbour in near.neighbours]
        return replace(self._measure_words(trace, response, words, near), neighbours=neighbours)

    def _measure_words(self, trace: Trace, response: Response, words: Words, near: _Near) -> Borrowing:
        """Return the spans and the counts of borrowed words alone."""
        found = find_spans(words.folded.words, near.words, self._source.information)
        spans, owners = _make_spans(response, words, found, near, self._source)
        spans = [_measure(span, response, self._thresholds, self._base) for span in spans]
        order = sorted(range(len(spans)), key=lambda index: (spans[index].start, spans[index].end, index))
        numbers = {index: number for number, index in enumerate(order, start=1)}
        return Borrowing(
            prompt_id=trace.prompt_id,
            author=response.author,
            spans=[replace(spans[index], id=numbers[index]) for index in order],
            candidates=len(words.candidates),
            borrowed=len(owners),
            distinct=len({words.folded.words[word] for word in owners}),
            raised=sum(spans[owner].raised for owner in owners.values()),
            positions=_own_positions(response, words, {word: numbers[owner] for word, owner in owners.items()}),
        )

    def _count_controls(self, trace: Trace, response: Response, words: Words, near: _Near) -> Null:
        information = self._source.information
        answer = None if response.author == self._base else trace.response(self._base)
        of_base = of_control = None
        if answer is not None:
            of_base = _count(read_words(answer.text, _told(trace)), near, information)
        if self._control is not None:
            of_control = _count(words, _find_near(_query(trace), self._control, self._k), information)
        ids = {neighbour.row for neighbour in near.neighbours}
        drawn = count_random(words, near.words, ids, self._pool, information, trace.prompt_id)
        return Null(base=of_base, control=of_control, random=drawn, draws=DRAWS if drawn else 0, seed=self._pool.seed)


def _query(trace: Trace) -> str:
    """Return what the nearest rows are sought by: the last turn first, since of long texts the beginning counts."""
    earlier = [message.content for message in trace.messages if message.role == "user"]
    return "\n".join([trace.prompt, *reversed(earlier)])


def _told(trace: Trace) -> str:
    """Return all that the models were told: a word of it is no borrowed word."""
    return "\n".join([*(message.content for message in trace.messages), trace.prompt])


def _count(words: Words, near: _Near, information: Information) -> ControlCount:
    return ControlCount(words=len(words.candidates), borrowed=count_borrowed(words, near.words, information))


def _find_near(prompt: str, source: Source, k: int) -> _Near:
    neighbours = list(source.nearest(prompt, k))[:k]
    return _Near(neighbours, [fold_words(neighbour.text) for neighbour in neighbours])


def _make_spans(
    response: Response, words: Words, found: Sequence[tuple[Match, list[int]]], near: _Near, source: Source
) -> tuple[list[Span], dict[int, int]]:
    """Return the spans, and for each borrowed word the index of the span that owns it."""
    passages = Passages()
    own = own_words([(match, len(rows)) for match, rows in found])
    borrowed = [index for index in words.candidates if index in own]
    folded = words.folded.words
    total = len(source.rows)
    spans: list[Span] = []
    places: dict[int, int] = {}
    kept: list[Match] = []
    for index, (match, rows) in enumerate(found):
        if not covered([match], words.candidates):
            continue
        places[index] = len(spans)
        kept.append(match)
        texts = [(near.neighbours[row].row, near.neighbours[row].text) for row in rows]
        examples = _find_examples(texts, folded[match.start : match.end], passages)
        span = _make_span(response, words, match.start, match.end, len(rows), examples)
        mine = [find_positions(response, *_characters(words, word))[0] for word in borrowed if own[word] == index]
        count = source.verbatim.count(folded[match.start : match.end])
        many = is_boilerplate(count, total)
        spans.append(replace(span, borrowed=True, words=mine, boilerplate=many, all_rows=count))
    for each in source.verbatim.trace(folded):
        if any(match.start <= each.start and each.end <= match.end for match in kept):
            continue
        rows_read = [source.rows[number] for number in each.examples[:_EXAMPLES]]
        examples = _find_examples(
            [(row.id, row.response) for row in rows_read], folded[each.start : each.end], passages
        )
        span = _make_span(response, words, each.start, each.end, each.rows, examples)
        spans.append(replace(span, boilerplate=is_boilerplate(each.rows, total), all_rows=each.rows))
    return spans, {word: places[own[word]] for word in borrowed}


def is_boilerplate(rows: int, total: int) -> bool:
    """Return whether so many of all rows have a span that it says nothing of one: ten, and one in a hundred."""
    return rows >= max(_BOILERPLATE_ROWS, _BOILERPLATE_SHARE * total)


def _find_examples(rows: Sequence[tuple[str, str]], run: Sequence[str], passages: Passages) -> list[Example]:
    examples = (passages.find(row, text, run) for row, text in rows)
    return [example for example in examples if example is not None]


def _characters(words: Words, word: int) -> tuple[int, int]:
    return words.folded.starts[word], words.folded.ends[word]


def _make_span(response: Response, words: Words, first: int, last: int, rows: int, examples: list[Example]) -> Span:
    start, end = words.folded.starts[first], words.folded.ends[last - 1]
    positions = find_positions(response, start, end)
    return Span(id=1, start=positions[0], end=positions[1], text=response.text[start:end], rows=rows, examples=examples)


def _measure(span: Span, response: Response, thresholds: Thresholds, base: str) -> Span:
    """Return the span with its rise; base's own spans have none, nor have those that are not scored to their end."""
    score = response.scores.get(base)
    if score is None or response.author == base or span.end > min(len(response.logp), len(score.rank)):
        return span
    rise = sum_rise(response, score, span.start, span.end)
    return replace(span, rise=rise, raised=is_raised(rise, score, span.start, span.end, thresholds))


def _own_positions(response: Response, words: Words, owners: dict[int, int]) -> dict[int, int]:
    owned: dict[int, int] = {}
    for word, span in owners.items():
        for position in range(*find_positions(response, *_characters(words, word))):
            owned.setdefault(position, span)
    return owned


def _find_paraphrases(
    response: Response, spans: Sequence[Span], neighbours: Sequence[Neighbour], source: Source
) -> list[Paraphrase]:
    """Return sentences that a neighbour has in other words, by their positions; none of them is counted."""
    if not response.ids:
        return []
    kept = [(response.span(span.start)[0], response.span(span.end - 1)[1]) for span in spans]
    found = []
    for each in source.paraphrases(response.text, kept, neighbours):
        start, end = find_positions(response, each.start, each.end)
        found.append(replace(each, start=start, end=end))
    return found


def _list_neighbours(near: _Near, response: Response, source: Source, k: int) -> list[Neighbour]:
    """Return the rows nearest the prompt, and behind them rows near the response: shown, and never searched."""
    listed = [_shorten(neighbour) for neighbour in near.neighbours]
    if response.text.strip():
        known = {neighbour.row for neighbour in listed}
        others = source.neighbours(response.text, "response", k)
        listed += [replace(_shorten(each), query="response") for each in others if each.row not in known]
    return listed


def _shorten(neighbour: Neighbour) -> Neighbour:
    text, instruction = (_cut(each) for each in (neighbour.text, neighbour.instruction))
    return replace(neighbour, text=text, instruction=instruction)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
