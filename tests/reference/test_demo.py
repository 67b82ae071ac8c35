"""itx against the float64 reference on the embedded pair."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

from itx.demo import PROMPTS, folder
from itx.records import Prompt
from tests.reference import oracle
from tests.reference.asking import compare
from tests.reference.test_noise_floor import gather

pytestmark = pytest.mark.weights

LINES = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
ASKED = [Prompt(id=line["id"], prompt=line["prompt"]) for line in LINES]
TUNED: dict[str, Path | str] = {"lora": folder("lora"), "full": folder("full")}


@pytest.fixture(scope="module")
def models() -> dict[str, PreTrainedModel]:
    base = folder("base")
    return {"base": oracle.load(base), "lora": oracle.load(base, folder("lora")), "full": oracle.load(folder("full"))}


def test_every_figure_of_every_prompt_agrees(models: dict[str, PreTrainedModel]) -> None:
    _, traces = compare(folder("base"), TUNED, ASKED, length=96)
    compared = sum(oracle.check_trace(trace, models) for trace in traces)
    # Three authors, two scorers each.
    assert compared > 24 * 3 * 2 * 10
    ranks = gather(traces, "rank")
    assert max(ranks) > 100, "nothing is shifted: is it the pair?"


@pytest.mark.parametrize("chunk", [1, 2, 7, 16, 31, 32, 48, 64])
def test_chunks_of_any_size_give_the_same_figures(models: dict[str, PreTrainedModel], chunk: int) -> None:
    _, traces = compare(folder("base"), TUNED, ASKED[::8], length=80, chunk=chunk)
    assert sum(oracle.check_trace(trace, models) for trace in traces) > 100


def test_the_adapter_on_shared_weights_equals_the_merged_checkpoint(
    models: dict[str, PreTrainedModel], tmp_path: Path
) -> None:
    merged = oracle.load(folder("base"), folder("lora")).to(torch.float32)
    merged.save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(folder("base")).save_pretrained(tmp_path / "merged")
    _, whole = compare(folder("base"), {"lora": tmp_path / "merged"}, ASKED[::6], length=64)
    _, shared = compare(folder("base"), {"lora": folder("lora")}, ASKED[::6], length=64)
    for one, other in zip(whole, shared, strict=True):
        assert [response.ids for response in one.responses] == [response.ids for response in other.responses]
        assert oracle.check_trace(one, models) == oracle.check_trace(other, models) > 0


def test_in_float32_the_base_agrees_with_itself() -> None:
    _, traces = compare(folder("base"), {"same": folder("base")}, ASKED, length=64)
    assert set(gather(traces, "rank")) == {1}
    for field in ("kl_author_scorer", "kl_scorer_author", "js"):
        assert 0 <= min(gather(traces, field)) <= max(gather(traces, field)) < 1e-5


def test_in_bfloat16_the_floor_is_measured(record_property: pytest.RecordProperty) -> None:
    _, traces = compare(folder("base"), {"same": folder("base")}, ASKED, length=64, dtype="bfloat16")
    mean = float(np.mean(gather(traces, "kl_author_scorer")))
    unshifted = float((np.array(gather(traces, "rank")) == 1).mean())
    record_property("kl_mean", mean)
    record_property("unshifted", unshifted)
    sys.stdout.write(f"bf16 floor of demo:base: mean KL {mean:.2e}, unshifted {unshifted:.2%}\n")
    assert 0 < mean < 0.05
    assert unshifted > 0.9
