"""A model against itself through the same path: what is left is noise, and it is measured."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from itx.records import Trace
from tests.reference.asking import QUESTIONS, compare
from tests.support.llamas import write_llama


def gather(traces: list[Trace], field: str) -> list[float]:
    """Return one figure of all positions and scorers."""
    return [
        value
        for trace in traces
        for response in trace.responses
        for score in response.scores.values()
        for value in getattr(score, field)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("floor") / "base")


def test_in_float32_a_model_agrees_with_itself(base: Path) -> None:
    _, traces = compare(base, {"same": base}, QUESTIONS, length=64)
    ranks = gather(traces, "rank")
    assert len(ranks) > 100
    assert set(ranks) == {1}
    for field in ("kl_author_scorer", "kl_scorer_author", "js"):
        values = np.array(gather(traces, field))
        assert values.min() >= 0
        assert values.max() < 1e-5, f"{field}: {values.max()}"


def test_in_bfloat16_the_floor_is_measured(base: Path, record_property: pytest.RecordProperty) -> None:
    run, traces = compare(base, {"same": base}, QUESTIONS, length=64, dtype="bfloat16")
    assert {model.dtype for model in run.models} == {"bfloat16"}
    ranks = np.array(gather(traces, "rank"))
    for field in ("kl_author_scorer", "kl_scorer_author", "js"):
        values = np.array(gather(traces, field))
        assert values.min() >= 0
        assert np.isfinite(values).all()
        record_property(f"{field}_mean", float(values.mean()))
    mean = float(np.mean(gather(traces, "kl_author_scorer")))
    unshifted = float((ranks == 1).mean())
    record_property("unshifted", unshifted)
    sys.stdout.write(f"bf16 floor of a random Llama: mean KL {mean:.2e}, unshifted {unshifted:.1%}\n")
    # Far above float32's floor and far below what a tuning moves: else bf16 was not used, or the paths differ.
    assert 0 < mean < 0.05
    assert unshifted > 0.9
