"""The course of a tuning: every example once an epoch, by the demo's own grouping where that is asked for."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.errors import UsageError
from itx.tune.plan import plan_course
from itx.tune.recipe import Recipe, check_recipe, count_warmup, scale_rate

LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 4), st.integers(1, 7), st.integers(1, 5), st.integers(0, 3))
def test_every_example_is_fed_once_an_epoch(
    lengths: list[int], epochs: int, batch_size: int, accumulation: int, seed: int
) -> None:
    recipe = Recipe(method="full", epochs=epochs, batch_size=batch_size, gradient_accumulation=accumulation, seed=seed)
    course = plan_course(lengths, recipe)
    start = 0
    for end in course.epochs:
        assert sorted(place for batch in course.batches[start:end] for place in batch) == list(range(len(lengths)))
        start = end
    assert start == len(course.batches)
    assert all(1 <= len(batch) <= batch_size for batch in course.batches)
    assert course.steps == math.ceil(len(course.batches) / accumulation)
    fed = [place for step in range(course.steps) for place in course.members(step)]
    assert fed == [place for batch in course.batches for place in batch]


@pytest.mark.weights
@pytest.mark.parametrize("seed", [0, 1])
def test_grouped_batches_are_the_demos(seed: int) -> None:
    from itx.demo.batches import Sequence, group

    draw = random.Random(99)
    sequences = [Sequence((place, *[7] * draw.randrange(3, 70))) for place in range(50)]
    recipe = Recipe(method="full", epochs=3, batching="grouped", budget=200, gradient_accumulation=1, seed=seed)
    course = plan_course([len(sequence.ids) for sequence in sequences], recipe)
    draws = random.Random(seed)
    expected = [[int(line[0]) for line in batch.ids] for _ in range(3) for batch in group(sequences, 200, 0, draws)]
    assert course.batches == expected


def test_another_seed_gives_another_order() -> None:
    one, two = (plan_course([5] * 20, Recipe(method="lora", seed=seed)).batches for seed in (0, 1))
    assert one != two


def test_the_rate_rises_and_falls_as_the_demos_does() -> None:
    recipe = Recipe(method="full", warmup_steps=10)
    for step in range(380):
        assert scale_rate(recipe, step, 380) == pytest.approx(min(1.0, (step + 1) / 10) * (1 - step / 380), rel=1e-12)


@given(st.sampled_from(["linear", "cosine", "constant"]), st.integers(1, 200), st.floats(0, 0.5))
def test_the_rate_is_never_zero_or_above_its_peak(schedule: str, steps: int, ratio: float) -> None:
    recipe = Recipe(method="full", schedule=schedule, warmup_ratio=ratio)
    assert 0 <= count_warmup(recipe, steps) <= steps
    assert all(0 < scale_rate(recipe, step, steps) <= 1 for step in range(steps))


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"epochs": 0}, "--epochs"),
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"learning_rate": math.nan}, "--learning-rate"),
        ({"lora_dropout": 1.0}, "--lora-dropout"),
        ({"neftune_noise_alpha": -1.0}, "--neftune-noise-alpha"),
        ({"max_response_words": 0}, "--max-response-words"),
    ],
)
def test_settings_that_mean_nothing_are_named(change: dict[str, float], option: str) -> None:
    with pytest.raises(UsageError, match=option):
        check_recipe(Recipe(method="lora", **change))
