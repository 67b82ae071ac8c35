"""What a scorer with another tokenizer says of a response: it reads the text by tokens of its own.

The text is scored when it is whole, since tokens of a text that still grows may yet become others. Where the response
ends with EOS, the scorer's end is the likeliest of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from itx.compare.alignment import Places, Reading, align, is_lost, read_pieces
from itx.compare.rounding import round_score
from itx.errors import MismatchError
from itx.models.contract import Engine, Vocabulary
from itx.records import CommonSpan, Context, Score, Top

_LEADS = ("", "\n", ":")
"""What a text may be read behind where the context's own end would merge with its beginning."""


class Written(NamedTuple):
    """A response as its author wrote it: where its tokens end (EOS left out), its log-probs, and whether EOS closes."""

    reading: Reading
    logp: Sequence[float]
    closed: bool


class Crossing(NamedTuple):
    """A score over common spans; ``failure`` says what the scorer could not read, None where it read all."""

    score: Score
    failure: MismatchError | None


class _Figures(NamedTuple):
    """The scorer's figures, one entry a token of its own."""

    logp: list[float | None]
    rank: list[int | None]
    ties: list[int | None]
    entropy: list[float | None]
    top: list[Top]


def read_behind(vocabulary: Vocabulary, context: str, text: str) -> list[int]:
    """Return the ids of ``text`` behind a context: as they continue it, where the tokenizer keeps that apart.

    A tokenizer that puts a blank before every text is given something else to put it before.
    """
    first: list[int] | None = None
    for lead in (context, *_LEADS):
        before, whole = vocabulary.encode(lead), vocabulary.encode(lead + text)
        if whole[: len(before)] == before:
            ids = whole[len(before) :]
            if read_pieces(vocabulary, ids).text == text:
                return ids
            first = ids if first is None else first
    return first or []


def empty_score(count: int) -> Score:
    """Return the score of ``count`` positions of which nothing is known."""
    return Score(
        logp=[None] * count,
        rank=[None] * count,
        ties=[None] * count,
        entropy=[None] * count,
        kl_author_scorer=[None] * count,
        kl_scorer_author=[None] * count,
        js=[None] * count,
        top=[[] for _ in range(count)],
        exact=False,
        ids=[],
        spans=[],
    )


def score_text(scorer: Engine, context: Context, written: Written, chunk: int) -> Crossing:
    """Return what ``scorer`` says of a response, in chunks of its own tokens; figures are rounded.

    Memory is O(chunk · vocabulary). Raises MemoryExhaustedError, WeightsError.
    """
    text, count = written.reading.text, len(written.logp)
    ids = read_behind(scorer.vocabulary, context.text, text)
    theirs = read_pieces(scorer.vocabulary, ids)
    if theirs.text != text:
        return Crossing(
            empty_score(count),
            MismatchError(
                f"{scorer.name} reads another text than was written, for its tokenizer changes what it reads: the two "
                "cannot be aligned.",
                "Compare models whose tokenizers keep a text as it is.",
            ),
        )
    ends = [token for token in scorer.eos if token < scorer.vocab_size] if written.closed else []
    failure: MismatchError | None = None
    room = None if scorer.window is None else max(0, scorer.window - len(context.ids))
    if room is not None and len(ids) + bool(ends) > room:
        ids, ends = ids[:room], []
        failure = MismatchError(
            f"The response has more tokens for {scorer.name} than the {room} its window has room for: it is scored as "
            "far as they go.",
            "Ask for fewer: --max-new-tokens, or use a model with a longer window.",
        )
    ids, figures = _read_figures(scorer, context, ids, chunk, ends)
    mine: list[int | None] = [*written.reading.ends]
    others = theirs.ends[: len(ids) - bool(ends)]
    if ends:
        mine.append(None)
        others.append(None)
    places = [
        each
        for each in align(mine, others, closed=bool(ends))
        if each.author_end > len(written.reading.ends) or not is_lost(written.reading, *each[:2])
    ]
    return Crossing(round_score(_lay_out(written, ids, places, figures)), failure)


def _read_figures(
    scorer: Engine, context: Context, ids: Sequence[int], chunk: int, ends: Sequence[int]
) -> tuple[list[int], _Figures]:
    """Return the ids with the likeliest of ``ends`` behind them, where there are any, and the scorer's figures of all.

    Ranks are over all of its columns.
    """
    stream, arithmetic = scorer.stream(), scorer.arithmetic
    said = list(ids)
    total = len(ids) + bool(ends)
    figures = _Figures([], [], [], [], [])
    for start in range(0, total, chunk):
        stop = min(start + chunk, total)
        fed = [*context.ids, *ids[: stop - 1]] if start == 0 else ids[start - 1 : stop - 1]
        rows = stream.extend(fed, keep=stop - start)
        if ends and stop == total:
            last = arithmetic.row(rows)
            said.append(max(ends, key=lambda token: (last[token], -token)))
        own = arithmetic.reduce(rows, [rows], said[start:stop], scorer.vocab_size).scores[0]
        del rows
        figures.logp.extend(own.logp)
        figures.rank.extend(own.rank)
        figures.ties.extend(own.ties)
        figures.entropy.extend(own.entropy)
        figures.top.extend(own.top)
    return said, figures


def _lay_out(written: Written, ids: list[int], places: Sequence[Places], figures: _Figures) -> Score:
    """Return the score: sums over spans, and one entry a position where there is a figure for it."""
    score = empty_score(len(written.logp))
    for start, end, first, last in places:
        theirs = math.fsum(value for value in figures.logp[first:last] if value is not None)
        span = CommonSpan(start, end, first, last, math.fsum(written.logp[start:end]), theirs)
        score.spans.append(span)
        score.entropy[start] = figures.entropy[first]
        score.top[start] = figures.top[first]
        if end - start == 1:
            score.logp[start] = theirs
        if span.is_pair:
            score.rank[start] = figures.rank[first]
            score.ties[start] = figures.ties[first]
    score.ids.extend(ids)
    return score
