"""Choosing tokens: greedy, and draws against the distribution's definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.compare.decoding import Chooser, check_decoding, cut
from itx.errors import UsageError, WeightsError
from itx.models.reduction import NumpyArithmetic
from itx.records import Decoding

HOST = NumpyArithmetic()


def allowed(logits: np.ndarray, decoding: Decoding) -> dict[int, float]:
    """The definition, word by word: temperature, the k best, the smallest set with the mass; equals by id."""
    weights = np.exp((logits - logits.max()) / decoding.temperature)
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    if decoding.top_k:
        order = order[: decoding.top_k]
    total = sum(weights[token] for token in order)
    kept: dict[int, float] = {}
    for token in order:
        if decoding.top_p < 1 and sum(kept.values()) / total >= decoding.top_p:
            break
        kept[token] = weights[token]
    mass = sum(kept.values())
    return {token: weight / mass for token, weight in kept.items()}


@given(
    logits=st.lists(st.integers(-40, 40), min_size=1, max_size=40),
    temperature=st.sampled_from([0.2, 0.7, 1.0, 2.0]),
    top_p=st.sampled_from([0.0503, 0.3003, 0.8707, 0.9991, 1.0]),
    top_k=st.integers(0, 45),
)
def test_the_cut_is_what_its_definition_says(logits: list[int], temperature: float, top_p: float, top_k: int) -> None:
    row = np.asarray(logits, dtype=np.float64) / 7
    decoding = Decoding(temperature=temperature, top_p=top_p, top_k=top_k)
    ids, weights = cut(row, decoding)
    expected = allowed(row, decoding)
    assert ids.tolist() == list(expected)
    assert np.allclose(weights, list(expected.values()))
    assert weights.sum() == pytest.approx(1)


def test_masked_logits_are_never_drawn() -> None:
    row = np.array([-np.inf, 1.0, -np.inf, 0.0])
    ids, weights = cut(row, Decoding(temperature=1.0))
    assert {int(token) for token, weight in zip(ids, weights, strict=True) if weight > 0} == {1, 3}


@pytest.mark.parametrize("row", [[0.0, np.nan, 1.0], [0.0, np.inf], [np.nan] * 3, [-np.inf] * 3])
@pytest.mark.parametrize("cuts", [{}, {"top_p": 0.9}, {"top_k": 2}])
def test_logits_that_are_not_numbers_are_refused(row: list[float], cuts: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="not numbers"):
        cut(np.array(row), Decoding(temperature=1.0, **cuts))


def test_greedy_takes_the_lowest_of_equals() -> None:
    rows = np.array([[0.0, 5.0, 5.0, 1.0]], dtype=np.float32)
    assert Chooser(Decoding(), "1", "tuned").choose(rows, HOST) == 1


def draw(decoding: Decoding, prompt: str, author: str, count: int = 40) -> list[int]:
    rows = np.linspace(0, 3, 50, dtype=np.float32)[None]
    chooser = Chooser(decoding, prompt, author)
    return [chooser.choose(rows, HOST) for _ in range(count)]


def test_draws_depend_on_seed_prompt_and_author_alone() -> None:
    decoding = Decoding(temperature=1.0, seed=7)
    first = draw(decoding, "a", "tuned")
    assert first == draw(decoding, "a", "tuned")
    others = [
        draw(decoding, "b", "tuned"),
        draw(decoding, "a", "base"),
        draw(Decoding(temperature=1.0, seed=8), "a", "tuned"),
    ]
    assert all(first != other for other in others)


def test_draws_follow_the_probabilities() -> None:
    """A chi-square of 20,000 draws over five ids stays below its 99.99 % bound for four degrees of freedom (23.5)."""
    logits = np.log(np.array([0.4, 0.3, 0.15, 0.1, 0.05]))
    rows = logits[None].astype(np.float32)
    chooser = Chooser(Decoding(temperature=1.0), "x", "tuned")
    counts = np.bincount([chooser.choose(rows, HOST) for _ in range(20_000)], minlength=5)
    expected = np.exp(logits) * 20_000
    assert ((counts - expected) ** 2 / expected).sum() < 23.5


@pytest.mark.parametrize(
    "wrong",
    [
        Decoding(max_new_tokens=0),
        Decoding(temperature=-1.0),
        Decoding(temperature=float("inf")),
        Decoding(temperature=float("nan")),
        Decoding(top_p=0.0),
        Decoding(top_p=1.5),
        Decoding(top_k=-1),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: Decoding) -> None:
    with pytest.raises(UsageError):
        check_decoding(wrong)
    check_decoding(Decoding())
