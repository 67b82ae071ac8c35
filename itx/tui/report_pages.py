"""The pages of the report screen, as functions of a study and a width: what is shifted, where, how surely."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from itx.report.study import AuthorStudy, Bucket, Estimate, PairStudy, Study
from itx.report.wording import say_count, say_nats
from itx.text import sanitise
from itx.tui.plotting import FEW, Writer
from itx.tui.shape import WIDE
from itx.tui.wording import wrap_text

LABEL = 26
_PLOT = 16
"""Cells that the drawing of an interval gets at least."""


def name_pair(pair: PairStudy) -> str:
    """Return ``full, scored by base``."""
    return sanitise(f"{pair.author}, scored by {pair.scorer}", keep_newlines=False)


def write_remarks(study: Study, writer: Writer, width: int) -> list[Text]:
    """Return what must be known of every figure."""
    dot = f" {writer.signs.dot} "
    parts = [
        f"{say_count(study.prompts, 'prompt')}{f', {study.failed} failed' if study.failed else ''}",
        f"[low, high]: 95 %, {study.draws:,} resamples of prompts",
        f"{FEW} fewer than 30 prompts",
        "EOS is not counted",
    ]
    return wrap_text(Text(dot.join(parts), style=writer.palette.faint), width)


def write_overview(study: Study, writer: Writer, width: int) -> list[Text]:
    """Return classes and divergence of every pair, then what concerns whole responses, and stopping."""
    strong = writer.palette.strong
    bounds = study.figures.thresholds
    ranks = f"by the scorer's rank: unshifted <= {bounds.unshifted} < marginal <= {bounds.marginal} < shifted"
    lines = [*write_remarks(study, writer, width), Text(), writer.heading("Tokens", ranks, width)]
    head = ["author and scorer", "tokens", "unshifted", "marginal", "shifted", "mean KL, nats", "KL on shifted"]
    rows = [
        [
            Text(name_pair(pair), style=strong),
            Text(f"{pair.overall.positions:,}"),
            writer.share(pair.overall.unshifted),
            writer.share(pair.overall.marginal),
            writer.share(pair.overall.shifted),
            writer.nats(pair.overall.kl, exact=pair.exact),
            writer.share(pair.kl_on_shifted),
        ]
        for pair in study.pairs
    ]
    lines += writer.table(head, rows, width, [0, 5, 3, 4, 0, 1, 2], least=LABEL)
    lines += [Text(), writer.heading("Shifted, and its interval", "", width), *_draw_shares(study, writer, width)]
    lines += [
        Text(),
        writer.heading(
            "Responses", "the emitted token is the author's own first choice; lengths of those that end by EOS", width
        ),
    ]
    head = ["author", "responses", "own first choice", "cut by the limit", "tokens", "words"]
    rows = [_write_author(author, writer) for author in study.authors]
    lines += writer.table(head, rows, width, [0, 2, 1, 0, 3, 4], least=LABEL)
    lines += [Text(), writer.heading("Stopping, apart", "what the scorer says of EOS where the author ends", width)]
    head = ["author and scorer", "ends", "scorer's first choice", "median rank", "its probability"]
    rows = [
        [
            Text(name_pair(pair), style=strong),
            Text(f"{pair.stopping.stops:,}"),
            writer.share(pair.stopping.rank_first),
            Text("n/a" if pair.stopping.rank_median is None else f"{pair.stopping.rank_median:,.0f}"),
            writer.share(pair.stopping.probability),
        ]
        for pair in study.pairs
    ]
    lines += writer.table(head, rows, width, [0, 1, 0, 2, 3], least=LABEL)
    return lines


def _write_author(author: AuthorStudy, writer: Writer) -> list[Text]:
    label = author.name if author.label in (author.name, "base", "tuned") else f"{author.name}: {author.label}"
    return [
        Text(sanitise(label, keep_newlines=False), style=writer.palette.strong),
        Text(f"{author.responses:,}"),
        writer.share(author.argmax),
        writer.share(author.cut),
        writer.number(author.tokens),
        writer.number(author.words),
    ]


def _draw_shares(study: Study, writer: Writer, width: int) -> list[Text]:
    estimates = [pair.overall.shifted for pair in study.pairs]
    return draw_estimates([name_pair(pair) for pair in study.pairs], estimates, writer, width)


def find_top(estimates: Sequence[Estimate]) -> float:
    """Return the largest value or end of an interval; 0 without any."""
    ends = [each.high if each.high is not None else each.value for each in estimates]
    return max((end for end in ends if end is not None), default=0.0)


def draw_estimates(labels: Sequence[str], estimates: Sequence[Estimate], writer: Writer, width: int) -> list[Text]:
    """Return a line an estimate on one scale from 0, with the scale below; estimates are fractions."""
    top = find_top(estimates)
    label = max(8, min(LABEL, max(map(len, labels), default=0), width // 3))
    room = width - label - 1
    if top <= 0 or room < 10:
        return []
    lines = [
        writer.fit(Text(name, style=writer.palette.strong), label)
        .append(" ")
        .append_text(writer.whisker(each, room, 0.0, top))
        for name, each in zip(labels, estimates, strict=True)
    ]
    end = f"{100 * top:.1f} %"
    return [*lines, Text(" " * (label + 1) + "0" + end.rjust(room - 1), style=writer.palette.faint)]


def write_models(study: Study, writer: Writer, width: int) -> list[Text]:
    """Return each two models' differences, on their own paths and on shared ones."""
    if not study.comparisons:
        return [Text("One tuned model stands alone: nothing to compare.", style=writer.palette.faint)]
    lines: list[Text] = [*write_remarks(study, writer, width), Text()]
    for path, title, remark in (
        ("own", "Own paths", "each model's own response, as base scores it; paired by prompt"),
        ("shared", "Shared paths", "one response, read by both: changed weights, one path"),
    ):
        found = [each for each in study.comparisons if each.path == path]
        if not found:
            continue
        names = [
            f"{each.first} minus {each.second}" + (f", on {each.author}'s text" if each.author else "")
            for each in found
        ]
        names = [sanitise(name, keep_newlines=False) for name in names]
        head = ["first minus second", "prompts", "unshifted", "marginal", "shifted", "mean KL, nats"]
        rows = [
            [
                Text(name, style=writer.palette.strong),
                Text(f"{each.prompts:,}"),
                writer.share(each.unshifted, signed=True),
                writer.share(each.marginal, signed=True),
                writer.share(each.shifted, signed=True),
                writer.nats(each.kl, signed=True),
            ]
            for name, each in zip(names, found, strict=True)
        ]
        lines += [
            writer.heading(title, remark, width),
            *writer.table(head, rows, width, [0, 3, 1, 2, 0, 0], least=LABEL),
        ]
        lines += [Text(), *_draw_differences(names, [each.shifted for each in found], writer, width), Text()]
    return lines


