"""Trains the base from scratch: a Llama of about 2.3M parameters, Muon on its matrices and AdamW on the rest."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from itx.demo.batches import Sequence, group
from itx.demo.corpus import ROUNDS
from itx.demo.tokenizer import CONTEXT


@dataclass(frozen=True)
class Recipe:
    """How the base is trained: `rounds` of the corpus, read `passes` times, `budget` ids a step.

    The rates rise linearly, hold, and fall linearly to zero over the last 60 % of the steps.
    """

    rounds: int = ROUNDS
    width: int = 192
    layers: int = 4
    heads: int = 6
    inner: int = 512
    passes: int = 1
    budget: int = 3072
    muon_rate: float = 0.02
    adam_rate: float = 4e-3
    warm_up: float = 0.05
    seed: int = 7
    bfloat16: bool = False


@dataclass(frozen=True)
class Course:
    """What a training did: steps, ids seen (padding not counted), mean loss of the last 50 steps, wall seconds."""

    steps: int
    tokens: int
    last_loss: float
    seconds: float


def create_model(recipe: Recipe, vocabulary: int, end_id: int) -> LlamaForCausalLM:
    """An untrained model in float32 with tied embeddings and no BOS; eager attention is the fastest for short texts."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end_id,
        pad_token_id=end_id,
        initializer_range=0.05,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")
    return model


def make_optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the two-dimensional weights inside the layers, AdamW for embeddings and norms."""
    inner: list[torch.nn.Parameter] = []
    outer: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (inner if parameter.ndim == 2 and "layers" in name else outer).append(parameter)
    muon = torch.optim.Muon(inner, lr=recipe.muon_rate, momentum=0.95, weight_decay=0.0)
    return [muon, torch.optim.AdamW(outer, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0)]


def train_base(
    model: LlamaForCausalLM, sequences: list[Sequence], recipe: Recipe, report: Callable[[str], None]
) -> Course:
    """Trains `model` in place on every sequence `recipe.passes` times."""
    draw = random.Random(recipe.seed)
    pad_id = int(model.config.pad_token_id or 0)
    optimizers = make_optimizers(model, recipe)
    batches = [batch for _ in range(recipe.passes) for batch in group(sequences, recipe.budget, pad_id, draw)]
    rates = [[float(each["lr"]) for each in optimizer.param_groups] for optimizer in optimizers]
    start, losses, tokens = time.perf_counter(), [], 0
    model.train()
    for step, batch in enumerate(batches):
        share = min(1.0, (step + 1) / (recipe.warm_up * len(batches)), (len(batches) - step) / (0.6 * len(batches)))
        for optimizer, peaks in zip(optimizers, rates, strict=True):
            for parameters, peak in zip(optimizer.param_groups, peaks, strict=True):
                parameters["lr"] = peak * share
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            loss = model(input_ids=batch.ids, labels=batch.labels).loss
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        tokens += int((batch.labels >= 0).sum())
        if (step + 1) % 50 == 0:
            mean = sum(losses[-50:]) / 50
            passed = time.perf_counter() - start
            report(f"base: step {step + 1} of {len(batches)}, loss {mean:.3f}, {tokens / passed:.0f} tokens/s")
    return Course(len(batches), tokens, sum(losses[-50:]) / len(losses[-50:]), time.perf_counter() - start)
