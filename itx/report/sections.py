"""The study of a run as sections of tables and plots, which text and Markdown draw alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from itx.borrow.excess import Difference
from itx.records import Run
from itx.report.borrowing import BorrowingFigures
from itx.report.checks import show_checks
from itx.report.forgetting import show_knowledge
from itx.report.parts import (
    FLAG,
    NOTHING,
    Plot,
    Quoted,
    Section,
    Table,
    say_divergence,
    say_estimate,
    say_rounded,
)
from itx.report.study import (
    AuthorPatterns,
    Bucket,
    Comparison,
    Lengths,
    PairStudy,
    Phrase,
    Shares,
    Study,
)
from itx.report.wording import ABSENT, say_count

TOKENS = 10
"""Tokens that are listed a pair."""


def list_sections(run: Run, study: Study) -> Iterator[Section]:
    """Yield the sections in the order in which they are read."""
    yield _show_pairs(study)
    if study.comparisons:
        yield _show_comparisons(study)
    own = [pair for pair in study.pairs if pair.path == "own"]
    shared = [pair for pair in study.pairs if pair.path == "reverse"]
    for title, pairs in (("own responses, scored by base", own), ("base's responses, scored by each", shared)):
        if pairs:
            yield _show_buckets(f"Where it shifts: {title}", pairs)
    curves = [pair for pair in own if any(pair.curve.counts)]
    if curves:
        yield Section(title="By position", plots=[plot for pair in curves for plot in list_plots(pair)])
    if study.authors:
        yield _show_authors(study)
    tokens = [_show_tokens(pair) for pair in own if pair.tokens]
    if tokens:
        yield Section(
            title="Most-shifted tokens",
            notes=["n: how often the model emitted the token; rate: how often it was shifted for base."],
            tables=tokens,
        )
    if study.patterns.models:
        yield _show_patterns(study)
    if study.borrowing is not None:
        yield _show_borrowing(study.borrowing)
    if study.checks:
        yield show_checks(study.checks)
    if study.knowledge is not None:
        yield show_knowledge(study.knowledge)


def _show_pairs(study: Study) -> Section:
    if not study.pairs:
        return Section(title="Shift", notes=[f"{NOTHING}: no response was scored."])
    rows = [
        [
            Quoted(f"{pair.author} by {pair.scorer}"),
            f"{pair.overall.positions:,}",
            say_estimate(pair.overall.shifted),
            say_divergence(pair.overall.kl, pair.exact),
            say_estimate(pair.overall.unshifted),
            say_estimate(pair.overall.marginal),
            say_estimate(pair.kl_on_shifted),
        ]
        for pair in study.pairs
    ]
    header = ["author by scorer", "n", "shifted %", "mean KL", "unshifted %", "marginal %", "% of KL on shifted"]
    return Section(title="Shift", tables=[Table(header=header, rows=rows, numbers=list(range(1, len(header))))])


def _show_comparisons(study: Study) -> Section:
    labels = {author.name: author.label for author in study.authors}
    named = [f"{name}: {label}" for name, label in labels.items() if label not in {"base", "tuned"}]
    rows = [
        [
            Quoted(f"{each.first} − {each.second}, {_say_path(each)}"),
            f"{each.prompts:,}",
            say_estimate(each.shifted),
            say_estimate(each.kl, 1.0, 3),
            say_estimate(each.unshifted),
            say_estimate(each.marginal),
        ]
        for each in study.comparisons
    ]
    header = ["difference, on", "prompts", "shifted", "mean KL", "unshifted", "marginal"]
    notes = ["Differences in percentage points and nats, over the prompts that both have, resampled alike."]
    if named:
        notes.append("; ".join(named) + ".")
    return Section(
        title="Two tunings, paired by prompt",
        notes=notes,
        tables=[Table(header=header, rows=rows, numbers=list(range(1, len(header))))],
    )


def _say_path(comparison: Comparison) -> str:
    return "own responses" if comparison.author is None else f"{comparison.author}'s responses"


def _show_buckets(title: str, pairs: Sequence[PairStudy]) -> Section:
    names = [pair.author if pair.path == "own" else pair.scorer for pair in pairs]
    groups: list[tuple[str, Callable[[PairStudy], list[Bucket]]]] = [
        ("positions", lambda pair: pair.by_position),
        ("of the response", lambda pair: pair.by_relative),
        ("kind of word", lambda pair: pair.by_category),
    ]
    tables = []
    for first, find in groups:
        buckets = [find(pair) for pair in pairs]
        rows = []
        for row in zip(*buckets, strict=True):
            if first == "positions" and not any(bucket.shares.positions for bucket in row):
                continue
            cells = [f"{_say_shifted(bucket.shares)}" for bucket in row]
            rows.append([row[0].label, *cells, *(say_divergence(bucket.shares.kl) for bucket in row)])
        header = [first, *(f"{name}: shifted %" for name in names), *(f"{name}: mean KL" for name in names)]
        tables.append(Table(header=header, rows=rows, numbers=list(range(1, len(header)))))
    notes = [
        "Means weigh every position alike. Of a response that was cut, parts are parts of what there is. Kinds of word "
        "go by word lists, which --words replaces."
    ]
    return Section(title=title, notes=notes, tables=tables)


def _say_shifted(shares: Shares) -> str:
    if not shares.positions:
        return NOTHING
    return f"{say_estimate(shares.shifted)} of {shares.positions:,}"


def list_plots(pair: PairStudy) -> list[Plot]:
    """Return the curves of a pair: KL, the scorer's rank and its probability of what was emitted."""
    curve = pair.curve
    who = f"{pair.author} scored by {pair.scorer}"
    drawn = [
        ("kl", f"mean KL by position, {who}", curve.kl_mean),
        ("kl-median", f"median KL by position, {who}", curve.kl_median),
        ("rank", f"mean rank by position, {who}", curve.rank_mean),
        ("rank-median", f"median rank by position, {who}", curve.rank_median),
        ("probability", f"mean probability by position, {who}", curve.probability_mean),
        ("probability-median", f"median probability by position, {who}", curve.probability_median),
    ]
    return [
        Plot(
            name=f"{name}-{pair.author}-{pair.scorer}",
            title=f"{title} (n from {max(curve.counts)} to {min(curve.counts)})",
            values=values,
        )
        for name, title, values in drawn
        if any(value is not None for value in values)
    ]


