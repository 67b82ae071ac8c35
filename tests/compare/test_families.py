"""Whole comparisons of GPT-2-style and Gemma 3 models (sliding window) against one float64 pass a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from itx.records import Prompt
from tests.models import architectures
from tests.reference import oracle
from tests.reference.asking import QUESTIONS, compare, give


def log_probs(model: PreTrainedModel, context: list[int], response: list[int]) -> NDArray[np.float64]:
    """Return the log-probs [len(response), vocabulary], in float64 throughout."""
    with torch.no_grad():
        logits = model(torch.tensor([context + response]), use_cache=False).logits[0, len(context) - 1 : -1]
    return torch.log_softmax(logits.double(), dim=-1).numpy()


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
@pytest.mark.parametrize("chunk", [None, 1, 7, 64])
def test_every_figure_agrees(family: str, chunk: int | None, tmp_path: Path) -> None:
    """Contexts and responses are longer than Gemma's window of 12 ids, chunks longer and shorter."""
    base = architectures.write(family, tmp_path / "base")
    full = architectures.move(AutoModelForCausalLM.from_pretrained(base), 0.1)
    full.save_pretrained(tmp_path / "full")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "full")
    models = {
        name: AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float64, attn_implementation="eager")
        for name in ("base", "full")
    }
    prompts: list[Prompt | str] = [QUESTIONS[0], QUESTIONS[3], give(ids=list(range(10, 70)))]
    _, traces = compare(base, {"full": tmp_path / "full"}, prompts, length=40, chunk=chunk)
    compared = 0
    for trace in traces:
        assert trace.error is None
        for response in trace.responses:
            rows = {name: log_probs(model, trace.contexts[name].ids, response.ids) for name, model in models.items()}
            if not response.given:
                oracle.check_greedy(response, rows[response.author])
            for name, score in response.scores.items():
                oracle.check_score(response, score, rows[response.author], rows[name])
                compared += len(response.ids)
    assert compared > 100
