"""How a tuning goes: every setting that decides the weights it ends in, as one record that is kept beside them."""

from __future__ import annotations

import math
from typing import Literal

from itx.errors import UsageError
from itx.records import Record

Method = Literal["lora", "full"]
Schedule = Literal["linear", "cosine", "constant"]
Dtype = Literal["float32", "bfloat16"]

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Recipe(Record, frozen=True, kw_only=True):
    """The settings of one tuning.

    From the paper (Ghosh et al. 2024): ``epochs``, the effective batch of 32 rows (``batch_size`` rows at a time,
    ``gradient_accumulation`` times), ``learning_rate`` and ``lora_r``. All others are itx's choice: alpha twice the
    rank and no dropout, adapters on every linear layer, 3 % of the steps to warm up, a rate that falls linearly to 0,
    AdamW without decay, gradients of norm 1 at most.

    ``batching`` is ``shuffled`` (each epoch in an order of its own), or ``grouped``: rows of like length together, as
    many as make ``budget`` ids, in a random order. ``target_modules`` empty means all linear layers but the last.
    With ``dtype`` bfloat16 the forward pass runs in it; what is learned is held in float32.
    """

    method: Method
    epochs: int = 3
    batch_size: int = 4
    gradient_accumulation: int = 8
    learning_rate: float = 5e-5
    schedule: Schedule = "linear"
    warmup_steps: int | None = None
    """None: ``warmup_ratio`` of all steps."""
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    """0 does not clip."""
    lora_r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    target_modules: list[str] = []
    neftune_noise_alpha: float | None = None
    max_tokens: int = 1024
    max_response_words: int | None = None
    seed: int = 0
    dtype: Dtype = "float32"
    batching: Literal["shuffled", "grouped"] = "shuffled"
    budget: int = 0


_LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "gradient_accumulation": 1,
    "lora_r": 1,
    "max_tokens": 2,
    "warmup_steps": 0,
    "max_response_words": 1,
    "seed": 0,
}


def check_recipe(recipe: Recipe) -> None:
    """Raise UsageError, naming the option, for a setting that means nothing."""
    for name, least in _LEAST.items():
        value = getattr(recipe, name)
        if value is not None and value < least:
            raise UsageError(f"{_option(name)} must be at least {least}, not {value}.")
    for name in ("learning_rate", "lora_alpha"):
        value = getattr(recipe, name)
        if not 0 < value < math.inf:
            raise UsageError(f"{_option(name)} must be above 0, not {value}.")
    for name in ("warmup_ratio", "lora_dropout"):
        if not 0 <= getattr(recipe, name) < 1:
            raise UsageError(f"{_option(name)} must be at least 0 and below 1, not {getattr(recipe, name)}.")
    for name in ("weight_decay", "clip_norm", "neftune_noise_alpha"):
        value = getattr(recipe, name)
        if value is not None and not 0 <= value < math.inf:
            raise UsageError(f"{_option(name)} must be 0 or above, not {value}.")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def count_warmup(recipe: Recipe, steps: int) -> int:
    """Return over how many of ``steps`` the rate rises."""
    return math.ceil(recipe.warmup_ratio * steps) if recipe.warmup_steps is None else recipe.warmup_steps


def scale_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the fraction of the learning rate that step ``step`` (from 0) of ``steps`` has.

    It is above 0 at every step: it rises from 1/w over the first w steps, and what falls reaches 0 after the last.
    """
    warmup = count_warmup(recipe, steps)
    risen = min(1.0, (step + 1) / warmup) if warmup else 1.0
    done = step / max(1, steps)
    fallen = {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done)), "constant": 1.0}
    return risen * fallen[recipe.schedule]
