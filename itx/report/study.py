"""What a run says over all its prompts, as records: what text, Markdown, JSON and the screen draw.

``itx.report.studying.read_study`` makes them. A closing EOS never counts as a position; divergences are in nats.
"""

from __future__ import annotations

from typing import Literal

from itx.records import Record
from itx.report.borrowing import BorrowingFigures
from itx.report.figures import Figures

FEW = 30
"""Fewer prompts than this are flagged: an interval from them is not to be relied on."""
Path = Literal["own", "shared", "reverse"]
"""``own``: a tuned model's response scored by base. ``reverse``: base's scored by a tuned model, which is a shared
path, too, where two tuned models score it. ``shared``: a tuned model's response scored by another."""


class Estimate(Record, frozen=True, kw_only=True):
    """A figure with its count and a 95 % interval that resamples prompts.

    ``count`` is what the figure is over (positions, responses, tokens), ``prompts`` how many prompts these are of.
    ``value`` is None where there is nothing, ``low`` and ``high`` where fewer than two prompts are; ``few`` where
    fewer than 30 are.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int
    prompts: int
    few: bool


class Shares(Record, frozen=True, kw_only=True):
    """Shift classes and divergence of some positions: fractions of those with a rank, and the mean KL in nats.

    ``kl`` counts positions that have a divergence; with two tokenizers there are none.
    """

    positions: int
    prompts: int
    unshifted: Estimate
    marginal: Estimate
    shifted: Estimate
    kl: Estimate


class Bucket(Record, frozen=True, kw_only=True):
    """Some positions of each response. ``label`` is ``0–4``, ``first 5 %``, ``10–20 %`` or a category's name.

    ``start`` and ``end`` (exclusive; None: no end) are positions, or per cent of the response's length where the
    bucket is relative; both are None for a category.
    """

    label: str
    start: int | None
    end: int | None
    shares: Shares


class Curve(Record, frozen=True, kw_only=True):
    """Figures by position, from 0: lists of one length. ``counts`` has the responses that have a rank there.

    ``probability`` is the scorer's of the emitted token. Entries are None where a position has no such figure. Means
    and medians are over responses.
    """

    counts: list[int]
    kl_mean: list[float | None]
    kl_median: list[float | None]
    rank_mean: list[float | None]
    rank_median: list[float | None]
    probability_mean: list[float | None]
    probability_median: list[float | None]


class Place(Record, frozen=True, kw_only=True):
    """A position of a response of the pair's author."""

    prompt_id: str
    position: int


class ShiftedToken(Record, frozen=True, kw_only=True):
    """A token of the author: how often it was emitted with a rank, how often it was shifted, and where (a few places,
    those with the largest KL first, or the highest rank without one)."""

    token: int
    piece: str
    count: int
    shifted: int
    rate: float
    places: list[Place]


class Stopping(Record, frozen=True, kw_only=True):
    """Where the author stopped by EOS, what the scorer says of stopping there.

    ``rank_first`` is the share of these EOS that are the scorer's first choice, ``rank_median`` and ``rank_mean`` are
    of the scorer's ranks, ``probability`` is the mean probability it gives them.
    """

    stops: int
    rank_first: Estimate
    rank_median: float | None
    rank_mean: float | None
    probability: Estimate


class PairStudy(Record, frozen=True, kw_only=True):
    """One author's responses as one scorer sees them.

    ``kl_on_shifted`` is the share of the total KL that lies on shifted positions; ``places`` of the largest KL come
    first. Without ``exact`` divergences are lower bounds; ``aligned``: two tokenizers, no divergences.
    """

    author: str
    scorer: str
    path: Path
    exact: bool
    aligned: bool
    overall: Shares
    kl_on_shifted: Estimate
    by_position: list[Bucket]
    by_relative: list[Bucket]
    by_category: list[Bucket]
    stopping: Stopping
    curve: Curve
    tokens: list[ShiftedToken]


class AuthorStudy(Record, frozen=True, kw_only=True):
    """One model's own responses.

    ``label`` is ``LoRA (paper: LFT)``, ``full (paper: SFT)`` or the role. ``argmax`` is the rate at which the emitted
    token is the author's own first choice; ``cut`` the share of responses that the limit or a window cut;
    ``tokens`` the mean length of the responses that ended by EOS, ``words`` the same in words.
    """

    name: str
    label: str
    method: Literal["lora", "full"] | None
    responses: int
    given: int
    cancelled: int
    argmax: Estimate
    cut: Estimate
    ended: int
    tokens: Estimate
    words: Estimate


class Comparison(Record, frozen=True, kw_only=True):
    """``first`` minus ``second``, paired: the same resampled prompts, and only those that both have.

    On the ``own`` path each model's response is scored by base; on the ``shared`` path both score the response of
    ``author``. Rates are differences of fractions, ``kl`` of mean KL in nats.
    """

    path: Literal["own", "shared"]
    author: str | None
    first: str
    second: str
    prompts: int
    unshifted: Estimate
    marginal: Estimate
    shifted: Estimate
    kl: Estimate


class Phrase(Record, frozen=True, kw_only=True):
    """Words that responses share: in how many responses they are, and in how many rows of the tuning data.

    ``rows`` is None where the data was not read.
    """

    text: str
    responses: int
    rows: int | None


