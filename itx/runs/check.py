"""What a run and its traces must satisfy before anything is counted or drawn: they may come from strangers."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from itertools import accumulate
from typing import TypeGuard

import msgspec

from itx.records import SCHEMA, Response, Run, Score, Trace

# No log-prob, divergence or rank of a real model comes near it, and sums of such figures stay finite.
LARGEST = 1e9


def check_run(run: Run) -> None:
    """Raise ValueError where the run's models are not one base and tuned ones with names of their own."""
    if run.schema != SCHEMA:
        raise ValueError(f"schema {run.schema}, where this itx reads schema {SCHEMA}")
    names = [model.name for model in run.models]
    bases = [model.name for model in run.models if model.role == "base"]
    if len(bases) != 1:
        raise ValueError(f"{len(bases)} base models, where a run has one")
    if len(names) == 1:
        raise ValueError("no tuned model")
    if len(set(names)) != len(names):
        raise ValueError("two models of the same name")


def check_trace(trace: Trace, run: Run, *, bounded: bool = False) -> Trace:
    """Return the trace, with ``ends`` made where a response has none; with ``bounded`` its figures are known to be
    possible.

    Raises ValueError where a model is unknown, lists of a response differ in length, or ranks or ends are impossible.
    """
    names = {model.name for model in run.models}
    authors = [response.author for response in trace.responses]
    if len(set(authors)) != len(authors):
        raise ValueError("two responses of the same author")
    unknown = (
        {*authors, *trace.contexts, *trace.own_pieces}
        | {name for response in trace.responses for name in response.scores}
    ) - names
    if unknown:
        raise ValueError(f"unknown model {sorted(unknown)[0]!r}")
    for response in trace.responses:
        try:
            _check_response(response, bounded)
        except ValueError as error:
            raise ValueError(f"the response of {response.author}: {error}") from None
    if all(response.ends or not response.ids for response in trace.responses):
        return trace
    return msgspec.structs.replace(
        trace,
        responses=[_with_ends(response, trace.read_pieces(response.author)) for response in trace.responses],
    )


def _check_length(name: str, values: Sized, length: int) -> None:
    if len(values) != length:
        raise ValueError(f"{name} has {len(values)} entries for {length} positions")


def has_impossible_figure(trace: Trace) -> bool:
    """Return True where a log-prob, an entropy or a divergence is not a number, or beyond what a model can give."""
    for response in trace.responses:
        columns: list[Sequence[float | None]] = [response.logp, response.entropy]
        for score in response.scores.values():
            columns += [score.logp, score.entropy, score.kl_author_scorer, score.kl_scorer_author, score.js]
            columns += [[span.author_logp, span.scorer_logp] for span in score.spans]
        tops = [*response.top, *(top for score in response.scores.values() for top in score.top)]
        columns += [[logp for _, logp in top] for top in tops]
        if not all(value is None or abs(value) < LARGEST for column in columns for value in column):
            return True
    return False


def _is_whole(values: Sequence[float | None]) -> TypeGuard[Sequence[float]]:
    return None not in values


def _check_figures(name: str, values: Sequence[float]) -> None:
    if values and not (min(values) > -LARGEST and max(values) < LARGEST):
        raise ValueError(f"{name} has a figure beyond {LARGEST:g}")


def _check_response(response: Response, bounded: bool) -> None:
    length = len(response.ids)
    if not bounded and response.ids and min(response.ids) < 0:
        raise ValueError("a negative token id")
    own: dict[str, Sized] = {"logp": response.logp, "entropy": response.entropy, "top": response.top}
    for name, values in own.items():
        _check_length(name, values, length)
    if not bounded:
        _check_figures("logp", response.logp)
        _check_figures("entropy", response.entropy)
    if response.ends:
        _check_length("ends", response.ends, length)
        bounds = [0, *response.ends, len(response.text)]
        if bounds != sorted(bounds):
            raise ValueError("ends do not rise from 0 to the length of the text")
    for scorer, score in response.scores.items():
        try:
            _check_score(score, length, bounded)
        except ValueError as error:
            raise ValueError(f"scores of {scorer}: {error}") from None


def _check_score(score: Score, length: int, bounded: bool) -> None:
    figures: dict[str, Sequence[float | None]] = {
        "logp": score.logp,
        "rank": score.rank,
        "ties": score.ties,
        "entropy": score.entropy,
        "kl_author_scorer": score.kl_author_scorer,
        "kl_scorer_author": score.kl_scorer_author,
        "js": score.js,
    }
    for name, values in figures.items():
        _check_length(name, values, length)
        if score.exact and None in values:
            raise ValueError(f"{name} lacks a figure that an exact score has")
        if not bounded:
            _check_figures(name, values if _is_whole(values) else [value for value in values if value is not None])
    _check_length("top", score.top, length)
    if not bounded and min((rank for rank in score.rank if rank is not None), default=1) < 1:
        raise ValueError("a rank below 1")
    if not bounded and min((ties for ties in score.ties if ties is not None), default=0) < 0:
        raise ValueError("a negative number of ties")
    for name, outside in (("outside_author", score.outside_author), ("outside_scorer", score.outside_scorer)):
        if outside:
            _check_length(name, outside, length)
            if not (min(outside) >= 0 and max(outside) <= 1):
                raise ValueError(f"{name} has a figure that is no probability")
    _check_spans(score, length)


def _check_spans(score: Score, length: int) -> None:
    """Raise ValueError where common spans are not stretches of positions and of the scorer's ids, one after another."""
    place = (0, 0)
    for span in score.spans:
        if not (
            place[0] <= span.author_start < span.author_end <= length
            and place[1] <= span.scorer_start < span.scorer_end <= len(score.ids)
        ):
            raise ValueError("common spans that do not follow one another within the response")
        _check_figures("a common span", [span.author_logp, span.scorer_logp])
        place = (span.author_end, span.scorer_end)


def _with_ends(response: Response, pieces: dict[int, str]) -> Response:
    """Make ``ends`` for a writer that left them out: from the pieces where these spell the text.

    Otherwise no position but the last one counted is known to complete any character.
    """
    if response.ends or not response.ids:
        return response
    counted = response.ids[: response.length]
    spelled = [pieces.get(token, "") for token in counted]
    if "".join(spelled) == response.text:
        ends = list(accumulate(map(len, spelled)))
    else:
        ends = [0] * (len(counted) - 1) + [len(response.text)] * bool(counted)
    ends += [len(response.text)] * (len(response.ids) - len(counted))
    return msgspec.structs.replace(response, ends=ends)
