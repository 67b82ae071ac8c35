"""Rates, intervals and lifts against plain recounts; the cross-table against one made position by position."""

from __future__ import annotations

import math
import random
from collections import Counter

import msgspec
import numpy as np
import pytest
from scipy import stats

from itx.borrow.category import categories
from itx.borrow.crossing import SHIFTS, count_cells, cross
from itx.borrow.excess import Control, Count, Measured, bootstrap, find_difference, find_excess, measure
from itx.borrow.ranking import RowTally, largest, list_ranked
from itx.records import Borrowing, ControlCount, Example, Null, Span, Thresholds
from tests.support.traces import build_trace


def measured(own: tuple[int, int], **controls: tuple[float, float]) -> Measured:
    named: dict[Control, Count] = {}
    for name in ("base", "control", "random"):
        if name in controls:
            named[name] = Count(*controls[name])
    return Measured(own=Count(*own), distinct=own[1], raised=0, controls=named)


def prompts(seed: int, count: int) -> dict[str, Measured]:
    chance = random.Random(seed)
    found = {}
    for number in range(count):
        words, other = chance.randint(0, 40), chance.randint(1, 40)
        found[str(number)] = measured(
            (words, chance.randint(0, words)),
            base=(other, chance.randint(0, other) // 4),
            random=(words, words * chance.random() / 10),
        )
    return found


def test_excess_is_the_difference_of_pooled_rates() -> None:
    excess = find_excess({"a": measured((10, 6), base=(20, 1)), "b": measured((30, 4), base=(30, 4))}, "base")
    assert excess is not None
    assert (excess.prompts, excess.words, excess.borrowed) == (2, 50, 5)
    assert excess.rate == pytest.approx(25)
    assert excess.control_rate == pytest.approx(10)
    assert excess.excess == pytest.approx(15)
    # 10 % of 40 words.
    assert excess.expected == pytest.approx(4)
    assert excess.lift is None
    more = find_excess({"a": measured((20, 6), base=(20, 1)), "b": measured((30, 4), base=(30, 4))}, "base")
    assert more is not None
    assert more.expected == pytest.approx(5)
    assert more.lift == pytest.approx(2)


def test_nothing_over_nothing_is_not_a_figure() -> None:
    none = find_excess({"a": measured((0, 0), base=(0, 0))}, "base")
    assert none is not None
    assert (none.rate, none.control_rate, none.excess, none.low, none.lift) == (None, None, None, None, None)
    zero = find_excess({str(n): measured((200, 20), base=(200, 0)) for n in range(3)}, "base")
    assert zero is not None
    assert (zero.excess, zero.expected, zero.lift) == (10, 0, None)
    assert find_excess({"a": measured((5, 1))}, "control") is None
    assert find_excess({}, "base") is None


def _resample(rows: list[tuple[float, float, float, float]], seed: int) -> tuple[float, float]:
    """The same interval by drawing prompts one by one, with other random numbers."""
    source = random.Random(seed)
    values = []
    for _ in range(4000):
        drawn = [rows[source.randrange(len(rows))] for _ in rows]
        words, borrowed, others, found = (sum(column) for column in zip(*drawn, strict=True))
        if words and others:
            values.append(100 * borrowed / words - 100 * found / others)
    values.sort()
    # Widened for few prompts, as Hesterberg 2015 does.
    tail = stats.norm.cdf(-math.sqrt(len(rows) / (len(rows) - 1)) * stats.t.ppf(0.975, len(rows) - 1))
    return values[int(tail * len(values))], values[int((1 - tail) * len(values))]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_interval_agrees_with_drawing_prompts_one_by_one(seed: int) -> None:
    counts = prompts(seed, 40)
    excess = find_excess(counts, "base")
    assert excess is not None
    assert excess.low is not None
    assert excess.high is not None
    rows = [
        (each.own.words, each.own.borrowed, each.controls["base"].words, each.controls["base"].borrowed)
        for each in counts.values()
    ]
    low, high = _resample(rows, seed)
    width = high - low
    assert excess.low == pytest.approx(low, abs=0.08 * width)
    assert excess.high == pytest.approx(high, abs=0.08 * width)
    assert find_excess(counts, "base") == excess
    other = find_excess(counts, "base", seed=99)
    assert other is not None
    assert other.low != excess.low
    assert other.excess == excess.excess


@pytest.mark.parametrize("count", [10, 40])
def test_the_interval_covers_the_truth_as_often_as_it_says(count: int) -> None:
    source = np.random.default_rng(4)
    covered, trials = 0, 400
    for trial in range(trials):
        rows = [
            [(1, Count(30, int(source.binomial(30, 0.3)))), (-1, Count(30, int(source.binomial(30, 0.2))))]
            for _ in range(count)
        ]
        low, high = bootstrap(rows, trial)
        assert low is not None
        assert high is not None
        covered += low <= 10 <= high
    assert covered / trials == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / trials))