class Lengths(Record, frozen=True, kw_only=True):
    """Lengths of ``count`` texts: mean, and 10th, 50th and 90th percentile; None without any."""

    count: int
    mean: float | None
    low: float | None
    median: float | None
    high: float | None


class AuthorPatterns(Record, frozen=True, kw_only=True):
    """How one model's responses begin, end and are laid out.

    ``words`` and ``tokens`` are lengths of the responses that ended by EOS; ``censored`` the share of the others,
    whose lengths are not known. ``openings`` and ``closings`` are the commonest first and last words, ``boilerplate``
    runs of words that several responses share. ``lists`` and ``markdown`` are shares of responses that have some.
    ``opening_copied`` is the share of responses whose first three words begin a row, ``closing_copied`` whose last
    three end one; None where the data was not read.
    """

    name: str
    responses: int
    words: Lengths
    tokens: Lengths
    censored: Estimate
    lists: Estimate
    markdown: Estimate
    openings: list[Phrase]
    closings: list[Phrase]
    boilerplate: list[Phrase]
    opening_copied: Estimate | None
    closing_copied: Estimate | None


class DataPatterns(Record, frozen=True, kw_only=True):
    """The same of the responses of the tuning data's rows; tokens are not known."""

    rows: int
    words: Lengths
    lists: float | None
    markdown: float | None
    openings: list[Phrase]
    closings: list[Phrase]


class Patterns(Record, frozen=True, kw_only=True):
    """Pattern copying. ``data`` is None where the tuning data was not read; ``missing`` says why."""

    models: dict[str, AuthorPatterns]
    data: DataPatterns | None
    missing: str | None


class KnownShares(Record, frozen=True, kw_only=True):
    """What one model knows; of an estimate's ``prompts`` each is a fact.

    ``known`` is the share of facts whose right answer has the highest log-prob of all alternatives, ``known_by_byte``
    the same by log-prob a byte; ``greedy`` the share whose answer the model would write by itself: each of its tokens
    has rank 1. ``logp`` is the mean log-prob of the right answers in nats, ``rank_median`` of their first tokens.
    """

    name: str
    label: str
    known: Estimate
    known_by_byte: Estimate
    greedy: Estimate
    logp: Estimate
    rank_median: float | None


class FactChange(Record, frozen=True, kw_only=True):
    """A fact that a tuning lost or gained; ``preferred`` is the wrong answer in its place, ``replaced`` where that has
    become likelier than it was for base. Leads are of the right answer over the best wrong one, in nats."""

    id: str
    prompt: str
    answer: str
    preferred: str | None
    replaced: bool
    lead_before: float | None
    lead_after: float | None


class Forgetting(Record, frozen=True, kw_only=True):
    """One tuned model beside base: shares of the facts that base knew which it ``lost``, and which it ``replaced``; of
    those that base did not know which it ``gained``; mean changes of the right answer's log-prob and of its lead over
    the best wrong one, in nats. Facts are listed by how much the lead changed, at most 20."""

    name: str
    lost: Estimate
    gained: Estimate
    replaced: Estimate
    logp_change: Estimate
    lead_change: Estimate
    lost_facts: list[FactChange]
    gained_facts: list[FactChange]


class SubjectShares(Record, frozen=True, kw_only=True):
    """The share of one subject's facts that each model knows."""

    subject: str
    facts: int
    known: dict[str, Estimate]


class KnowledgeFigures(Record, frozen=True, kw_only=True):
    """What the models of a run know; see ``itx.report.knowledge``. ``chance`` is what guessing would know."""

    facts: int
    failed: int
    chance: float | None
    models: list[KnownShares]
    tunings: list[Forgetting]
    subjects: list[SubjectShares]


class Check(Record, frozen=True, kw_only=True):
    """What retuning without a span's source rows did to it, as ``itx verify`` recorded it; ``start`` and ``end`` are
    positions, end exclusive.

    Log-probs are the span's, in nats: as the run ``recorded`` it, and after retunings with no row ``unmasked``, with
    the source rows ``removed``, and with as many random rows masked (``controls``). ``drop`` and ``control_drops`` are
    by how much masking lowered it against ``unmasked``. ``masked`` is the number of source rows, ``chosen`` how they
    were chosen, of the ``having`` rows tuned on that have the span. ``says``: the model retuned without them still
    writes the span's words.
    """

    prompt_id: str
    author: str
    span: int
    start: int
    end: int
    text: str
    recorded: float
    unmasked: float
    removed: float
    controls: list[float]
    drop: float
    control_drops: list[float]
    caused: bool
    says: bool
    retunings: int
    reproduction: float
    chosen: str
    having: int
    masked: int


class Study(Record, frozen=True, kw_only=True):
    """A run's study. ``figures`` are the plain ones of ``itx report --json``.

    ``pairs`` has the own paths first (as the run names the models), then base's responses, then the other shared
    paths. ``draws`` is the number of resamples behind every interval.
    """

    prompts: int
    failed: int
    draws: int
    figures: Figures
    authors: list[AuthorStudy]
    pairs: list[PairStudy]
    comparisons: list[Comparison]
    patterns: Patterns
    borrowing: BorrowingFigures | None = None
    knowledge: KnowledgeFigures | None = None
    checks: list[Check] = []

    def pair(self, author: str, scorer: str) -> PairStudy | None:
        """Return the pair's study, or None where the run has none."""
        return next((each for each in self.pairs if (each.author, each.scorer) == (author, scorer)), None)
