"""What models know: the log-prob of a fact's answer, the rank of each of its tokens, and of its wrong answers.

A plain fact is scored as plain text, behind BOS where the tokenizer puts one. A fact that says ``chat`` (or has
``messages``) is asked in each model's context of the run, and its answers lose a leading blank there, which belongs
to running text. Prompt and answer are tokenised together, by each model's own tokenizer.

The headline is the sum over an answer's tokens: the log of the probability that the model goes on with that very
text, which depends on no tokenizer. Per byte it would be the mean surprise, which favours long alternatives: the end
of a long name is certain once it has begun.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from itx.compare.context import ContextMaker, encode_context
from itx.compare.rounding import round_figures
from itx.errors import InputError, ItxError, MemoryExhaustedError, MismatchError, WindowError
from itx.models.contract import Engine, Vocabulary
from itx.records import Context, Prompt
from itx.runs.facts import Fact, Knowledge, Probe


class Parting(NamedTuple):
    """Alternatives as ids, whole, and the first place where one of them parts from the prompt's ids.

    ``parted`` is true where that lies before the prompt's end.
    """

    start: int
    alternatives: list[list[int]]
    parted: bool


class Prober:
    """Asks models for facts; ``in_turn`` where they are loaded one after the other."""

    def __init__(self, engines: Sequence[Engine], contexts: ContextMaker, chunk: int, in_turn: bool = False) -> None:
        self._engines = list(engines)
        self._contexts = contexts
        self._chunk = chunk
        self._in_turn = in_turn

    def probe(self, fact: Fact) -> Probe:
        """Return what every model says of a fact; where one fails, the probe has the error and no figures."""
        probe = Probe.make(fact, {})
        for engine in self._engines:
            probe = self._add(probe, engine)
        return probe

    def probe_all(self, facts: Sequence[Fact], cancel: Callable[[], bool]) -> Iterator[Probe]:
        """Yield the probes of the facts in order, until ``cancel``; in turn, none before every model was asked."""
        if not self._in_turn:
            for fact in facts:
                if cancel():
                    return
                yield self.probe(fact)
            return
        probes = [Probe.make(fact, {}) for fact in facts]
        for engine in self._engines:
            for place, probe in enumerate(probes):
                if cancel():
                    return
                probes[place] = self._add(probe, engine)
        yield from probes

    def _add(self, probe: Probe, engine: Engine) -> Probe:
        """Return a probe with what one more model says, or with why it fails."""
        if probe.error is not None:
            return probe
        fact = probe.fact
        try:
            contexts = self._contexts.make(_ask(fact)) if fact.chat else {}
            known = measure_fact(engine, fact, contexts.get(engine.name), self._chunk)
        except ItxError as failure:
            return Probe.make(fact, {}, str(failure))
        except MemoryError:
            lack = MemoryExhaustedError("There was not enough memory for this fact.", "Use a smaller --dtype.")
            return Probe.make(fact, {}, str(lack))
        return Probe.make(fact, {**probe.models, engine.name: known})


def _ask(fact: Fact) -> Prompt:
    return Prompt(id=fact.id, prompt=fact.prompt, messages=fact.messages)


def measure_fact(engine: Engine, fact: Fact, context: Context | None, chunk: int) -> Knowledge:
    """Return what one model says of a fact, behind ``context`` or as plain text.

    Each alternative takes a fresh stream, ``chunk`` positions at a time: memory is O(chunk · vocabulary). Raises
    InputError where nothing stands before the answer, WindowError, MismatchError, MemoryExhaustedError, WeightsError.
    """
    answers = [fact.answer, *fact.wrong]
    if context is None:
        context = encode_context(engine.vocabulary, fact.prompt)
    else:
        answers = [answer.lstrip(" ") for answer in answers]
    parting = part(engine.vocabulary, context, answers)
    _check(engine, fact, parting)
    start = parting.start
    right, *others = (_score(engine, ids, start, chunk) for ids in parting.alternatives)
    return Knowledge(
        start=start,
        ids=parting.alternatives[0][start:],
        logp=round_figures(right[0]),
        rank=right[1],
        wrong=round_figures(math.fsum(logp) for logp, _ in others),
        parted=parting.parted,
    )


def part(vocabulary: Vocabulary, context: Context, answers: Sequence[str]) -> Parting:
    """Return the ids of context and answer together, and from where on they are scored.

    Normally that is where the context ends. Where a tokenizer draws the context's end and an answer's beginning
    together, all alternatives are scored from the same place before: each then includes the same end of the context,
    and they can be compared.
    """
    alternatives = [_continue(vocabulary, context, answer) for answer in answers]
    start = min(_count_common(context.ids, ids) for ids in alternatives)
    return Parting(start, alternatives, start < len(context.ids))


def _continue(vocabulary: Vocabulary, context: Context, answer: str) -> list[int]:
    """Return the ids of the context with an answer behind it: of two readings the one that keeps the context's."""
    readings = [encode_context(vocabulary, context.text + answer).ids]
    bos = vocabulary.bos
    if bos is not None and context.ids[:1] == [bos]:
        # Not every tokenizer reads its own marker back.
        readings.append([bos, *vocabulary.encode(context.text.removeprefix(vocabulary.piece(bos)) + answer)])
    return max(readings, key=lambda ids: _count_common(context.ids, ids))


def _count_common(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, two) in enumerate(pairs) if one != two), min(len(first), len(second)))


def _check(engine: Engine, fact: Fact, parting: Parting) -> None:
    if parting.start == 0:
        raise InputError(
            f"Nothing stands before the answer of the fact {fact.id!r} for {engine.name}.", "Lengthen its prompt."
        )
    for ids in parting.alternatives:
        if len(ids) <= parting.start:
            raise InputError(
                f"An answer of the fact {fact.id!r} has no token of its own for {engine.name}.", "Lengthen the answer."
            )
        if engine.window is not None and len(ids) > engine.window:
            raise WindowError(
                f"The fact {fact.id!r} has {len(ids)} tokens for {engine.name}, and its window holds {engine.window}.",
                "Shorten it, or use a model with a longer window.",
            )
        unknown = next((token for token in ids if token >= engine.vocab_size), None)
        if unknown is not None:
            raise MismatchError(
                f"The fact {fact.id!r} has the id {unknown}, and {engine.name} knows {engine.vocab_size} ids.",
                "Use the tokenizer that belongs to the weights.",
            )


def _score(engine: Engine, ids: Sequence[int], start: int, chunk: int) -> tuple[list[float], list[int]]:
    """Return log-prob and rank of the ids from ``start`` on, given those before; ``start`` is at least 1."""
    stream, arithmetic = engine.stream(), engine.arithmetic
    logp: list[float] = []
    rank: list[int] = []
    fed = 0
    for first in range(start, len(ids), chunk):
        stop = min(first + chunk, len(ids))
        rows = stream.extend(ids[fed : stop - 1], keep=stop - first)
        fed = stop - 1
        score = arithmetic.reduce(rows, [rows], ids[first:stop], engine.vocab_size).scores[0]
        del rows
        logp += [min(0.0, value) for value in score.logp if value is not None]
        rank += [value for value in score.rank if value is not None]
    return logp, rank
