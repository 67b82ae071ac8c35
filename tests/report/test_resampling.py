"""Intervals: how often they hold a known answer, and the arithmetic below them against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from itx.borrow.student import probability, quantile
from itx.report.resampling import (
    DRAWS,
    Ratios,
    correct,
    draw,
    draw_difference,
    draw_weights,
    estimate,
    judge,
)

RUNS = 400
ERROR = 3 * math.sqrt(0.05 * 0.95 / RUNS)
"""Three standard errors of a coverage of 95 % over so many runs."""


def simulate(source: np.random.Generator, prompts: int, rate: float) -> Ratios:
    """Return counts of prompts whose lengths differ, and whose rates scatter about one that is known.

    A prompt's rate does not depend on its length, so that the ratio of sums has the mean rate.
    """
    lengths = source.integers(20, 200, prompts)
    own = source.beta(20 * rate, 20 * (1 - rate), prompts)
    return Ratios(source.binomial(lengths, own)[:, None].astype(float), lengths[:, None].astype(float))


@pytest.mark.parametrize(("prompts", "rate"), [(12, 0.3), (30, 0.15), (100, 0.15)])
def test_intervals_cover_at_the_stated_rate(prompts: int, rate: float) -> None:
    source = np.random.default_rng(1)
    held = 0
    for _ in range(RUNS):
        found = estimate(draw(simulate(source, prompts, rate)))[0]
        assert found.low is not None and found.high is not None
        held += found.low <= rate <= found.high
    assert held / RUNS == pytest.approx(0.95, abs=ERROR)


def test_intervals_of_differences_cover_and_pairing_narrows_them() -> None:
    source = np.random.default_rng(2)
    held = 0
    widths = [0.0, 0.0]
    for _ in range(RUNS):
        lengths = source.integers(20, 200, 40)[:, None].astype(float)
        # What is common to both tunings of a prompt is much of the scatter.
        common = source.normal(0, 0.08, (40, 1))
        rates = [np.clip(level + common + source.normal(0, 0.02, (40, 1)), 0, 1) for level in (0.4, 0.3)]
        first, second = (Ratios(rate * lengths, lengths) for rate in rates)
        found = estimate(draw_difference(first, second))[0]
        assert found.low is not None and found.high is not None
        held += found.low <= 0.1 <= found.high
        apart = [estimate(draw(each))[0] for each in (first, second)]
        widths[0] += found.high - found.low
        widths[1] += math.hypot(*((each.high or 0) - (each.low or 0) for each in apart))
    assert held / RUNS == pytest.approx(0.95, abs=ERROR)
    assert widths[0] < 0.6 * widths[1]


def test_a_p_value_is_uniform_where_the_margin_is_the_truth() -> None:
    source = np.random.default_rng(3)
    chances = [judge(draw(simulate(source, 40, 0.3)), 0, 0.3) for _ in range(RUNS)]
    for level in (0.05, 0.2, 0.5):
        share = float(np.mean([chance is not None and chance <= level for chance in chances]))
        assert share == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / RUNS))


def test_a_p_value_agrees_with_its_interval() -> None:
    source = np.random.default_rng(4)
    for _ in range(50):
        drawn = draw(simulate(source, 30, 0.3))
        found = estimate(drawn)[0]
        assert found.low is not None and found.high is not None
        for margin, inside in ((found.low - 0.004, False), (found.low + 0.004, True), (found.high + 0.004, False)):
            chance = judge(drawn, 0, margin)
            assert chance is not None
            assert (chance > 0.05) == inside


def test_resamples_are_the_same_at_every_call_and_have_every_prompt_alike() -> None:
    weights = np.vstack(list(draw_weights(7)))
    assert weights.shape == (DRAWS, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.1)
    assert (np.vstack(list(draw_weights(7))) == weights).all()
    many = [block.shape for block in draw_weights(5000)]
    assert len(many) > 1 and sum(shape[0] for shape in many) == DRAWS


def test_a_share_without_exceptions_has_an_interval() -> None:
    """One trial a prompt, seldom a success: without one, resamples know of none."""
    source = np.random.default_rng(6)
    held = none = 0
    for _ in range(RUNS):
        hits = source.binomial(1, 0.05, (30, 1)).astype(float)
        none += not hits.any()
        found = estimate(draw(Ratios(hits, np.ones((30, 1)))), [True])[0]
        assert found.low is not None and found.high is not None
        held += found.low <= 0.05 <= found.high
    assert none > 50
    assert held / RUNS > 0.95 - ERROR
    every = estimate(draw(Ratios(np.ones((30, 1)), np.ones((30, 1)))), [True])[0]
    assert (every.low, every.high) == (pytest.approx(0.025 ** (1 / 30)), 1.0)
    # A mean that is 0 is no share.
    mean = estimate(draw(Ratios(np.zeros((30, 1)), np.ones((30, 1)))), [False])[0]
    assert (mean.low, mean.high) == (0.0, 0.0)


def test_the_order_of_prompts_moves_nothing() -> None:
    source = np.random.default_rng(7)
    one, two = simulate(source, 40, 0.3), simulate(source, 40, 0.2)
    order = source.permutation(40)
    mixed = [Ratios(each.numerators[order], each.denominators[order]) for each in (one, two)]
    assert estimate(draw(one)) == estimate(draw(mixed[0]))
    assert estimate(draw_difference(one, two)) == estimate(draw_difference(*mixed))


def test_prompts_that_count_nothing_are_left_out() -> None:
    ratios = Ratios(np.array([[1.0], [0.0], [3.0], [0.0]]), np.array([[4.0], [0.0], [4.0], [0.0]]))
    found = estimate(draw(ratios))[0]
    assert (found.value, found.count, found.prompts) == (0.5, 8, 2)
    assert (found.low, found.high) == (0.25, 0.75)
    alone = estimate(draw(Ratios(ratios.numerators[:2], ratios.denominators[:2])))[0]
    assert (alone.value, alone.low, alone.high, alone.prompts) == (0.25, None, None, 1)
    nothing = estimate(draw(Ratios(np.zeros((3, 1)), np.zeros((3, 1)))))[0]
    assert (nothing.value, nothing.low, nothing.count, nothing.prompts) == (None, None, 0, 0)
    assert judge(draw(Ratios(np.zeros((3, 1)), np.zeros((3, 1)))), 0, 0.1) is None


@given(value=st.floats(-30, 30), freedom=st.integers(1, 400))
def test_students_distribution(value: float, freedom: int) -> None:
    assert probability(value, freedom) == pytest.approx(stats.t.cdf(value, freedom), abs=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 29, 999])
def test_its_quantiles(freedom: int) -> None:
    assert quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-6)


@given(chances=st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_holm(chances: list[float | None]) -> None:
    known = [chance for chance in chances if chance is not None]
    adjusted = correct(chances)
    assert [chance is None for chance in adjusted] == [chance is None for chance in chances]
    # Holm rejects, one after another from the smallest, while p ≤ level / how many are left.
    for level in (0.01, 0.05, 0.2):
        rejected = 0
        for chance in sorted(known):
            if chance * (len(known) - rejected) > level:
                break
            rejected += 1
        assert sum(chance is not None and chance <= level for chance in adjusted) == rejected
