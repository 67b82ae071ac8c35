"""``itx tune``: a prepared tuning carried out in a folder, resumable, its weights saved whole or not at all."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from transformers import PreTrainedModel

from itx.errors import ItxError, UsageError
from itx.runs.lock import FolderLock
from itx.tune.preparation import Prepared, Tell
from itx.tune.recipe import Recipe
from itx.tune.record import NAME, Losses, TuningRecord, find_differences, read_record, write_record
from itx.tune.training import CHECKPOINTS, Outcome, find_checkpoint, save_weights, train

_SAVING = "saving"
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
    "spiece.model", "vocab.json", "vocab.txt", "merges.txt",
)  # fmt: skip
_TEMPLATE = "chat_template.jinja"
_LEARNED_BYTES = 4
_COPIES = 7
"""Of what is learned, at most at once on the disk: two checkpoints with two moments each, and the weights."""


def check_folder(folder: Path, resume: bool) -> None:
    """Raise UsageError where ``--out`` cannot be used so: it exists without ``resume``, or it does not with it."""
    again = f"itx tune … --resume --out {shlex.quote(str(folder))}"
    if resume and not (folder / NAME).is_file():
        raise UsageError(f"{folder} holds no tuning to resume.", "Leave --resume out to begin one.")
    if not resume and (folder.exists() or folder.is_symlink()):
        remedy = f"To go on with it: {again}" if (folder / NAME).is_file() else "Name another folder with --out."
        raise UsageError(f"{folder} exists already.", remedy)


def wrap(model: PreTrainedModel, recipe: Recipe) -> PreTrainedModel | PeftModel:
    """Return what is trained: the model itself, or a fresh adapter on it, drawn from the recipe's seed.

    Raises UsageError where the model has none of the modules that the recipe names.
    """
    torch.manual_seed(recipe.seed)
    if recipe.method == "full":
        return model.requires_grad_(True)
    settings = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=recipe.target_modules or "all-linear",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return get_peft_model(model, settings)
    except ValueError as error:
        raise UsageError(
            f"No adapter can be put on this model: {error}", "Name its layers: --target-modules q_proj,v_proj"
        ) from error


def tune(prepared: Prepared, folder: Path, *, resume: bool, tell: Tell, stop: Callable[[], bool]) -> TuningRecord:
    """Carry a tuning out in ``folder`` and return its record; ``finished`` is false where ``stop`` ended it early.

    Raises UsageError where it is not the tuning that the folder holds, ItxError where the disk or the memory is full
    or the loss is no number any more; checkpoints stay.
    """
    check_folder(folder, resume)
    record = prepared.record
    started = read_record(folder) if resume else None
    if started is not None:
        differences = find_differences(started, record)
        if differences:
            raise UsageError(
                f"{folder} holds another tuning: {'; '.join(differences)}.",
                "Repeat its settings, or name another --out.",
            )
        if started.finished:
            return started
    record = replace(record, created=started.created) if started is not None else record
    model = wrap(prepared.engine.model, record.recipe)
    learned = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    record = replace(record, trained_parameters=learned)
    with _disk_watched(folder):
        if not folder.exists():
            _check_space(folder, learned)
            folder.mkdir(parents=True)
        lock = FolderLock(folder)
        try:
            write_record(folder, record)
            outcome = train(
                model,
                prepared.examples.examples,
                prepared.course,
                record.recipe,
                folder=folder,
                pad_id=prepared.pad_id,
                resume=find_checkpoint(folder),
                tell=tell,
                stop=stop,
            )
            if outcome.finished:
                tell("saving", 0.0)
                record = _finish(prepared, record, outcome)
                _save(model, prepared, record, folder)
        finally:
            lock.release()
    return record


def _finish(prepared: Prepared, record: TuningRecord, outcome: Outcome) -> TuningRecord:
    ends = [-(-end // prepared.course.accumulation) for end in prepared.course.epochs]
    starts = [0, *ends[:-1]]
    epochs = [sum(part) / len(part) for a, b in zip(starts, ends, strict=True) if (part := outcome.losses[a:b])]
    return replace(
        record,
        finished=True,
        losses=Losses(steps=outcome.losses, epochs=epochs),
        seconds=outcome.seconds,
    )


def _save(model: Any, prepared: Prepared, record: TuningRecord, folder: Path) -> None:
    """Write everything beside, then move it to its place; checkpoints go when all is there."""
    saving = folder / _SAVING
    shutil.rmtree(saving, ignore_errors=True)
    if isinstance(model, PeftModel):
        model.peft_config["default"].base_model_name_or_path = record.base.reference
    save_weights(model, saving)
    # PEFT writes a model card of blanks.
    (saving / "README.md").unlink(missing_ok=True)
    for name in _TOKENIZER:
        if (prepared.place / name).is_file():
            shutil.copyfile(prepared.place / name, saving / name)
    (saving / _TEMPLATE).write_text(record.template.text, encoding="utf-8")
    for file in sorted(saving.iterdir()):
        file.chmod(0o644)
        file.replace(folder / file.name)
    saving.rmdir()
    write_record(folder, record)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _check_space(folder: Path, learned: int) -> None:
    existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.is_dir())
    free, needed = shutil.disk_usage(existing).free, learned * _LEARNED_BYTES * _COPIES
    if free < needed:
        raise ItxError(
            f"The disk of {folder} has {free / 1e9:.1f} GB free, and this tuning may need {needed / 1e9:.1f} GB with "
            "its checkpoints.",
            "Name a folder on another disk with --out.",
        )


@contextlib.contextmanager
def _disk_watched(folder: Path) -> Iterator[None]:
    """Turn what a full or failing disk raises, by any library's name, into ItxError."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and not any(word in text for word in ("PytorchStreamWriter", "file write")):
            raise
        reason = (error.strerror or text) if isinstance(error, OSError) else text.splitlines()[0]
        raise ItxError(
            f"{folder} cannot be written: {reason}. The last whole checkpoint is kept.",
            "Make room, and go on with the same command and --resume.",
        ) from error
