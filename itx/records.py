"""The nouns of itx as frozen records: what a comparison yields, a run stores, and screen and export draw.

Figures come from raw logits at temperature 1 over the full vocabulary. Log-probs and entropies use natural
logarithms; KL and JS are in nats; ranks count from 1; positions from 0. A position is one emitted token, EOS included.
Field names and order are the schema of ``run.json`` and ``traces.jsonl`` (schema 1); fields that a reader does not
know are ignored, so that later versions can add some.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, overload

import msgspec

SCHEMA = 1
EXACT_DTYPES = frozenset({"float32", "float64"})
"""Their rounding stays below what is recorded, whatever is computed beside a sequence."""

Finish = Literal["eos", "length", "cancelled"]
ShiftClass = Literal["unshifted", "marginal", "shifted"]
Top = list[tuple[int, float]]
"""Alternatives as (token id, log-prob), best first."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all records; unknown fields are ignored. Each class says ``frozen`` and ``kw_only`` for itself."""


class Model(Record, frozen=True, kw_only=True):
    """One model of a run. ``weights`` and ``tokenizer`` are fingerprints (``sha256:…``)."""

    name: str
    role: Literal["base", "tuned"]
    reference: str
    engine: str
    adapter: str | None = None
    dtype: str = "float32"
    quantization: str | None = None
    weights: str = ""
    tokenizer: str = ""
    vocab_size: int = 0
    exact: bool = True
    device: str = "cpu"
    method: Literal["lora", "full"] | None = None
    """How it was tuned, where that can be seen: a PEFT adapter is ``lora`` (paper: LFT)."""
    alignment: Literal["bytes"] | msgspec.UnsetType = msgspec.UNSET
    """``bytes`` where its token ids are not the first tuned model's: figures between the two are over common spans of
    the text (see ``Score``), and ``exact`` is False. Left out elsewhere."""


class Decoding(Record, frozen=True, kw_only=True):
    """How the next token is chosen. Temperature 0 is greedy; ``top_k`` 0 and ``top_p`` 1 cut nothing."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0


class ContextPolicy(Record, frozen=True, kw_only=True):
    """How a prompt becomes each model's context. ``policy``: same, plain, qa, or ``jinja`` for a scorer's own file."""

    policy: str = "same"
    template: str | None = None
    system: str | None = None
    template_source: str | None = None
    """Where the chat template came from: a file, a built-in's name, or the folder of a model."""
    base_template: str | None = None
    """Fingerprint of the template that makes the base's context under the policy ``jinja``."""
    base_template_source: str | None = None
    """Where that template came from."""


class Thresholds(Record, frozen=True, kw_only=True):
    """Bounds of the shift classes by rank η: unshifted ≤ ``unshifted`` < marginal ≤ ``marginal`` < shifted.

    Source: Lin et al. 2023, arXiv 2312.01552, §2.1.
    """

    unshifted: int = 1
    marginal: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.unshifted <= self.marginal:
            raise ValueError(f"thresholds need 1 <= unshifted <= marginal, not {self.unshifted}, {self.marginal}")

    @overload
    def classify(self, rank: int) -> ShiftClass: ...
    @overload
    def classify(self, rank: int | None) -> ShiftClass | None: ...
    def classify(self, rank: int | None) -> ShiftClass | None:
        """Return the shift class of a position whose emitted token has this rank (from 1) for the scorer.

        None where it has none.
        """
        if rank is None:
            return None
        if rank <= self.unshifted:
            return "unshifted"
        return "marginal" if rank <= self.marginal else "shifted"


class DataReference(Record, frozen=True, kw_only=True):
    """The tuning data of a run, the control rows, and how both were read: lines of borrow.jsonl depend on all of it."""

    reference: str
    fingerprint: str
    rows: int
    control: str | None = None
    """Rows that no model was tuned on, as they were named."""
    control_fingerprint: str | None = None
    columns: dict[str, str] = {}
    embedder: str | None = None
    """None: the one that comes with itx."""
    train_max_tokens: int | None = None


