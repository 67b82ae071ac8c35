"""Tuning the demo's base: the loss, its masks, and weights that are the same whenever the tuning is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from itx.demo import ROWS, folder
from itx.errors import InputError, ItxError, TemplateError, UsageError
from itx.tune.recipe import Recipe
from itx.tune.record import read_record

pytestmark = pytest.mark.weights

FULL = Recipe(method="full", epochs=2, batch_size=4, gradient_accumulation=2, learning_rate=1e-3)
# Dropout and noise, so that a wrong state of the random generator shows.
LORA = Recipe(
    method="lora", epochs=2, batch_size=4, gradient_accumulation=1, learning_rate=1e-3, lora_dropout=0.2,
    neftune_noise_alpha=5.0,
)  # fmt: skip


def stop_after(steps: int) -> Callable[[], bool]:
    asked = iter(range(1, 10_000))
    return lambda: next(asked) >= steps


@pytest.mark.parametrize("recipe", [FULL, LORA], ids=["full", "lora"])
def test_one_seed_gives_the_same_weights_and_so_does_a_resumed_tuning(recipe: Recipe, tmp_path: Path) -> None:
    from tests.tune.setting import hash_weights, tune_small

    once = tune_small(tmp_path / "once", recipe)
    again = tune_small(tmp_path / "again", recipe)
    assert hash_weights(tmp_path / "once") == hash_weights(tmp_path / "again")
    assert once.losses == again.losses

    stopped = tune_small(tmp_path / "parts", recipe, stop=stop_after(2))
    assert not stopped.finished
    assert not list((tmp_path / "parts").glob("*.safetensors"))
    stopped = tune_small(tmp_path / "parts", recipe, resume=True, stop=stop_after(1))
    assert not stopped.finished
    resumed = tune_small(tmp_path / "parts", recipe, resume=True)
    assert hash_weights(tmp_path / "parts") == hash_weights(tmp_path / "once")
    assert resumed.losses == once.losses
    assert not (tmp_path / "parts" / "checkpoints").exists()


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    from tests.tune.setting import hash_weights, tune_small

    for seed in (0, 1):
        tune_small(tmp_path / str(seed), replace(LORA, seed=seed))
    assert hash_weights(tmp_path / "0") != hash_weights(tmp_path / "1")


def test_a_broken_checkpoint_does_not_count(tmp_path: Path) -> None:
    from itx.tune.training import find_checkpoint
    from tests.tune.setting import tune_small

    out = tmp_path / "out"
    tune_small(out, FULL, stop=stop_after(2))
    whole = find_checkpoint(out)
    assert whole is not None
    # A process that was killed while it wrote the next one.
    shutil.copytree(whole, out / "checkpoints" / "checkpoint-3")
    (out / "checkpoints" / "checkpoint-3" / "trainer_state.json").unlink()
    assert find_checkpoint(out) == whole
    (out / "checkpoints" / "checkpoint-3" / "trainer_state.json").write_text("{", encoding="utf-8")
    assert find_checkpoint(out) == whole


def test_the_loss_is_the_models_own_over_the_learned_ids() -> None:
    import torch

    from itx.tune.training import train
    from tests.tune.setting import prepare_small

    recipe = Recipe(method="full", epochs=1, batch_size=6, gradient_accumulation=4, learning_rate=1e-9)
    prepared = prepare_small(recipe)
    model: Any = prepared.engine.model
    nats, count = 0.0, 0
    for example in prepared.examples.examples:
        labels = [token if learned else -100 for token, learned in zip(example.ids, example.learned, strict=True)]
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels])).loss
        nats, count = nats + float(loss) * example.weight, count + example.weight
    outcome = train(model, prepared.examples.examples, prepared.course, recipe, folder=Path("unused"), keep=False)
    assert len(outcome.losses) == 1
    assert outcome.losses[0] == pytest.approx(nats / count, rel=1e-5)


def test_accumulated_batches_step_as_one_batch_does(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from tests.tune.setting import tune_small

    shapes = {"one": (8, 1), "many": (2, 4)}
    for name, (size, accumulation) in shapes.items():
        recipe = Recipe(
            method="full", epochs=1, batch_size=size, gradient_accumulation=accumulation, learning_rate=1e-4
        )
        tune_small(tmp_path / name, recipe)
    one, many = (load_file(str(tmp_path / name / "model.safetensors")) for name in shapes)
    base = load_file(str(folder("base") / "model.safetensors"))
    for name, tensor in one.items():
        moved = float((tensor - base[name].float()).abs().max())
        assert float((tensor - many[name]).abs().max()) < 0.05 * moved, name


def test_masked_rows_keep_their_places_and_teach_nothing() -> None:
    """Against the gradient of the same batch written out by hand."""
    import torch

    from itx.tune.training import train
    from tests.tune.setting import prepare_small

    recipe = Recipe(method="full", epochs=1, batch_size=24, gradient_accumulation=1, learning_rate=1e-4, clip_norm=0.0)
    prepared = prepare_small(recipe)
    examples = prepared.examples.examples
    masked = {examples[3].row, examples[11].row}
    total = sum(example.weight for example in examples)
    nats = 0.0
    model: Any = prepared.engine.model
    for example in examples:
        if example.row in masked:
            continue
        labels = [token if learned else -100 for token, learned in zip(example.ids, example.learned, strict=True)]
        with torch.no_grad():
            nats += (
                float(model(input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels])).loss) * example.weight
            )
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    outcome = train(model, examples, prepared.course, recipe, folder=Path("unused"), keep=False, masked=masked)
    # The number of ids stays that of the whole batch, so that the others weigh what they weighed.
    assert outcome.losses[0] == pytest.approx(nats / total, rel=1e-5)
    moved = any(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert moved


def test_masking_every_row_changes_nothing() -> None:
    import torch

    from itx.tune.training import train
    from tests.tune.setting import prepare_small

    prepared = prepare_small(FULL)
    model: Any = prepared.engine.model
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    examples = prepared.examples.examples
    outcome = train(
        model,
        examples,
        prepared.course,
        FULL,
        folder=Path("unused"),
        keep=False,
        masked={each.row for each in examples},
    )
    assert set(outcome.losses) == {0.0}
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_what_was_tuned_is_written_beside_the_weights(tmp_path: Path) -> None:
    from tests.tune.setting import tune_small

    out = tmp_path / "out"
    tune_small(out, LORA, without=["rows.jsonl#5"], system_prompt="Be kind.")
    record = read_record(out)
    assert record is not None
    assert record.finished
    assert record.data.rows == [f"rows.jsonl#{number}" for number in range(24) if number != 5]
    assert [skipped.row for skipped in record.data.skipped] == ["rows.jsonl#5"]
    # The demo's base reads 512 tokens.
    assert record.recipe == replace(LORA, max_tokens=512)
    assert len(record.losses.steps) == record.steps == 12
    assert len(record.losses.epochs) == 2
    assert record.losses.epochs[1] < record.losses.epochs[0]
    assert record.template.system == "Be kind."
    assert record.base.reference == "demo:base"
    shipped = json.loads((folder("full") / "tuning.json").read_text(encoding="utf-8"))
    assert record.data.fingerprint == shipped["data"]["fingerprint"]
    assert (out / "chat_template.jinja").read_text("utf-8") == (folder("base") / "chat_template.jinja").read_text(
        "utf-8"
    )
    assert (out / "tokenizer.json").read_bytes() == (folder("base") / "tokenizer.json").read_bytes()
    assert json.loads((out / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"] == "demo:base"
    assert not [path.name for path in out.rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]
    assert not (out / "run.lock").exists()


@pytest.mark.parametrize("recipe", [FULL, LORA], ids=["full", "lora"])
def test_the_result_loads_as_a_tuned_model_and_the_base_stays(recipe: Recipe, tmp_path: Path) -> None:
    from itx.models.load import load_engines
    from itx.models.options import Options
    from itx.models.reference import parse_references
    from tests.tune.setting import tune_small

    tune_small(tmp_path / "out", recipe)
    config = tmp_path / "out" / "config.json"
    if config.exists():
        assert json.loads(config.read_text("utf-8"))["use_cache"] is True
    references = parse_references("demo:base", [str(tmp_path / "out")], {"demo:base": folder("base")})
    base, tuned = load_engines(references, Options(), lambda *_: None).engines
    ids = base.vocabulary.encode("<|user|>Describe Velm Ferry.<|assistant|>")
    one, other = (engine.arithmetic.export(engine.stream().extend(ids)) for engine in (base, tuned))
    assert abs(one - other).max() > 1e-3
    assert tuned.eos == base.eos


def test_a_loss_that_is_no_number_ends_the_tuning_and_says_what_to_do(tmp_path: Path) -> None:
    from tests.tune.setting import tune_small

    with pytest.raises(ItxError, match="--learning-rate"):
        tune_small(tmp_path / "out", replace(FULL, learning_rate=1e30, clip_norm=0.0))
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_folder_that_exists_is_refused_and_another_tuning_not_resumed(tmp_path: Path) -> None:
    from tests.tune.setting import tune_small

    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no tuning to resume"):
        tune_small(out, FULL, resume=True)
    tune_small(out, FULL, stop=stop_after(1))
    with pytest.raises(UsageError, match="--resume"):
        tune_small(out, FULL)
    with pytest.raises(UsageError, match="learning-rate was"):
        tune_small(out, replace(FULL, learning_rate=2e-3), resume=True)
    with pytest.raises(UsageError, match="rows tuned on"):
        tune_small(out, FULL, resume=True, limit=23)


def test_a_full_disk_is_said_and_the_checkpoint_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itx.tune import tuning
    from itx.tune.training import find_checkpoint
    from tests.tune.setting import hash_weights, tune_small

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "save_weights", refuse)
        with pytest.raises(ItxError, match="No space left on device"):
            tune_small(out, FULL)
    assert find_checkpoint(out) is not None
    assert tune_small(out, FULL, resume=True).finished
    tune_small(tmp_path / "whole", FULL)
    assert hash_weights(out) == hash_weights(tmp_path / "whole")


def test_a_disk_that_is_too_small_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itx.tune import tuning
    from tests.tune.setting import tune_small

    class Usage:
        free = 1000

    monkeypatch.setattr(tuning.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(ItxError, match="GB free"):
        tune_small(tmp_path / "out", FULL)
    assert not (tmp_path / "out").exists()


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from itx.tune import training
    from tests.tune.setting import prepare_small

    def exhaust(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 9 GiB")

    prepared = prepare_small(FULL)
    monkeypatch.setattr(training._CourseTrainer, "training_step", exhaust)
    with pytest.raises(ItxError, match="--batch-size"):
        training.train(
            prepared.engine.model, prepared.examples.examples, prepared.course, FULL, folder=Path("unused"), keep=False
        )


def test_data_without_a_usable_row_is_refused_with_the_first_reasons(tmp_path: Path) -> None:
    from tests.tune.setting import prepare_small

    data = tmp_path / "rows.jsonl"
    data.write_text('{"instruction": "A?", "output": " "}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"rows.jsonl"):
        prepare_small(FULL, data=str(data))


def test_rows_that_the_data_does_not_have_are_named() -> None:
    from tests.tune.setting import prepare_small

    with pytest.raises(UsageError, match=r"rows\.jsonl#999"):
        prepare_small(FULL, without=["rows.jsonl#999"])


def test_a_base_without_a_template_is_not_guessed(tmp_path: Path) -> None:
    from itx.tune.preparation import prepare
    from itx.tune.request import TuneRequest
    from tests.tune.setting import quiet

    bare = tmp_path / "bare"
    shutil.copytree(folder("base"), bare)
    (bare / "chat_template.jinja").unlink()
    request = TuneRequest(base=str(bare), data=str(ROWS), recipe=FULL, device="cpu", limit=4)
    with pytest.raises(TemplateError, match="does not guess"):
        prepare(request, quiet)
