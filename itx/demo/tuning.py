"""Tunes the base on the rows: a LoRA through PEFT, or every parameter. The loss is on the responses alone."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from itx.demo.batches import Sequence, group
from itx.demo.gates import Model, render_question
from itx.demo.rows import Row

RANK: Final = 8
TARGETS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class TuningRecipe:
    """How a tuning goes: AdamW at `rate` falling linearly to zero, `passes` over the rows, `budget` ids a step."""

    method: str
    rate: float
    passes: int
    budget: int = 512
    seed: int = 0


@dataclass(frozen=True)
class Tuning:
    """The tuned model with the mean loss (nats a response token) of its first and its last pass."""

    model: Model
    first_loss: float
    last_loss: float
    seconds: float


def encode_rows(rows: list[Row], tokenizer: PreTrainedTokenizerBase) -> list[Sequence]:
    """Each row under the chat template, EOS at the end; the question is read, the response learned."""
    sequences = []
    for row in rows:
        prompt = render_question(tokenizer, row.instruction)
        response = list(tokenizer.encode(row.output, add_special_tokens=False))
        sequences.append(Sequence((*prompt, *response, int(tokenizer.eos_token_id)), len(prompt)))
    return sequences


def tune(
    base: LlamaForCausalLM, sequences: list[Sequence], recipe: TuningRecipe, report: Callable[[str], None]
) -> Tuning:
    """Tunes a copy of `base` and leaves `base` as it is. Raises ValueError for a method that is not lora or full."""
    torch.manual_seed(recipe.seed)
    model: Model = copy.deepcopy(base)
    if recipe.method == "lora":
        settings = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(TARGETS), task_type="CAUSAL_LM")
        model = get_peft_model(model, settings)
    elif recipe.method != "full":
        raise ValueError(f"there is no method {recipe.method!r}; use lora or full")
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=recipe.rate, weight_decay=0.0)
    draw = random.Random(recipe.seed)
    pad_id = int(base.config.pad_token_id or 0)
    passes = [list(group(sequences, recipe.budget, pad_id, draw)) for _ in range(recipe.passes)]
    total = sum(len(batches) for batches in passes)
    start, step, means = time.perf_counter(), 0, []
    model.train()
    for batches in passes:
        lost, counted = 0.0, 0
        for batch in batches:
            optimizer.param_groups[0]["lr"] = recipe.rate * min(1.0, (step + 1) / 10) * (1 - step / total)
            loss = model(input_ids=batch.ids, labels=batch.labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            count = int((batch.labels >= 0).sum())
            lost, counted, step = lost + float(loss.detach()) * count, counted + count, step + 1
        means.append(lost / counted)
    seconds = time.perf_counter() - start
    model.eval()
    report(f"{recipe.method}: rate {recipe.rate:g}, {recipe.passes} passes, loss {means[0]:.3f} to {means[-1]:.3f}")
    return Tuning(model, means[0], means[-1], seconds)
