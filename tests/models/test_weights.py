"""Weights on disk: what is read, and what is refused."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from itx.errors import UsageError, WeightsError
from itx.models.options import Options
from itx.models.reference import Reference
from itx.models.torch.engine import TorchEngine
from itx.models.torch.placement import choose_device, choose_dtype
from itx.models.torch.weights import find_weights
from tests.models.loading import load
from tests.support.llamas import write_adapter, write_llama


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("weights") / "base")


def named(folder: Path) -> Reference:
    return Reference("base", str(folder), "folder", str(folder))


def pickle(folder: Path, stem: str) -> None:
    """Turn a folder's safetensors file into a pickled one."""
    (file,) = (file for file in folder.glob("*.safetensors") if "old" not in file.name)
    torch.save(load_file(file), folder / f"{stem}.bin")
    file.unlink()


def convert(error: WeightsError, folder: Path) -> None:
    """Run the Python command of a refusal in ``folder``, as a shell would read it."""
    words = shlex.split(error.remedy.partition("python -c ")[2])
    subprocess.run([sys.executable, "-c", *words], check=True, capture_output=True, cwd=folder)


def test_sharded_weights_load(base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    sharded = shutil.copytree(base, tmp_path / "sharded")
    (sharded / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(sharded, max_shard_size="150KB")
    files = find_weights(sharded, named(sharded))
    assert len(files) > 1
    (whole, parts), _ = load(base, sharded)
    assert isinstance(whole, TorchEngine) and isinstance(parts, TorchEngine)
    one, other = whole.model.state_dict(), parts.model.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    # Products depend on where in memory their factors lie, in the last bit.
    logits = [torch.as_tensor(engine.stream().extend([5, 6, 7])) for engine in (whole, parts)]
    assert torch.allclose(*logits, rtol=0, atol=1e-5)
    files[0].unlink()
    with pytest.raises(WeightsError, match=files[0].name):
        load(sharded)


def test_pickled_weights_are_refused_and_the_command_converts_them(base: Path, tmp_path: Path) -> None:
    """The command in the message is run as it stands; afterwards the folder loads."""
    pickled = shutil.copytree(base, tmp_path / "pickled")
    pickle(pickled, "pytorch_model")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin") as caught:
        load(pickled)
    convert(caught.value, tmp_path)
    (engine,), _ = load(pickled)
    assert engine.vocab_size


def test_a_path_with_quotes_is_converted_too(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(base, tmp_path / 'Anna\'s $(x) "é🌸"')
    pickle(adapter, "adapter_model")
    with pytest.raises(WeightsError, match=r"adapter_model\.bin") as caught:
        load(base, adapter)
    convert(caught.value, tmp_path)
    assert len(load(base, adapter)[0]) == 2


def test_other_pickles_of_a_trainer_are_no_weights(base: Path, tmp_path: Path) -> None:
    part = shutil.copytree(base, tmp_path / "part")
    (part / "model.safetensors").unlink()
    for name in ("training_args.bin", "optimizer.pt", "rng_state.pth"):
        (part / name).write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        load(part)


def test_only_what_peft_would_load_is_an_adapters_weights(base: Path, tmp_path: Path) -> None:
    """Beside a pickled file that PEFT would take, an older copy in safetensors is not the adapter."""
    adapter = write_adapter(base, tmp_path / "adapter")
    shutil.copy(adapter / "adapter_model.safetensors", adapter / "adapter_model-old.safetensors")
    assert [file.name for file in find_weights(adapter, named(adapter))] == ["adapter_model.safetensors"]
    pickle(adapter, "adapter_model")
    with pytest.raises(WeightsError, match=r"adapter_model\.bin"):
        load(base, adapter)


def test_only_what_transformers_would_load_is_a_models_weights(base: Path, tmp_path: Path) -> None:
    full = shutil.copytree(base, tmp_path / "full")
    shutil.copy(full / "model.safetensors", full / "model-old.safetensors")
    assert [file.name for file in find_weights(full, named(full))] == ["model.safetensors"]


def test_a_folder_with_both_reads_the_safe_one(base: Path, tmp_path: Path) -> None:
    both = shutil.copytree(base, tmp_path / "both")
    (both / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert [file.name for file in find_weights(both, named(both))] == ["model.safetensors"]
    load(both)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file(base: Path, tmp_path: Path, name: str) -> None:
    part = shutil.copytree(base, tmp_path / "part")
    (part / name).unlink()
    with pytest.raises(WeightsError, match="holds no"):
        load(part)


def test_torn_weights_are_named(base: Path, tmp_path: Path) -> None:
    torn = shutil.copytree(base, tmp_path / "torn")
    file = torn / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be read"):
        load(torn)


def test_weights_that_would_be_random_are_refused(base: Path, tmp_path: Path) -> None:
    part = shutil.copytree(base, tmp_path / "part")
    tensors = load_file(part / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="would be random"):
        load(part)


def test_an_unknown_architecture_is_named(base: Path, tmp_path: Path) -> None:
    other = shutil.copytree(base, tmp_path / "other")
    config = (other / "config.json").read_text().replace('"llama"', '"no_such_architecture"')
    (other / "config.json").write_text(config)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load(other)


def test_half_precision_is_widened_on_a_cpu_unless_asked_for(base: Path, tmp_path: Path) -> None:
    half = shutil.copytree(base, tmp_path / "half")
    tensors = {name: value.bfloat16() for name, value in load_file(half / "model.safetensors").items()}
    save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
    config = (half / "config.json").read_text().replace('"float32"', '"bfloat16"')
    (half / "config.json").write_text(config)
    assert load(half)[0][0].dtype == "float32"
    (asked,), _ = load(half, options=Options(device={"": "cpu"}, dtype="bf16"))
    assert asked.dtype == "bfloat16"
    assert torch.as_tensor(asked.stream().extend([5, 6])).dtype == torch.bfloat16


def test_a_device_takes_the_checkpoints_own_precision() -> None:
    cuda = torch.device("cuda:0")
    assert choose_dtype(None, cuda, torch.bfloat16) == torch.bfloat16
    assert choose_dtype(None, cuda, torch.float16) == torch.float16
    assert choose_dtype(None, cuda, None) == torch.float32
    assert choose_dtype("float32", cuda, torch.bfloat16) == torch.float32
    assert choose_dtype("auto", torch.device("cpu"), torch.bfloat16) == torch.float32


def test_wrong_places_and_precisions_are_named() -> None:
    with pytest.raises(UsageError, match="int3"):
        choose_dtype("int3", torch.device("cpu"), None)
    for wrong in ("gpu", "cuda:99", "meta"):
        with pytest.raises(UsageError, match=wrong):
            choose_device(wrong)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("available", [True, False])
def test_a_device_without_float64_is_refused(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: available)
    with pytest.raises(UsageError, match="float64") as caught:
        choose_device("mps")
    assert "--device cpu" in caught.value.remedy
