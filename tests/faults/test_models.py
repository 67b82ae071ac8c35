"""Models that cannot be compared: the message names the cause and what to do, and nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.faults.conftest import World
from tests.faults.running import Done, run_itx
from tests.support.llamas import Shape, build_tokenizer, write_adapter, write_llama

pytestmark = pytest.mark.weights


def refuse(world: World, folder: Path, *models: str | Path, **changes: str) -> Done:
    """Run a comparison that must be refused, assert that it left no recording, and return its end."""
    words = ("run", *models, "--prompts", world.prompts, "--out", "run")
    done = run_itx(*words, folder=folder, changes=changes or None)
    assert done.code == 1, done.text
    assert done.out == ""
    assert not (folder / "run").exists()
    assert len(done.err.strip().splitlines()) >= 2, f"no next command: {done.err}"
    return done


@pytest.mark.parametrize("place", [0, 1])
def test_a_missing_folder(world: World, tmp_path: Path, place: int) -> None:
    models: list[str | Path] = [world.base, world.full]
    models[place] = "./no-such-folder"
    done = refuse(world, tmp_path, *models)
    assert "no-such-folder" in done.err


def test_a_hub_id_without_network(world: World, tmp_path: Path) -> None:
    done = refuse(world, tmp_path, "somebody/some-model", world.full, HF_HUB_OFFLINE="0")
    assert "somebody/some-model" in done.err


def test_a_hub_id_when_told_to_stay_offline(world: World, tmp_path: Path) -> None:
    done = refuse(world, tmp_path, "somebody/some-model", world.full, HF_HUB_OFFLINE="1")
    assert "somebody/some-model" in done.err
    assert "HF_HUB_OFFLINE" in done.err


def test_an_adapter_of_a_larger_base(world: World, tmp_path: Path) -> None:
    larger = write_llama(tmp_path / "larger", shape=Shape(hidden=64, intermediate=128))
    adapter = write_adapter(larger, tmp_path / "adapter")
    done = refuse(world, tmp_path, world.base, adapter)
    assert str(adapter) in done.err


def test_an_adapter_with_weights_for_layers_the_base_lacks(world: World, tmp_path: Path) -> None:
    deeper = write_llama(tmp_path / "deeper", shape=Shape(layers=3))
    adapter = write_adapter(deeper, tmp_path / "adapter")
    done = refuse(world, tmp_path, world.base, adapter)
    assert str(adapter) in done.err


def test_an_adapter_that_changes_nothing(world: World, tmp_path: Path) -> None:
    adapter = write_adapter(world.base, tmp_path / "adapter", strength=0.0)
    done = run_itx("run", world.base, adapter, "--prompts", world.prompts, "--out", "run", folder=tmp_path)
    assert "adapter" in done.err
    assert done.code == 1 or "warning" in done.err, done.err


def test_a_tokenizer_of_another_size(world: World, tmp_path: Path) -> None:
    other = write_llama(tmp_path / "other", tokenizer=build_tokenizer(size=330))
    done = refuse(world, tmp_path, world.base, other)
    assert "token" in done.err


def test_a_tokenizer_of_the_same_size_whose_ids_mean_other_things(world: World, tmp_path: Path) -> None:
    other = shutil.copytree(world.full, tmp_path / "other")
    file = other / "tokenizer.json"
    text = file.read_text()
    # Two letters change places: every count stays the same.
    swapped = text.replace('"e": ', '"@": ', 1).replace('"t": ', '"e": ', 1).replace('"@": ', '"t": ', 1)
    assert swapped != text
    file.write_text(swapped)
    done = refuse(world, tmp_path, world.base, other)
    assert "token" in done.err


def test_pickled_weights(world: World, tmp_path: Path) -> None:
    pickled = shutil.copytree(world.full, tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    done = refuse(world, tmp_path, world.base, pickled)
    assert "pytorch_model.bin" in done.err
    assert "safetensors" in done.err


def test_a_pickled_adapter(world: World, tmp_path: Path) -> None:
    pickled = shutil.copytree(world.lora, tmp_path / "pickled")
    torch.save(load_file(pickled / "adapter_model.safetensors"), pickled / "adapter_model.bin")
    (pickled / "adapter_model.safetensors").unlink()
    done = refuse(world, tmp_path, world.base, pickled)
    assert "adapter_model.bin" in done.err
    assert "safetensors" in done.err


def test_torn_weights(world: World, tmp_path: Path) -> None:
    torn = shutil.copytree(world.full, tmp_path / "torn")
    file = torn / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = refuse(world, tmp_path, world.base, torn)
    assert str(torn) in done.err


def test_weights_that_are_not_numbers(world: World, tmp_path: Path) -> None:
    broken = shutil.copytree(world.full, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"] = torch.full_like(tensors["model.norm.weight"], float("nan"))
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    done = run_itx("run", world.base, broken, "--prompts", world.prompts, "--out", "run", folder=tmp_path)
    assert done.code == 1
    assert "NaN" in done.err or "not number" in done.err


def test_a_folder_without_a_chat_template(world: World, tmp_path: Path) -> None:
    bare = write_llama(tmp_path / "bare", tokenizer=build_tokenizer(template=None))
    done = refuse(world, tmp_path, bare, bare)
    assert "--chat-template" in done.err
    assert "alpaca" in done.err


def test_an_unknown_author(world: World, tmp_path: Path) -> None:
    models = (world.base, world.full, "--authors", "nobody")
    done = run_itx("run", *models, "--prompts", world.prompts, "--out", "run", folder=tmp_path)
    assert done.code == 2
    assert "nobody" in done.err
