"""Aggregates over positions: pure functions of records. A closing EOS is never counted."""

from __future__ import annotations

import math
import statistics
from array import array
from collections import Counter
from collections.abc import Iterable

from itx.borrow.category import INITIATION, categories
from itx.records import Floor, Record, Response, Run, Score, Thresholds, Trace
from itx.report.borrowing import BorrowingFigures
from itx.report.spans import list_spans, measure_rise


class ClassCounts(Record, frozen=True, kw_only=True):
    """Positions by shift class, without EOS."""

    unshifted: int = 0
    marginal: int = 0
    shifted: int = 0

    @property
    def positions(self) -> int:
        """All of them."""
        return self.unshifted + self.marginal + self.shifted


class PairFigures(Record, frozen=True, kw_only=True):
    """One author's responses over all prompts, as one scorer sees them.

    ``unshifted``, ``marginal`` and ``shifted`` are fractions of ``positions``; means weigh every position alike;
    divergences are in nats. Figures are None where there is no position. ``kl`` is KL(author‖scorer), ``kl_reverse``
    KL(scorer‖author), ``rise`` the author's log-prob of the emitted token minus the scorer's. ``initiation_kl_mean``
    is over the first five positions of each response, ``later_kl_mean`` over the others. Without ``exact`` the
    divergences are lower bounds.

    Where the scorer has another tokenizer (``aligned``), ``positions`` are those where one token meets one token,
    ``unranked`` all others, there are no divergences, and ``span_rise_mean`` is the mean rise of a common span.
    ``outside_author`` and ``outside_scorer`` are the mean probabilities of ids that the other model lacks, which the
    figures leave out; None where both have as many.
    """

    author: str
    scorer: str
    responses: int
    cancelled: int
    positions: int
    unshifted: float | None
    marginal: float | None
    shifted: float | None
    kl_mean: float | None
    kl_median: float | None
    kl_reverse_mean: float | None
    js_mean: float | None
    rise_mean: float | None
    author_entropy_mean: float | None
    scorer_entropy_mean: float | None
    initiation_kl_mean: float | None
    later_kl_mean: float | None
    tied_positions: int
    exact: bool
    counts: ClassCounts
    categories: dict[str, ClassCounts]
    aligned: bool = False
    unranked: int = 0
    spans: int = 0
    """Common spans of the two tokenizers."""
    pairs: int = 0
    """Those of them that are one token of each."""
    span_rise_mean: float | None = None
    outside_author: float | None = None
    outside_scorer: float | None = None


class Failure(Record, frozen=True, kw_only=True):
    """A prompt that has an error; what it has of responses takes no part in the figures."""

    prompt_id: str
    error: str


class Figures(Record, frozen=True, kw_only=True):
    """What ``itx report --json`` prints.

    ``models`` has every tuned model as base scores it, and base, where it answered, as the first tuned model scores
    it; ``pairs`` has every pair of author and scorer that occurs.
    """

    models: dict[str, PairFigures]
    pairs: list[PairFigures]
    prompts: int
    failed: list[Failure]
    thresholds: Thresholds
    floors: list[Floor]
    """The noise floor by dtype, as measured at load; empty where all models compute in float32."""
    borrowing: BorrowingFigures | None = None
    """What was borrowed from the tuning data; None in a run without it."""


def count_classes(response: Response, score: Score, thresholds: Thresholds) -> ClassCounts:
    """Count the response's positions with a rank, without a closing EOS, by the class that ``score`` gives them."""
    classes = Counter(thresholds.classify(rank) for rank in score.rank[: response.length] if rank is not None)
    return ClassCounts(unshifted=classes["unshifted"], marginal=classes["marginal"], shifted=classes["shifted"])


def largest_rises(response: Response, score: Score) -> list[int]:
    """Return all positions with both log-probs, EOS too, by the author's minus the scorer's, largest first."""
    figures = enumerate(zip(response.logp, score.logp, strict=True))
    rises = {position: own - other for position, (own, other) in figures if other is not None}
    return sorted(rises, key=lambda position: -rises[position])


def order_pairs(run: Run, response: Response) -> list[str]:
    """Return the scorers of a response other than its author, base first, then as the run names them."""
    names = [run.base.name, *(model.name for model in run.tuned)]
    return [name for name in names if name in response.scores and name != response.author]


def order_responses(run: Run, trace: Trace) -> list[Response]:
    """Return the responses of the tuned models, as the run names them, and then base's."""
    names = [*(model.name for model in run.tuned), run.base.name]
    return sorted(trace.responses, key=lambda response: names.index(response.author))


_SUMMED = ("kl", "kl_reverse", "js", "rise", "author", "scorer", "outside_author", "outside_scorer")