def test_one_prompt_has_no_interval_and_resamples_without_words_are_left_out() -> None:
    assert bootstrap([[(1, Count(5, 1))]], 0) == (None, None)
    assert bootstrap([[(1, Count(0, 0))], [(1, Count(0, 0))]], 0) == (None, None)
    assert bootstrap([[(1, Count(4, 1))], [(1, Count(0, 0))]], 0) == (25, 25)


def test_models_are_paired_by_prompt() -> None:
    first = {"a": measured((10, 5), random=(10, 1)), "b": measured((10, 3), random=(10, 1)), "x": measured((9, 9))}
    second = {"a": measured((20, 4), random=(20, 0)), "b": measured((20, 2), random=(20, 0)), "y": measured((9, 0))}
    plain = find_difference(("full", first), ("lora", second), None)
    assert plain is not None
    assert (plain.first, plain.second, plain.prompts) == ("full", "lora", 2)
    assert plain.difference == pytest.approx(40 - 15)
    over = find_difference(("full", first), ("lora", second), "random")
    assert over is not None
    assert over.difference == pytest.approx((40 - 10) - (15 - 0))
    assert plain.low is not None
    assert plain.high is not None
    # Two prompts: the extremes are one of them drawn twice.
    assert (plain.low, plain.high) == (pytest.approx(30 - 10), pytest.approx(50 - 20))
    assert find_difference(("full", first), ("lora", {"y": second["y"]}), None) is None
    assert find_difference(("full", first), ("lora", second), "control") is None


def test_pairing_takes_out_what_prompts_have_in_common() -> None:
    chance = random.Random(8)
    level = {str(n): chance.randint(2, 36) for n in range(30)}
    first = {name: measured((40, value + 2)) for name, value in level.items()}
    second = {name: measured((40, value)) for name, value in level.items()}
    found = find_difference(("a", first), ("b", second), None)
    assert found is not None
    assert (found.low, found.difference, found.high) == (pytest.approx(5), pytest.approx(5), pytest.approx(5))


def test_measuring_takes_the_counts_as_they_are() -> None:
    null = Null(base=ControlCount(words=7, borrowed=2), random=ControlCount(words=9, borrowed=0.5))
    found = measure(Borrowing(prompt_id="1", author="full", null=null, candidates=9, borrowed=4, distinct=3, raised=2))
    assert found == Measured(Count(9, 4), 3, 2, {"base": Count(7, 2), "random": Count(9, 0.5)})


def test_cells_agree_with_a_recount_position_by_position() -> None:
    trace = build_trace("1", "p", {"base": "It is.", "full": "The battle was fought near Waterloo in 1815, at dawn."})
    response = trace.response("full")
    assert response is not None
    score = response.scores["base"]
    positions = dict.fromkeys([1, 2, 5, 6, 8], 1)
    borrowing = Borrowing(prompt_id="1", author="full", positions=positions)
    thresholds = Thresholds(marginal=2)
    cells = count_cells(response, score, borrowing, trace.pieces, thresholds)
    assert sum(cells.values()) == response.length == len(response.ids) - 1
    named = categories(response, trace.pieces)
    for category in {None, *named}:
        table = cross(cells, category)
        for shift, low, high in (("unshifted", 1, 1), ("marginal", 2, 2), ("shifted", 3, 10**9)):
            inside = [
                position in positions
                for position in range(response.length)
                if low <= score.rank[position] <= high and category in {None, named[position]}
            ]
            row = getattr(table, shift)
            assert (row.borrowed, row.other) == (sum(inside), len(inside) - sum(inside))
    assert SHIFTS == ("shifted", "marginal", "unshifted")
    assert cross(Counter()).shifted.other == 0


def _span(number: int, rows: list[str], words: list[int], rise: float | None) -> Span:
    examples = [Example(row=row, text=f"passage of {row}") for row in rows]
    return Span(
        id=number, start=0, end=9, text=f"t{number}", rows=len(rows), examples=examples, borrowed=bool(words),
        words=words, rise=rise,
    )  # fmt: skip


def test_rows_are_ranked_by_the_words_taken_and_spans_by_their_rise() -> None:
    one = Borrowing(
        prompt_id="1",
        author="full",
        spans=[_span(1, ["r#1", "r#2"], [0, 1, 2], 2.0), _span(2, ["r#2"], [4], -1.0), _span(3, ["r#9"], [], 7.0)],
    )
    two = Borrowing(
        prompt_id="2", author="full", spans=[_span(1, ["r#3"], [0, 1, 2], 4.0), _span(2, ["r#4"], [5], None)]
    )
    tally = RowTally()
    tally.add(one)
    tally.add(two)
    shares = tally.first(3)
    assert [(share.row, share.words, share.spans, share.prompts) for share in shares] == [
        ("r#2", 4, 2, 1), ("r#1", 3, 1, 1), ("r#3", 3, 1, 1)
    ]  # fmt: skip
    assert shares[0].text == "passage of r#2"
    ranked = largest([*list_ranked(one), *list_ranked(two)], 3)
    assert [(span.prompt_id, span.id, span.rise, span.borrowed) for span in ranked] == [
        ("1", 3, 7.0, False), ("2", 1, 4.0, True), ("1", 1, 2.0, True)
    ]  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(ranked[0]))["row"] == "r#9"
