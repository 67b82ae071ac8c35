"""The training itself, on transformers' Trainer: a planned course of batches, its loss, checkpoints, and stopping.

Trainer sees the course as one epoch of ready batches in a fixed order; so it needs no sampler of its own, and resuming
skips exactly the batches that were fed. The loss of a step is the sum of the negative log-likelihoods of its learned
ids (nats) over their number. Ids of masked rows are left out of the sum and stay in the number: every other id then
weighs what it weighs without the mask.
"""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from itx.errors import ItxError
from itx.models.torch.memory import is_exhaustion
from itx.tune.examples import Example
from itx.tune.plan import Course
from itx.tune.recipe import Recipe, scale_rate

CHECKPOINTS = "checkpoints"
_STATE = "trainer_state.json"
_BETWEEN = 60.0
_SHARE = 10.0
"""A checkpoint is saved a minute after the last one, or ten times as long as that took to write."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``losses`` has the mean loss of every step so far (nats a learned id); ``seconds`` those of this call."""

    losses: list[float]
    finished: bool
    seconds: float


class _Batches(Dataset[dict[str, Any]]):
    def __init__(
        self, examples: Sequence[Example], course: Course, pad_id: int, masked: Collection[str], counts: Sequence[int]
    ) -> None:
        self._examples = examples
        self._course = course
        self._pad_id = pad_id
        self._masked = frozenset(masked)
        self._counts = counts

    def __len__(self) -> int:
        return len(self._course.batches)

    def __getitem__(self, place: int) -> dict[str, Any]:
        members = [self._examples[each] for each in self._course.batches[place]]
        longest = max(len(each.ids) for each in members)
        ids = torch.full((len(members), longest), self._pad_id, dtype=torch.long)
        wanted = torch.zeros((len(members), longest), dtype=torch.bool)
        first = longest
        for line, each in enumerate(members):
            # Padded on the right, which a causal model does not look at.
            ids[line, : len(each.ids)] = torch.tensor(each.ids)
            first = min(first, each.learned.index(True))
            if each.row not in self._masked:
                wanted[line, : len(each.ids)] = torch.tensor(each.learned)
        return {
            "input_ids": ids,
            "wanted": wanted,
            "first": first,
            "count": self._counts[place // self._course.accumulation],
        }


class _CourseTrainer(Trainer):
    """Trainer on ready batches."""

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)
        self.loss_is_scaled_for_ga = True
        model: Any = words["model"]
        bare = model.get_base_model() if isinstance(model, PeftModel) else model
        self._keeps = "logits_to_keep" in inspect.signature(bare.forward).parameters

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        batches: Any = self.train_dataset
        return SequentialSampler(batches)

    def _get_num_items_in_batch(self, *_: Any, **__: Any) -> None:
        """The number is the plan's, which a mask does not change."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Return a batch's share of its step's mean loss."""
        del num_items_in_batch
        ids, wanted = inputs["input_ids"], inputs["wanted"]
        # The row that predicts the first learned id is the first that is needed; the vocabulary is most of the work.
        start = inputs["first"] - 1
        options = {"logits_to_keep": ids.shape[1] - start} if self._keeps else {}
        outputs = model(input_ids=ids, use_cache=False, **options)
        logits = outputs.logits[:, -(ids.shape[1] - start) : -1]
        kept = wanted[:, start + 1 :]
        targets = ids[:, start + 1 :].masked_fill(~kept, -100)
        loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum")
        loss = loss / inputs["count"]
        if not math.isfinite(float(loss.detach())):
            raise ItxError(
                f"The loss is no number any more at step {self.state.global_step + 1}; nothing was saved since the "
                "last checkpoint.",
                "Tune with a smaller --learning-rate, a longer --warmup-steps, or --dtype float32, into another --out.",
            )
        return (loss, outputs) if return_outputs else loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Count nothing: nobody reads it, and it walks over all parameters at every step."""
        del inputs
        return 0

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save the weights alone: no pickled arguments, and no look-up of the base's name on a hub."""
        folder = output_dir or str(self.args.output_dir)
        save_weights(self.model, Path(folder), state_dict)


