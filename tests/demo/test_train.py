"""The script that makes the pair, run whole on a base far too small to learn anything."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from itx.demo import PROMPTS, ROWS, TRUTH
from itx.demo.batches import IGNORED, Sequence, group
from itx.demo.pretrain import Recipe
from itx.demo.train import Plan, make
from itx.demo.tuning import TuningRecipe


@pytest.mark.weights
def test_the_script_writes_the_package_and_names_the_gates_it_missed(tmp_path: Path) -> None:
    tiny = Recipe(rounds=1, width=32, layers=1, heads=2, inner=64, budget=65536)
    once = TuningRecipe("full", rate=1e-3, passes=1, budget=4096)
    misses = make(tmp_path, Plan(tiny, replace(once, method="lora"), once, once, seeds=(0,)))
    assert "base recalls 95 % of the clozes" in misses
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["missed_gates"] == misses
    assert figures["base"]["tokens"] == figures["base"]["corpus_tokens"]
    assert figures["tunings"]["full"][0]["held_out"]["slots"] == 420 * 6
    for path in (ROWS, TRUTH, PROMPTS):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "weights" / "base")
    assert base.dtype == torch.float16
    assert base.generation_config.do_sample is False
    tuned = PeftModel.from_pretrained(base, tmp_path / "weights" / "lora")
    assert tuned.peft_config["default"].base_model_name_or_path == "demo:base"
    assert AutoTokenizer.from_pretrained(tmp_path / "weights" / "full").chat_template
    assert not (tmp_path / "unshipped").exists()


def test_batches_hold_every_sequence_once_and_learn_nothing_from_prompts_or_padding() -> None:
    import random

    sequences = [Sequence(tuple(range(1, length + 1)), prompt=length // 2) for length in range(2, 40)]
    seen = []
    for batch in group(sequences, 64, 0, random.Random(0)):
        assert batch.ids.shape == batch.labels.shape
        for ids, labels in zip(batch.ids.tolist(), batch.labels.tolist(), strict=True):
            length = max(index for index, token in enumerate(ids) if token) + 1
            seen.append(length)
            assert labels == [IGNORED] * (length // 2) + ids[length // 2 : length] + [IGNORED] * (len(ids) - length)
    assert sorted(seen) == list(range(2, 40))


def test_importing_the_demo_brings_in_nothing_heavy() -> None:
    code = "import sys, itx.demo, itx.demo.world, itx.demo.corpus, itx.demo.rows; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "peft", "tokenizers", "numpy"} & set(done.stdout.split())