def _show_authors(study: Study) -> Section:
    base = {pair.author: pair for pair in study.pairs if pair.path == "own"}
    rows = []
    for author in study.authors:
        stopping = base[author.name].stopping if author.name in base else None
        rows.append(
            [
                Quoted(author.name),
                f"{author.responses:,}" + (f" ({author.given:,} given)" if author.given else ""),
                say_estimate(author.cut),
                say_estimate(author.tokens, 1.0),
                say_estimate(author.argmax),
                ABSENT if stopping is None else f"{_say_number(stopping.rank_median)} of {stopping.stops:,}",
                ABSENT if stopping is None else say_estimate(stopping.rank_first),
                say_estimate(author.words, 1.0),
            ]
        )
    header = ["model", "responses", "cut %", "tokens", "first choice %", "base's median rank of EOS", "EOS first %"]
    return Section(
        title="Responses and where they stop",
        notes=[
            "Cut: by the limit or the window. Lengths are of responses that ended by EOS. First choice: the emitted "
            "token is the author's own. Base's rank of EOS where the author stopped, and how often it is base's first."
        ],
        tables=[Table(header=[*header, "words"], rows=rows, numbers=list(range(1, len(header) + 1)))],
    )


def _say_number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.1f}".removesuffix(".0")


def _show_tokens(pair: PairStudy) -> Table:
    rows = [
        [
            Quoted(f"'{token.piece}'"),
            f"{token.shifted:,}",
            f"{token.count:,}",
            f"{100 * token.rate:.0f} %",
            Quoted(", ".join(f"{place.prompt_id}:{place.position}" for place in token.places[:3])),
        ]
        for token in pair.tokens[:TOKENS]
    ]
    return Table(
        title=f"{pair.author} scored by {pair.scorer}",
        header=["token", "shifted", "n", "rate", "prompt:position"],
        rows=rows,
        numbers=[1, 2, 3],
    )