class _Watch(TrainerCallback):
    """Tells how far the tuning is, says when a checkpoint is due, and stops it between two steps."""

    def __init__(
        self,
        steps: int,
        ends: Sequence[int],
        tell: Callable[[str, float], None],
        stop: Callable[[], bool],
        keep: bool,
    ) -> None:
        self._steps = steps
        self._ends = {end: number for number, end in enumerate(ends, 1)}
        self._tell = tell
        self._stop = stop
        self._keep = keep
        self._pause = _BETWEEN
        self._asked = self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Tell, and stop where that is asked for: then a checkpoint is saved first, as it is after the last step."""
        del args
        self._tell("tuning", state.global_step / self._steps)
        stopping = self._stop()
        last = state.global_step >= self._steps
        if stopping and not last:
            control.should_training_stop = True
        self._asked = time.monotonic()
        control.should_save = self._keep and (stopping or last or self._asked - self._saved >= self._pause)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note how long it took."""
        del args, state, control
        self._saved = time.monotonic()
        self._pause = max(_BETWEEN, _SHARE * (self._saved - self._asked))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Tell an epoch's mean loss at its end."""
        del args, control
        number = self._ends.get(state.global_step)
        if number is None or "loss" not in (logs or {}):
            return
        before = max((end for end in self._ends if end < state.global_step), default=0)
        losses = _read_losses(state.log_history)[before : state.global_step]
        self._tell(f"epoch {number} of {len(self._ends)}: mean loss {sum(losses) / max(1, len(losses)):.4f}", -1)


def save_weights(model: Any, folder: Path, state_dict: dict[str, Any] | None = None) -> None:
    """Write a model or an adapter as safetensors. Raises OSError, and what safetensors makes of a full disk."""
    options: dict[str, Any] = {"save_embedding_layers": False} if isinstance(model, PeftModel) else {}
    model.save_pretrained(str(folder), state_dict=state_dict, **options)


def count_learned(examples: Sequence[Example], course: Course) -> list[int]:
    """Return how many ids are learned in each step, masks aside."""
    return [sum(examples[place].weight for place in course.members(step)) for step in range(course.steps)]


def find_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint below a tuning's folder; what a killed process left of one does not count."""
    found = []
    for path in (folder / CHECKPOINTS).glob("checkpoint-*"):
        try:
            # It is written last.
            step = int(json.loads((path / _STATE).read_text(encoding="utf-8"))["global_step"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append((step, path))
    return max(found)[1] if found else None


def train(
    model: PreTrainedModel | PeftModel,
    examples: Sequence[Example],
    course: Course,
    recipe: Recipe,
    *,
    folder: Path,
    masked: Collection[str] = (),
    pad_id: int = 0,
    keep: bool = True,
    resume: Path | None = None,
    tell: Callable[[str, float], None] = lambda step, fraction: None,
    stop: Callable[[], bool] = lambda: False,
    most_steps: int | None = None,
) -> Outcome:
    """Train ``model`` in place along the course; ``masked`` rows keep their places and carry no loss.

    With ``keep`` checkpoints go below ``folder``, and ``resume`` names one to go on from. ``most_steps`` ends early.
    Raises ItxError where the loss is no number any more, MemoryExhaustedError, OSError where the disk refuses.
    """
    steps = course.steps
    on_cpu = next(model.parameters()).device.type == "cpu"
    arguments = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=course.accumulation,
        max_steps=steps if most_steps is None else min(steps, most_steps),
        max_grad_norm=recipe.clip_norm,
        neftune_noise_alpha=recipe.neftune_noise_alpha or None,
        bf16=recipe.dtype == "bfloat16",
        seed=recipe.seed,
        use_cpu=on_cpu,
        # The watch says when.
        save_strategy="no",
        save_total_limit=1,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        learned,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        # One pass over the memory of the weights and their moments in place of a dozen.
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: scale_rate(recipe, step, steps))
    uses_cache = model.config.use_cache
    ends = [-(-end // course.accumulation) for end in course.epochs]
    trainer = _CourseTrainer(
        model=model,
        args=arguments,
        train_dataset=_Batches(examples, course, pad_id, masked, count_learned(examples, course)),
        data_collator=lambda items: items[0],
        optimizers=(optimizer, schedule),
        callbacks=[_Watch(arguments.max_steps, ends, tell, stop, keep)],
    )
    trainer.remove_callback(PrinterCallback)
    began = time.perf_counter()
    try:
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    except (RuntimeError, MemoryError) as error:
        if not is_exhaustion(error):
            raise
        raise _refuse_for_memory() from error
    finally:
        model.config.use_cache = uses_cache
        model.train(False)
    state = trainer.state
    losses = _read_losses(state.log_history)
    return Outcome(losses, state.global_step >= arguments.max_steps, time.perf_counter() - began)


def _refuse_for_memory() -> ItxError:
    from itx.errors import MemoryExhaustedError

    return MemoryExhaustedError(
        "There was not enough memory to tune. The last checkpoint is kept.",
        "Halve --batch-size and double --gradient-accumulation, or use fewer --max-tokens, --dtype bfloat16 or "
        "--method lora.",
    )


def _read_losses(history: Sequence[dict[str, float]]) -> list[float]:
    return [entry["loss"] for entry in history if "loss" in entry]
