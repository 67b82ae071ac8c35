"""Weights on disk: what is refused, and what is fingerprinted."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from itx.errors import UsageError, WeightsError
from itx.models.options import Options
from itx.models.torch.placement import choose_device, choose_dtype
from itx.models.torch.weights import find_weights, fingerprint_files
from tests.models.loading import load
from tests.support.llamas import write_llama


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("weights") / "base")


def test_one_file_has_its_own_digest(base: Path) -> None:
    digest = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    (engine,), warnings = load(base)
    assert engine.fingerprint == f"sha256:{digest}"
    assert warnings == []


def test_several_files_have_the_digest_of_what_sha256sum_prints(tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    files = sorted(tmp_path.iterdir())
    printed = subprocess.run(
        ["sha256sum", *(file.name for file in files)], cwd=tmp_path, capture_output=True, check=True
    )
    assert fingerprint_files(files) == f"sha256:{hashlib.sha256(printed.stdout).hexdigest()}"


def test_sharded_weights_load(base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    sharded = shutil.copytree(base, tmp_path / "sharded")
    (sharded / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(sharded, max_shard_size="150KB")
    assert len(find_weights(sharded, "sharded")) > 1
    (whole, parts), _ = load(base, sharded)
    one, other = whole.stream().extend([5, 6, 7]), parts.stream().extend([5, 6, 7])
    assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_pickled_weights_are_refused_and_the_command_converts_them(base: Path, tmp_path: Path) -> None:
    """The command in the message is run as it stands; afterwards the folder loads."""
    pickled = shutil.copytree(base, tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin") as caught:
        load(pickled)
    command = caught.value.remedy.partition("python -c ")[2].strip('"')
    subprocess.run([sys.executable, "-c", command], check=True, capture_output=True)
    (engine,), _ = load(pickled)
    assert engine.vocab_size


def test_a_folder_with_both_reads_the_safe_one(base: Path, tmp_path: Path) -> None:
    both = shutil.copytree(base, tmp_path / "both")
    (both / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert [file.name for file in find_weights(both, "both")] == ["model.safetensors"]
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


def test_a_hub_id_offline_names_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="somebody/no-such-model") as caught:
        load("somebody/no-such-model")
    assert "hf download somebody/no-such-model" in caught.value.remedy