class EngineFacts(Record, frozen=True, kw_only=True):
    """What moves figures within the noise floor: chunks, threads, attention kernel, cache type, batches."""

    chunk: int
    threads: int
    flash_attention: bool | None = None
    kv: str = "float32"
    batch_size: int = 1
    """Prompts that are decoded together, at most."""
    given_chunk: int | None = None
    """The chunk of responses that were given; None: as ``chunk``."""


class Floor(Record, frozen=True, kw_only=True):
    """What one model of a run differs from itself by, measured when it was loaded: the noise floor of its dtype.

    It wrote ``positions`` tokens greedily, one at a time, and scored them in chunks, as scorers do; an EOS does not
    count. ``kl_mean`` is in nats, ``unshifted`` a fraction.
    """

    model: str
    dtype: str
    kl_mean: float
    unshifted: float
    positions: int
    engine: str | None = None
    """``torch``, ``llama``, …; None in runs that do not say."""
    quantization: str | None = None
    """The quantisation that was measured; then ``dtype`` names it, too."""

    def __post_init__(self) -> None:
        if self.positions < 1 or not (0 <= self.unshifted <= 1 and 0 <= self.kl_mean < float("inf")):
            raise ValueError("a noise floor needs positions >= 1, 0 <= unshifted <= 1 and a finite kl_mean >= 0")


class Shard(Record, frozen=True, kw_only=True):
    """Which part of a list of prompts a run has: of ``count`` parts, dealt in turn, the ``number``-th (from 1).

    ``prompts`` is the length of the whole list, ``list`` its fingerprint: ids and all that is asked, in order.
    """

    number: int
    count: int
    prompts: int
    list: str

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= self.prompts:
            raise ValueError(f"shard {self.number} of {self.count} of {self.prompts} prompts")

    def __str__(self) -> str:
        return f"{self.number}/{self.count} of {self.prompts:,} prompts"


class Run(Record, frozen=True, kw_only=True):
    """``run.json``: everything that must be known to repeat a run."""

    schema: int
    itx: str
    created: str
    command: list[str]
    models: list[Model]
    decoding: Decoding
    context: ContextPolicy
    thresholds: Thresholds = Thresholds()
    data: DataReference | None = None
    engine: EngineFacts
    versions: dict[str, str]
    authors: list[str] = []
    """Whose responses were generated; empty in runs that do not say."""
    warnings: list[str] = []
    """What the checks at load found that a reader must know."""
    floors: list[Floor] = []
    """One for each dtype but plain float32, of the first model that has it; empty in runs that did not measure."""
    shard: Shard | None = None
    """None: the whole list."""
    merged: list[list[str]] = []
    """The commands of the runs that this one was merged from."""

    @property
    def base(self) -> Model:
        """The weights before tuning."""
        return next(model for model in self.models if model.role == "base")

    @property
    def tuned(self) -> list[Model]:
        """The weights after tuning, in the order given."""
        return [model for model in self.models if model.role == "tuned"]


class Context(Record, frozen=True, kw_only=True):
    """The token ids that one model sees before the response, and their text."""

    ids: list[int]
    text: str


class CommonSpan(NamedTuple):
    """A shortest stretch of a response's text that begins and ends with a token of both tokenizers.

    ``author_start`` and ``author_end`` are positions, ``scorer_start`` and ``scorer_end`` places in ``Score.ids`` (ends
    exclusive); the log-probs are the sums over these tokens. The scorer's is that of the tokens its tokenizer makes of
    the text, which is at most that of the text.
    """

    author_start: int
    author_end: int
    scorer_start: int
    scorer_end: int
    author_logp: float
    scorer_logp: float

    @property
    def is_pair(self) -> bool:
        """Whether one token meets one token."""
        return self.author_end - self.author_start == 1 == self.scorer_end - self.scorer_start


