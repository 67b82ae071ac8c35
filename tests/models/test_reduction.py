"""Both reductions against float64 textbook formulae, on rows that are hard for float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from itx.errors import WeightsError
from itx.models import reduction as host
from itx.models.contract import FLOOR, Reduction
from itx.models.torch import reduction as device

Rows = NDArray[np.float32]
Reduce = Callable[[Rows, Sequence[Rows], Sequence[int], int], Reduction]


def with_torch(author: Rows, scorers: Sequence[Rows], ids: Sequence[int], width: int) -> Reduction:
    return device.reduce_rows(torch.from_numpy(author), [torch.from_numpy(rows) for rows in scorers], ids, width)


REDUCTIONS = [pytest.param(with_torch, id="torch"), pytest.param(host.reduce_rows, id="numpy")]


@dataclass
class Expected:
    logp: float
    entropy: float
    forth: float
    back: float
    js: float
    rank: int
    ties: int


def log_softmax(row: Rows) -> NDArray[np.float64]:
    values = row.astype(np.float64)
    values = values - values.max()
    return np.maximum(values - np.log(np.exp(values).sum()), -FLOOR)


def expect(author: Rows, scorer: Rows, token: int) -> Expected:
    """What one position must say, by the definitions, in float64 (the floor is part of the definition)."""
    log_p, log_q = log_softmax(author), log_softmax(scorer)
    p, q = np.exp(log_p), np.exp(log_q)
    middle = np.log(np.maximum((p + q) / 2, 1e-300))
    return Expected(
        logp=float(log_q[token]),
        entropy=float(-(q * log_q).sum()),
        forth=float((p * (log_p - log_q)).sum()),
        back=float((q * (log_q - log_p)).sum()),
        js=float(((p * (log_p - middle)).sum() + (q * (log_q - middle)).sum()) / 2),
        rank=1 + sum(1 for value in scorer if value > scorer[token]),
        ties=sum(1 for value in scorer if value == scorer[token]) - 1,
    )


def near(found: float, expected: float) -> bool:
    return abs(found - expected) <= max(1e-6, 1e-4 * abs(expected))


def check(reduce: Reduce, author: Rows, scorer: Rows, ids: Sequence[int]) -> None:
    result = reduce(author, [scorer], ids, author.shape[1])
    (score,) = result.scores
    for place, token in enumerate(ids):
        want = expect(author[place], scorer[place], token)
        assert near(score.logp[place], want.logp)
        assert near(score.entropy[place], want.entropy), (score.entropy[place], want.entropy)
        for found, expected in (
            (score.kl_author_scorer[place], want.forth),
            (score.kl_scorer_author[place], want.back),
            (score.js[place], want.js),
        ):
            assert found >= 0
            assert near(found, expected), (found, expected)
        assert (score.rank[place], score.ties[place]) == (want.rank, want.ties)
        own = expect(scorer[place], author[place], token)
        assert near(result.own.logp[place], own.logp)
        check_top(result.own.top[place], author[place])
        check_top(score.top[place], scorer[place])


def check_top(top: list[tuple[int, float]], row: Rows) -> None:
    logs = log_softmax(row)
    assert len(top) == len({token for token, _ in top}) == min(10, len(row))
    assert np.allclose([value for _, value in top], np.sort(logs)[::-1][:10], rtol=1e-5, atol=1e-5)
    assert np.allclose([value for _, value in top], logs[[token for token, _ in top]], rtol=1e-5, atol=1e-5)
    assert top == sorted(top, key=lambda pair: (-pair[1], pair[0]))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Rows, Rows, list[int]]:
    """Blocks of rows of many characters: flat, peaked, equal, nearly equal, tied, masked, far apart."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    width = draw(st.sampled_from([1, 2, 11, 63, 64, 300, 1343, 1344, 1407, 5000]))
    count = draw(st.integers(1, 3))
    scale = draw(st.sampled_from([0.0, 0.1, 3.0, 30.0, 300.0]))
    author = (random.standard_normal((count, width)) * scale).astype(np.float32)
    scorer = (random.standard_normal((count, width)) * draw(st.sampled_from([0.0, 1.0, 50.0]))).astype(np.float32)
    match draw(st.sampled_from(["apart", "equal", "near", "shifted", "tied", "masked", "spiked"])):
        case "equal":
            scorer = author.copy()
        case "near":
            scorer = author + (random.standard_normal((count, width)) * 4e-5).astype(np.float32)
        case "shifted":
            scorer = author + np.float32(7.5)
        case "tied":
            author, scorer = np.round(author), np.round(scorer / 4) * 4
        case "masked":
            scorer[:, random.random(width) < 0.3] = -np.inf
            author[:, random.random(width) < 0.1] = -np.inf
            author[:, 0] = scorer[:, 0] = 1.0
        case "spiked":
            author[:, random.integers(width)] += 200
            scorer[:, random.integers(width)] += 200
    place = draw(st.sampled_from([None, 0, 1, 9, 40, 400]))
    if place is None:
        ids = [int(token) for token in random.integers(width, size=count)]
    else:
        # Emitted tokens are among a scorer's best, nearly always.
        ids = [int(token) for token in np.argsort(-scorer, axis=1)[:, min(place, width - 1)]]
    return author, scorer, ids


