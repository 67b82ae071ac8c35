"""The aggregates of a run as Markdown: ``itx report RUN``."""

from __future__ import annotations

from itx.records import Run
from itx.report.escape import code, escape_inline, escape_line, write_table
from itx.report.figures import Figures, PairFigures
from itx.report.noise import describe_noise
from itx.report.sources import write_borrowing_summary
from itx.report.spans import say_outside, say_pairs, say_rise
from itx.report.wording import say_count, say_nats, say_share


def write_summary(run: Run, figures: Figures) -> str:
    """Return the report: every pair's classes and divergences, the kinds of words that shifted, what failed."""
    names = " ⇄ ".join(escape_inline(model.name) for model in run.models)
    parts = [
        f"# What tuning changed: {names}\n\n",
        f"{say_count(figures.prompts, 'prompt')}, {len(figures.failed)} failed. "
        "A closing EOS is not counted; KL is KL(author‖scorer) in nats.\n\n",
        write_pairs(figures),
        _write_categories(run, figures),
    ]
    if figures.failed:
        parts.append("\nFailed prompts:\n\n")
        parts.extend(f"- {code(failure.prompt_id)}: {escape_inline(failure.error)}\n" for failure in figures.failed)
    bounds = figures.thresholds
    parts.append(
        f"\nRanks are the scorer's, of the emitted token, over the full vocabulary: unshifted ≤ {bounds.unshifted} "
        f"\\< marginal ≤ {bounds.marginal} \\< shifted. {escape_inline(describe_noise(run))}\n"
    )
    if figures.borrowing is not None:
        parts.append(f"\n{write_borrowing_summary(figures.borrowing)}")
    if run.warnings:
        parts.append("\nWarnings when the models were loaded:\n\n")
        parts.extend(f"- {escape_line(warning)}\n" for warning in run.warnings)
    return "".join(parts)


def write_pairs(figures: Figures) -> str:
    """Return the table of all pairs of author and scorer, and what must be known of some."""
    header = ["author", "scored by", "responses", "positions", "unshifted", "marginal", "shifted"]
    header += ["mean KL", "median KL", "first 5", "later"]
    table = write_table(header, [_write_pair(pair) for pair in figures.pairs], range(2, len(header)))
    notes = [f"- {note}.\n" for pair in figures.pairs for note in _note(pair)]
    return table + (f"\n{''.join(notes)}" if notes else "")


def _note(pair: PairFigures) -> list[str]:
    author, scorer = escape_inline(pair.author), escape_inline(pair.scorer)
    notes = []
    if pair.aligned:
        notes.append(
            f"{author} and {scorer} have different tokenizers, so their figures are not exact: "
            f"{say_pairs(pair.spans, pair.pairs)}. Positions are these alone, {pair.unranked:,} others have no rank, "
            f"and KL does not exist. {say_rise(pair.span_rise_mean, author)}"
        )
    outside = say_outside([(author, pair.outside_author), (scorer, pair.outside_scorer)])
    return [*notes, f"{author} scored by {scorer}: {outside[0].lower()}{outside[1:]}"] if outside else notes


def _write_pair(pair: PairFigures) -> list[str]:
    responses = f"{pair.responses:,}" + (f" ({pair.cancelled} cancelled)" if pair.cancelled else "")
    counts = pair.counts
    divergences = [pair.kl_mean, pair.kl_median, pair.initiation_kl_mean, pair.later_kl_mean]
    return [
        code(pair.author),
        code(pair.scorer),
        responses,
        f"{pair.positions:,}",
        say_share(counts.unshifted, pair.positions),
        say_share(counts.marginal, pair.positions),
        say_share(counts.shifted, pair.positions),
        *("n/a" if value is None else say_nats(value, pair.exact) for value in divergences),
    ]


def _write_categories(run: Run, figures: Figures) -> str:
    """Return which kinds of words are shifted, by tuned model with base as the scorer."""
    models = [model.name for model in run.tuned if figures.models[model.name].positions]
    kinds = sorted({kind for name in models for kind in figures.models[name].categories})
    if not kinds:
        return ""
    rows = []
    for kind in kinds:
        counts = [figures.models[name].categories.get(kind) for name in models]
        rows.append(
            [kind, *("n = 0" if count is None else _say_shifted(count.shifted, count.positions) for count in counts)]
        )
    header = ["kind of word", *(f"{code(name)}: shifted" for name in models)]
    return "\n" + write_table(header, rows, range(1, len(header)))


def _say_shifted(shifted: int, positions: int) -> str:
    return f"{shifted:,} of {positions:,}" + (f" ({100 * shifted / positions:.0f} %)" if positions else "")