def _show_patterns(study: Study) -> Section:
    patterns = study.patterns
    rows = [
        [
            Quoted(name),
            *_say_lengths(model.words),
            say_estimate(model.censored),
            say_estimate(model.lists),
            say_estimate(model.markdown),
            ABSENT if model.opening_copied is None else say_estimate(model.opening_copied),
            ABSENT if model.closing_copied is None else say_estimate(model.closing_copied),
        ]
        for name, model in patterns.models.items()
    ]
    data = patterns.data
    if data is not None:
        shares = [ABSENT if share is None else f"{100 * share:.1f}" for share in (data.lists, data.markdown)]
        rows.append(["the tuning data", *_say_lengths(data.words), ABSENT, *shares, ABSENT, ABSENT])
    header = ["model", "texts", "words", "10 %–90 %", "no EOS %", "lists %", "Markdown %"]
    header += ["begin as a row %", "end as a row %"]
    notes = ["Lengths in words of the responses that ended by EOS: median, and 10th to 90th percentile."]
    if patterns.missing is not None:
        notes.append(f"Figures against the tuning data are left out: {patterns.missing}. Name it with --data DATA.")
    tables = [Table(header=header, rows=rows, numbers=list(range(1, len(header))))]
    for name, model in patterns.models.items():
        phrases = _list_phrases(model)
        if phrases:
            header = ["", "words", "responses", "rows"]
            tables.append(Table(title=f"{name}: what repeats", header=header, rows=phrases, numbers=[2, 3]))
    return Section(title="Copied patterns", notes=notes, tables=tables)


def _list_phrases(model: AuthorPatterns) -> list[list[str]]:
    kinds: list[tuple[str, list[Phrase]]] = [
        ("begin", model.openings[:3]),
        ("end", model.closings[:3]),
        ("within", model.boilerplate[:5]),
    ]
    return [
        [
            kind,
            Quoted(phrase.text),
            f"{phrase.responses:,} of {model.responses:,}",
            ABSENT if phrase.rows is None else f"{phrase.rows:,}",
        ]
        for kind, phrases in kinds
        for phrase in phrases
    ]


def _say_lengths(lengths: Lengths) -> list[str]:
    if lengths.median is None or lengths.low is None or lengths.high is None:
        return [NOTHING, ABSENT, ABSENT]
    return [f"{lengths.count:,}", _say_number(lengths.median), f"{lengths.low:,.0f}–{lengths.high:,.0f}"]


_CONTROLS = {"base": "base's answers, the same rows", "control": "rows never tuned on", "random": "random rows"}


def _show_borrowing(borrowing: BorrowingFigures) -> Section:
    """Show the headline of each model; the Markdown has more in a section of its own."""
    rows = []
    for name, model in borrowing.models.items():
        own = [f"{model.borrowed:,} of {model.words:,}", _say_rate(model.rate)]
        for excess in model.excess:
            who = Quoted(f"{name}, over {_CONTROLS[excess.control]}")
            rows.append([who, f"{excess.prompts:,}", *own, _say_rate(excess.excess, excess.low, excess.high)])
        if not model.excess:
            rows.append([Quoted(name), f"{model.responses:,}", *own, ABSENT])
    header = ["model, over a control", "prompts", "borrowed words", "per 100", "excess per 100"]
    tables = [Table(header=header, rows=rows, numbers=[1, 2, 3, 4])]
    if borrowing.differences:
        rows = [
            [
                Quoted(f"{each.first} − {each.second}, {_name_control(each)}"),
                f"{each.prompts:,}",
                _say_rate(each.difference, each.low, each.high),
            ]
            for each in borrowing.differences
        ]
        header = ["difference", "prompts", "per 100"]
        tables.append(Table(title="Paired by prompt", header=header, rows=rows, numbers=[1, 2]))
    for name, model in borrowing.models.items():
        if model.rows and model.raised is not None:
            rows = [
                [Quoted(row.row), f"{row.words:,}", f"{row.prompts:,}", Quoted(row.text[:60])] for row in model.rows[:5]
            ]
            header = ["row", "words", "prompts", "passage"]
            tables.append(Table(title=f"{name}: rows it borrows from most", header=header, rows=rows, numbers=[1, 2]))
    return Section(
        title="Borrowed wording",
        notes=[
            "Words of content, entities and digits that the prompt lacks, in verbatim spans of the rows nearest the "
            "prompt. Retrieved wording is not proof of a cause."
        ],
        tables=tables,
    )


def _name_control(difference: Difference) -> str:
    return "rates" if difference.control is None else f"over {_CONTROLS[difference.control]}"


def _say_rate(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return ABSENT
    interval = "" if low is None or high is None else f" ({say_rounded(low, 1)} to {say_rounded(high, 1)})"
    return f"{say_rounded(value, 1)}{interval}"


def describe_study(study: Study) -> list[str]:
    """Return what must be known before any figure."""
    return [
        f"{say_count(study.prompts, 'prompt')}, {study.failed:,} failed. A closing EOS is not counted; KL is "
        "KL(author‖scorer) in nats.",
        f"In brackets: 95 % intervals that resample prompts ({study.draws:,} draws). {FLAG} marks figures of fewer "
        "than 30 prompts, whose intervals are not to be relied on.",
    ]