class _Tally:
    """Sums of one pair, grown response by response."""

    def __init__(self) -> None:
        self.responses = 0
        self.cancelled = 0
        self.tied = 0
        self.exact = True
        self.aligned = False
        self.unranked = 0
        self.pairs = 0
        self.span_rises = array("d")
        self.classes: Counter[str] = Counter()
        self.by_category: dict[str, Counter[str]] = {}
        self.sums = {name: array("d") for name in _SUMMED}
        self.initiation = array("d")
        self.later = array("d")

    def add(self, response: Response, score: Score, named: list[str], thresholds: Thresholds) -> None:
        count = response.length
        self.responses += 1
        self.cancelled += response.finish == "cancelled"
        self.exact = self.exact and score.exact
        self.aligned = self.aligned or score.aligned
        self.tied += sum(bool(ties) for ties in score.ties[:count])
        for rank, category in zip(score.rank[:count], named, strict=False):
            shift = thresholds.classify(rank)
            if shift is None:
                self.unranked += 1
                continue
            self.classes[shift] += 1
            self.by_category.setdefault(category, Counter())[shift] += 1
        self.sums["kl"].extend(_known(score.kl_author_scorer[:count]))
        self.sums["kl_reverse"].extend(_known(score.kl_scorer_author[:count]))
        self.sums["js"].extend(_known(score.js[:count]))
        figures = zip(response.logp[:count], score.logp, strict=False)
        self.sums["rise"].extend(own - other for own, other in figures if other is not None)
        self.sums["author"].extend(response.entropy[:count])
        self.sums["scorer"].extend(_known(score.entropy[:count]))
        self.sums["outside_author"].extend(score.outside_author[:count])
        self.sums["outside_scorer"].extend(score.outside_scorer[:count])
        self.initiation.extend(_known(score.kl_author_scorer[: min(INITIATION, count)]))
        self.later.extend(_known(score.kl_author_scorer[INITIATION:count]))
        spans = list_spans(response, score)
        self.pairs += sum(span.is_pair for span in spans)
        self.span_rises.extend(map(measure_rise, spans))

    def close(self, author: str, scorer: str) -> PairFigures:
        positions = self.classes.total()
        return PairFigures(
            author=author,
            scorer=scorer,
            responses=self.responses,
            cancelled=self.cancelled,
            positions=positions,
            unshifted=self.classes["unshifted"] / positions if positions else None,
            marginal=self.classes["marginal"] / positions if positions else None,
            shifted=self.classes["shifted"] / positions if positions else None,
            kl_mean=_mean(self.sums["kl"]),
            kl_median=statistics.median(self.sums["kl"]) if self.sums["kl"] else None,
            kl_reverse_mean=_mean(self.sums["kl_reverse"]),
            js_mean=_mean(self.sums["js"]),
            rise_mean=_mean(self.sums["rise"]),
            author_entropy_mean=_mean(self.sums["author"]),
            scorer_entropy_mean=_mean(self.sums["scorer"]),
            initiation_kl_mean=_mean(self.initiation),
            later_kl_mean=_mean(self.later),
            tied_positions=self.tied,
            exact=self.exact,
            counts=ClassCounts(**self.classes),
            categories={name: ClassCounts(**counts) for name, counts in sorted(self.by_category.items())},
            aligned=self.aligned,
            unranked=self.unranked,
            spans=len(self.span_rises),
            pairs=self.pairs,
            span_rise_mean=_mean(self.span_rises),
            outside_author=_mean(self.sums["outside_author"]),
            outside_scorer=_mean(self.sums["outside_scorer"]),
        )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: array[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def summarise(run: Run, traces: Iterable[Trace]) -> Figures:
    """Return the figures of a run; ``traces`` is read once, and no trace is kept.

    What a failed prompt has of responses is not counted; a cancelled response is, up to where it was stopped.
    """
    base = run.base.name
    tallies = {(model.name, base): _Tally() for model in run.tuned}
    failed: list[Failure] = []
    prompts = 0
    for trace in traces:
        prompts += 1
        if trace.error is not None:
            failed.append(Failure(prompt_id=trace.prompt_id, error=trace.error))
            continue
        for response in trace.responses:
            named = categories(response, trace.read_pieces(response.author))
            for scorer in order_pairs(run, response):
                tally = tallies.setdefault((response.author, scorer), _Tally())
                tally.add(response, response.scores[scorer], named, run.thresholds)
    closed = {pair: tally.close(*pair) for pair, tally in tallies.items()}
    models = {model.name: closed[model.name, base] for model in run.tuned}
    reverse = next((closed[base, model.name] for model in run.tuned if (base, model.name) in closed), None)
    if reverse is not None:
        models[base] = reverse
    pairs = [figures for figures in closed.values() if figures.responses]
    return Figures(
        models=models, pairs=pairs, prompts=prompts, failed=failed, thresholds=run.thresholds, floors=run.floors
    )