@pytest.mark.parametrize("reduce", REDUCTIONS)
@settings(max_examples=150, deadline=None)
@given(pair=pairs())
def test_figures_agree_with_float64(reduce: Reduce, pair: tuple[Rows, Rows, list[int]]) -> None:
    check(reduce, *pair)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_a_real_vocabulary_in_several_blocks(reduce: Reduce) -> None:
    random = np.random.default_rng(5)
    author = (random.standard_normal((2, 262_144)) * 4).astype(np.float32)
    scorer = author + random.standard_normal((2, 262_144)).astype(np.float32)
    check(reduce, author, scorer, [int(author[0].argmax()), 262_143])


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_nearly_equal_rows_keep_their_tiny_divergence(reduce: Reduce) -> None:
    """KL of about 1e-9 comes out as about that, and neither as 0 nor as the rounding of a log-sum-exp (1e-6)."""
    random = np.random.default_rng(1)
    author = (random.standard_normal((1, 50_000)) * 2).astype(np.float32)
    scorer = author + (random.standard_normal((1, 50_000)) * 4e-5).astype(np.float32)
    (score,) = reduce(author, [scorer], [0], 50_000).scores
    want = expect(author[0], scorer[0], 0)
    assert 1e-10 < want.forth < 1e-8
    assert abs(score.kl_author_scorer[0] - want.forth) < 5e-8
    assert abs(score.js[0] - want.js) < 5e-8


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_equal_rows_have_no_divergence_at_all(reduce: Reduce) -> None:
    row = (np.random.default_rng(2).standard_normal((1, 4096)) * 5).astype(np.float32)
    (score,) = reduce(row, [row.copy()], [7], 4096).scores
    assert score.kl_author_scorer == score.kl_scorer_author == score.js == [0.0]


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_one_hot_against_another_is_far_but_finite(reduce: Reduce) -> None:
    author, scorer = (np.full((1, 128), -np.inf, dtype=np.float32) for _ in range(2))
    author[0, 3], scorer[0, 5] = 2.0, 1.0
    (score,) = reduce(author, [scorer], [3], 128).scores
    assert score.kl_author_scorer == [FLOOR]
    assert score.logp == [-FLOOR]
    assert score.js[0] == pytest.approx(np.log(2), rel=1e-6)
    assert (score.rank, score.ties) == ([2], [126])


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_several_scorers_equal_one_at_a_time(reduce: Reduce) -> None:
    random = np.random.default_rng(3)
    author, first, second = ((random.standard_normal((5, 900)) * 3).astype(np.float32) for _ in range(3))
    ids = [0, 899, 5, 5, 17]
    both = reduce(author, [first, second], ids, 900)
    assert both.scores == reduce(author, [first], ids, 900).scores + reduce(author, [second], ids, 900).scores


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_padding_is_left_out(reduce: Reduce) -> None:
    """Columns beyond the common ids change nothing, on either side."""
    random = np.random.default_rng(4)
    author, scorer = ((random.standard_normal((3, 700)) * 3).astype(np.float32) for _ in range(2))
    padded = np.concatenate([author, np.full((3, 68), 50.0, dtype=np.float32)], axis=1)
    assert reduce(padded, [scorer], [1, 2, 3], 700) == reduce(author, [scorer], [1, 2, 3], 700)
    assert reduce(scorer, [padded], [1, 2, 3], 700) == reduce(scorer, [author], [1, 2, 3], 700)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_an_added_token_that_the_scorer_lacks(reduce: Reduce) -> None:
    author = np.zeros((1, 100), dtype=np.float32)
    scorer = np.zeros((1, 80), dtype=np.float32)
    result = reduce(author, [scorer], [90], 80)
    assert result.own.logp == [pytest.approx(-np.log(100))]
    assert (result.scores[0].logp, result.scores[0].rank, result.scores[0].ties) == ([-FLOOR], [81], [0])
    assert result.scores[0].kl_author_scorer == [pytest.approx(0, abs=1e-7)]


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_logits_that_are_not_numbers_are_refused(reduce: Reduce, bad: float, side: int) -> None:
    rows = [np.zeros((2, 200), dtype=np.float32) for _ in range(2)]
    rows[side][1, 150] = bad
    with pytest.raises(WeightsError, match="not numbers"):
        reduce(rows[0], [rows[1]], [0, 0], 200)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rows_are_computed_in_float32(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    author, scorer = ((torch.randn(3, 5000, generator=generator) * 4).to(dtype) for _ in range(2))
    found = device.reduce_rows(author, [scorer], [1, 2, 3], 5000)
    assert found == device.reduce_rows(author.float(), [scorer.float()], [1, 2, 3], 5000)
    check(with_torch, author.float().numpy(), scorer.float().numpy(), [1, 2, 3])


def test_how_rows_are_grouped_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    author, scorer = (torch.randn(9, 2000, generator=generator) * 4 for _ in range(2))
    ids = list(range(9))
    whole = device.reduce_rows(author, [scorer], ids, 2000)
    for elements in (700, 2000, 4500, 1 << 24):
        monkeypatch.setattr(device, "_HOST_ELEMENTS", elements)
        found = device.reduce_rows(author, [scorer], ids, 2000)
        assert found.scores[0].rank == whole.scores[0].rank
        assert [[token for token, _ in top] for top in found.own.top] == [
            [token for token, _ in top] for top in whole.own.top
        ]
        for name in ("kl_author_scorer", "kl_scorer_author", "js", "entropy", "logp"):
            assert np.allclose(getattr(found.scores[0], name), getattr(whole.scores[0], name), rtol=1e-5, atol=1e-6)