class Score(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What one scorer says of each position of a response. All lists have one entry a position.

    ``rank`` is 1 + the number of ids with a strictly higher logit than the emitted token's; ``ties`` counts the other
    ids with exactly its logit. ``top`` has ten alternatives a position. With ``exact`` False the divergences are lower
    bounds from partial distributions.

    A scorer with another tokenizer than the author's reads the same text as tokens of its own: ``ids``. Then ``exact``
    is False, ``spans`` has the log-probs of both over each common span, and an entry is None where no such figure
    exists: ``logp`` but where a span is one position, ``rank`` and ``ties`` but where one token meets one token,
    ``entropy`` but where a span begins, and the divergences everywhere, for two vocabularies have none. ``top`` is
    empty but where a span begins, and has the scorer's ids. Bytes that make no character are in no span, nor is what
    the scorer did not read.
    """

    logp: list[float | None]
    rank: list[int | None]
    ties: list[int | None]
    entropy: list[float | None]
    kl_author_scorer: list[float | None]
    kl_scorer_author: list[float | None]
    js: list[float | None]
    top: list[Top]
    exact: bool = msgspec.field(default_factory=lambda: True)
    """Always written: what a factory makes is no default to leave out; the empty lists below are left out."""
    ids: list[int] = []
    """The scorer's own tokens of the response, where its tokenizer is another than the author's; else empty."""
    spans: list[CommonSpan] = []
    """The common spans, in order; empty where both have one tokenizer."""
    outside_author: list[float] = []
    """The author's probability of the ids beyond the common ones, which the figures leave out, at each position; empty
    where both models have as many logits."""
    outside_scorer: list[float] = []
    """The scorer's."""

    @property
    def aligned(self) -> bool:
        """Whether the scorer has another tokenizer than the author's, though it may have read nothing of the text.

        Partial distributions of one tokenizer have divergences, if only as bounds; two tokenizers have none.
        """
        read = bool(self.spans or self.ids)
        return read or (not self.exact and bool(self.js) and all(value is None for value in self.js))


class Response(Record, frozen=True, kw_only=True):
    """What one author emitted. ``ids`` include EOS; ``text`` does not.

    ``ends[i]`` is the number of characters of ``text`` that are complete once position i is emitted: position i covers
    ``text[ends[i-1]:ends[i]]``. It is empty for EOS and for a token that ends within a multi-byte character, which
    belongs to the token that completes it.
    """

    author: str
    ids: list[int]
    text: str
    finish: Finish
    logp: list[float] = []
    entropy: list[float] = []
    top: list[Top] = []
    scores: dict[str, Score] = {}
    ends: list[int] = []
    given: bool = False
    """True where the text was given (``--responses``) and not generated."""

    @property
    def length(self) -> int:
        """Positions that count in aggregates: all but a closing EOS."""
        return len(self.ids) - (self.finish == "eos" and bool(self.ids))

    def span(self, position: int) -> tuple[int, int]:
        """Return the characters of ``text`` (start, end exclusive) that ``position`` completes."""
        return (self.ends[position - 1] if position else 0), self.ends[position]


class Message(Record, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: str
    content: str


class Trace(Record, frozen=True, kw_only=True):
    """One line of ``traces.jsonl``: a prompt, every model's context, and all responses with their scores.

    ``pieces`` names every id that occurs in the line (emitted or alternative) as text, so that a run opens without a
    tokenizer.
    """

    prompt_id: str
    prompt: str
    reference: str | None = None
    contexts: dict[str, Context] = {}
    responses: list[Response] = []
    error: str | None = None
    pieces: dict[int, str] = {}
    asked: str | None = None
    """Fingerprint (``sha256:…``) of the prompt's text, conversation and given responses; None in older lines."""

    messages: list[Message] = []
    """What every model was told before the prompt: the system message, and the turns before the last."""
    own_pieces: dict[str, dict[int, str]] = {}
    """The pieces of each model that has other ids than those ``pieces`` names, by the model's name."""

    def read_pieces(self, model: str) -> dict[int, str]:
        """Return what the ids of a model mean in this line."""
        return self.own_pieces.get(model, self.pieces)

    def response(self, author: str) -> Response | None:
        """Return the author's response, or None where it has none."""
        return next((response for response in self.responses if response.author == author), None)


class GivenResponse(Record, frozen=True, kw_only=True):
    """A response that is scored and not generated; exactly one of ``text`` and ``ids`` is set."""

    author: str | None = None
    text: str | None = None
    ids: list[int] | None = None


class Prompt(Record, frozen=True, kw_only=True):
    """One thing to ask. ``messages`` holds the whole conversation where the file gave one; ``prompt`` its last turn."""

    id: str
    prompt: str
    messages: list[Message] = []
    reference: str | None = None
    given: list[GivenResponse] = []


class Example(Record, frozen=True, kw_only=True):
    """A row that has a span: its id and the passage as it stands in the row's response, with some text around it.

    ``start`` and ``end`` are the span's characters in ``text`` (end exclusive).
    """

    row: str
    text: str
    start: int = 0
    end: int = 0


class Span(Record, frozen=True, kw_only=True):
    """A verbatim span of a response: whole words that rows of the tuning data have, too.

    ``start`` and ``end`` are positions (end exclusive), ``text`` what they say; ids count from 1 in order of ``start``.
    """

    id: int
    start: int
    end: int
    text: str
    rows: int
    """How many of the searched rows have it in their response."""
    all_rows: int | None = None
    """How many of all rows have it, whatever was searched; None where that was not counted."""
    examples: list[Example] = []
    borrowed: bool = False
    """Whether borrowed words lie in it: then the rows searched are the neighbours of the prompt."""
    words: list[int] = []
    """The first position of each borrowed word in it that no rarer span owns."""
    rise: float | None = None
    """Sum of the author's log-prob minus base's over its positions, in nats; None where base did not score them."""
    raised: bool = False
    """A position is shifted for base, or the author gives the span at least 3 nats more than base."""
    boilerplate: bool = False
    """So many rows have it that it says nothing of one."""


class Neighbour(Record, frozen=True, kw_only=True):
    """A row retrieved for a query. ``text`` is its response, ``instruction`` what it answers.

    ``score`` is the semantic score where there is one, else the lexical; ``query`` says what it was retrieved by.
    """

    row: str
    score: float
    text: str
    instruction: str = ""
    lexical: float | None = None
    semantic: float | None = None
    query: Literal["prompt", "response", "span", "words"] = "prompt"


class ControlCount(Record, frozen=True, kw_only=True):
    """What a control counts where a response has ``borrowed`` of ``words``; for random rows the mean of the draws."""

    words: int
    borrowed: float


class Null(Record, frozen=True, kw_only=True):
    """The controls of one response: base's own answer, rows never tuned on near the prompt, and random rows."""

    base: ControlCount | None = None
    control: ControlCount | None = None
    random: ControlCount | None = None
    draws: int = 0
    seed: int = 0


class Paraphrase(Record, frozen=True, kw_only=True):
    """A sentence without a verbatim source that is near a sentence of a neighbour; ``score`` is their cosine."""

    start: int
    end: int
    text: str
    row: str
    passage: str
    score: float


class Borrowing(Record, frozen=True, kw_only=True):
    """One line of ``borrow.jsonl``: where the words of one response occur in the tuning data.

    ``candidates`` counts the content, entity and digit words of the response that the prompt lacks, ``borrowed`` those
    of them that lie in a verbatim span of the neighbours of the prompt, ``distinct`` the different ones among these.
    """

    prompt_id: str
    author: str
    spans: list[Span] = []
    neighbours: list[Neighbour] = []
    null: Null = Null()
    candidates: int = 0
    borrowed: int = 0
    distinct: int = 0
    raised: int = 0
    """Borrowed words in raised spans."""
    positions: dict[int, int] = {}
    """The span that owns each position of a borrowed word."""
    paraphrases: list[Paraphrase] = []
    response: str | None = None
    """Fingerprint (``sha256:…``) of the ids of the response that the line was made for."""


Verdict = Literal["hallucinated", "fine", "accepted", "rejected", "cleared"]


class Mark(Record, frozen=True, kw_only=True):
    """One event of ``marks.jsonl``: a person's judgement of a span, or (with ``row``) of a source of it."""

    time: str
    prompt_id: str
    author: str
    start: int
    end: int
    verdict: Verdict
    row: str | None = None
    note: str = ""