def _draw_differences(names: Sequence[str], estimates: Sequence[Estimate], writer: Writer, width: int) -> list[Text]:
    """Return differences of the shifted share around zero, and whether their sign is sure."""
    reach = max(
        (abs(end) for each in estimates for end in (each.low, each.high, each.value) if end is not None), default=0
    )
    label, said = min(max(map(len, names)), max(8, width // 3)), 17
    room = width - label - said - 2
    if reach <= 0 or room < 10:
        return []
    lines = []
    for name, each in zip(names, estimates, strict=True):
        sure = each.low is not None and each.high is not None and (each.low > 0 or each.high < 0)
        word = "not told apart" if not sure else "more shifted" if (each.value or 0) > 0 else "less shifted"
        line = writer.fit(Text(name, style=writer.palette.strong), label).append(" ")
        line.append_text(writer.whisker(each, room, -reach, reach))
        lines.append(line.append(f" {word}", writer.palette.plain if sure else writer.palette.faint))
    middle = room // 2
    scale = f"{-100 * reach:+.1f} pp".ljust(middle) + "0" + f"{100 * reach:+.1f} pp".rjust(room - middle - 1)
    return [*lines, Text(" " * (label + 1) + scale, style=writer.palette.faint)]


def choose_pairs(study: Study, chosen: int, width: int) -> list[PairStudy]:
    """Return the pairs that a page shows: the chosen one, and where there is room the next of its path."""
    if not study.pairs:
        return []
    chosen %= len(study.pairs)
    first = study.pairs[chosen]
    same = [pair for pair in study.pairs if pair.path == first.path]
    if width < WIDE or len(same) < 2:
        return [first]
    place = min(same.index(first), len(same) - 2)
    return same[place : place + 2]


def write_side_by_side(
    study: Study,
    chosen: int,
    writer: Writer,
    width: int,
    write: Callable[[PairStudy, Sequence[PairStudy], Writer, int], list[Text]],
) -> list[Text]:
    """Return a part of the page for each pair shown, beside each other."""
    pairs = choose_pairs(study, chosen, width)
    if not pairs:
        return [Text("No response has figures yet.", style=writer.palette.faint)]
    each = (width - 4 * (len(pairs) - 1)) // len(pairs)
    blocks = [
        [
            writer.heading(name_pair(pair), say_count(pair.overall.positions, "token"), each),
            *write(pair, pairs, writer, each),
        ]
        for pair in pairs
    ]
    return writer.beside(blocks, [each] * len(blocks)) if len(blocks) > 1 else blocks[0]


def _write_buckets(
    title: str,
    find: Callable[[PairStudy], Sequence[Bucket]],
    pair: PairStudy,
    pairs: Sequence[PairStudy],
    writer: Writer,
    width: int,
) -> tuple[list[Text], list[Text]]:
    """Return two tables of buckets, each with intervals drawn: of shifted shares, and of divergences."""

    def write(
        name: str, choose: Callable[[Bucket], Estimate], say: Callable[[Estimate], Text], scale: float
    ) -> list[Text]:
        buckets = [bucket for bucket in find(pair) if bucket.shares.positions or bucket.start is None]
        rows = [
            [
                Text(sanitise(bucket.label, keep_newlines=False), style=writer.palette.strong),
                Text(f"{bucket.shares.positions:,}" if bucket.shares.positions else ""),
                say(choose(bucket)),
            ]
            for bucket in buckets
        ]
        top = find_top([choose(bucket) for other in pairs for bucket in find(other)])
        least = max(map(len, [title, *(bucket.label for bucket in buckets)]))
        table = writer.table([title, "tokens", name], rows, width - _PLOT, [0, 1, 0], least=least)
        column = max(line.cell_len for line in table)
        room = width - column - 2
        if room < _PLOT - 4 or top <= 0:
            return table
        end = f"{100 * top:.0f} %" if scale == 100 else say_nats(top)
        drawn = [Text("0" + end.rjust(room - 1), style=writer.palette.faint)]
        drawn += [writer.whisker(choose(bucket), room, 0.0, top) for bucket in buckets]
        return writer.beside([table, drawn], [column, room], gap=2)

    shifted = write("shifted", lambda bucket: bucket.shares.shifted, writer.share, 100)
    if pair.aligned:
        return shifted, []
    exact = pair.exact
    return shifted, write("mean KL", lambda bucket: bucket.shares.kl, lambda each: writer.nats(each, exact=exact), 1)


def write_positions(study: Study, chosen: int, writer: Writer, width: int) -> list[Text]:
    """Return the classes by absolute and by relative position."""

    def write(pair: PairStudy, pairs: Sequence[PairStudy], writer: Writer, width: int) -> list[Text]:
        absolute = _write_buckets("position", lambda each: each.by_position, pair, pairs, writer, width)
        relative = _write_buckets("of its length", lambda each: each.by_relative, pair, pairs, writer, width)
        return [line for part in zip(absolute, relative, strict=True) for table in part for line in (*table, Text())]

    return write_side_by_side(study, chosen, writer, width, write)


def write_categories(study: Study, chosen: int, writer: Writer, width: int) -> list[Text]:
    """Return the classes by kind of word."""

    def write(pair: PairStudy, pairs: Sequence[PairStudy], writer: Writer, width: int) -> list[Text]:
        tables = _write_buckets("kind of word", lambda each: each.by_category, pair, pairs, writer, width)
        return [line for table in tables for line in (*table, Text())]

    return write_side_by_side(study, chosen, writer, width, write)


def write_curves(study: Study, chosen: int, writer: Writer, width: int, height: int) -> list[Text]:
    """Return the curves by position: means as bars, medians below; as high as ``height`` lines let."""

    def write(pair: PairStudy, _: Sequence[PairStudy], writer: Writer, width: int) -> list[Text]:
        curve = pair.curve
        if not curve.counts:
            return [Text("No position has a rank.", style=writer.palette.faint)]
        each = max(2, min(7, (height - 13) // 6))
        plots: tuple[tuple[str, list[float | None], list[float | None], Callable[[float], str]], ...] = (
            ("KL, nats", curve.kl_mean, curve.kl_median, say_nats),
            ("scorer's rank", curve.rank_mean, curve.rank_median, lambda value: f"{value:,.0f}"),
            ("scorer's probability", curve.probability_mean, curve.probability_median, lambda value: f"{value:.2f}"),
        )
        lines = [
            Text(
                f"{curve.counts[0]:,} responses at 0, {curve.counts[-1]:,} at {len(curve.counts) - 1:,}",
                style=writer.palette.faint,
            )
        ]
        for name, mean, median, say in plots:
            for what, values in (("mean", mean), ("median", median)):
                if any(value is not None for value in values):
                    lines.append(Text(f"{name}, {what}", style=writer.palette.strong))
                    lines += writer.plot(values, width, each, say)
        return lines

    return write_side_by_side(study, chosen, writer, width, write)
