"""What can be said of a response and a scorer with another tokenizer: figures over common spans of the text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from itx.records import CommonSpan, Record, Response, Score
from itx.report.wording import say_count, say_nats

LISTED = 10
"""Spans that a report lists of a response."""


class SpanFigures(Record, frozen=True, kw_only=True):
    """Common spans without EOS. ``pairs`` of them are one token of each; ``positions`` lie in one; nats a span."""

    spans: int
    pairs: int
    positions: int
    rise_mean: float | None


def list_spans(response: Response, score: Score) -> list[CommonSpan]:
    """Return the common spans that count: all but that of a closing EOS."""
    return [span for span in score.spans if span.author_end <= response.length]


def summarise_spans(response: Response, score: Score) -> SpanFigures:
    """Return the figures of one response; the rise is the author's log-prob minus the scorer's."""
    spans = list_spans(response, score)
    return SpanFigures(
        spans=len(spans),
        pairs=sum(span.is_pair for span in spans),
        positions=sum(span.author_end - span.author_start for span in spans),
        rise_mean=math.fsum(map(measure_rise, spans)) / len(spans) if spans else None,
    )


def measure_rise(span: CommonSpan) -> float:
    """Return how many nats more the author gives a span."""
    return span.author_logp - span.scorer_logp


def find_span(score: Score, position: int) -> CommonSpan | None:
    """Return the common span that a position lies in, or None where it lies in none."""
    return next((span for span in score.spans if span.author_start <= position < span.author_end), None)


def largest_spans(response: Response, score: Score, count: int) -> list[CommonSpan]:
    """Return at most ``count`` spans that the author gives more, those with the largest rise first."""
    risen = [span for span in list_spans(response, score) if measure_rise(span) > 0]
    return sorted(risen, key=lambda span: (-measure_rise(span), span.author_start))[:count]


def read_span(response: Response, span: CommonSpan) -> str:
    """Return the text of a span."""
    return response.text[response.span(span.author_start)[0] : response.span(span.author_end - 1)[1]]


def say_tokens(span: CommonSpan) -> str:
    """Return how many of the author's tokens meet how many of the scorer's: ``1:2``."""
    return f"{span.author_end - span.author_start}:{span.scorer_end - span.scorer_start}"


def say_outside(shares: Sequence[tuple[str, float | None]]) -> str:
    """Say how much of each model's probability, on average, lies on ids that not both have.

    Nothing where there is none.
    """
    said = [f"{share:.2g} of {name}'s" for name, share in shares if share]
    return f"Left out, on ids that not both have: {' and '.join(said)} probability" if said else ""


def average_outside(response: Response, score: Score, author: str, scorer: str) -> list[tuple[str, float | None]]:
    """Return the mean of each model's probability outside the common ids, over the positions that count."""
    count = response.length
    return [
        (name, math.fsum(values[:count]) / count if values and count else None)
        for name, values in ((author, score.outside_author), (scorer, score.outside_scorer))
    ]


def describe_spans(response: Response, score: Score, author: str, scorer: str) -> str:
    """Say that two tokenizers are compared, over how many spans, and how far apart they are on average."""
    figures = summarise_spans(response, score)
    left = response.length - figures.positions
    missing = f"; {say_count(left, 'position')} in no span" if left else ""
    return (
        f"{scorer} has another tokenizer than {author}, so this is not exact: "
        f"{say_pairs(figures.spans, figures.pairs)}{missing}. Ranks are of these alone, KL and JS do not exist. "
        f"{say_rise(figures.rise_mean, author)}"
    )


def say_pairs(spans: int, pairs: int) -> str:
    """Return ``28 common spans of the text, 17 of them one token of each``."""
    return f"{say_count(spans, 'common span')} of the text, {pairs:,} of them one token of each"


def say_rise(mean: float | None, author: str) -> str:
    """Say by how much the author's log-prob of a common span is above the scorer's."""
    if mean is None:
        return "No span is common to both"
    return f"On average {author} gives a span {say_nats(abs(mean))} nats {'less' if mean < 0 else 'more'}"
