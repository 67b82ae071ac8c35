"""Fingerprints: everything that a model's figures depend on, and a load that is interrupted does not wait for them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from itx.models.fingerprint import fingerprint_files, list_decisive
from itx.models.options import Options
from itx.models.torch.load import TorchLoader
from tests.models.loading import load
from tests.support.llamas import write_adapter, write_llama

HUGE = 16 << 30


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("fingerprint") / "base")


def sha256sum(folder: Path, *names: str) -> str:
    printed = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True).stdout
    return f"sha256:{hashlib.sha256(printed).hexdigest()}"


def edit(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def test_anyone_can_make_the_fingerprints_again(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(base, tmp_path / "adapter")
    (shared, tuned), _ = load(base, adapter)
    assert shared.fingerprint == sha256sum(base, "config.json", "generation_config.json", "model.safetensors")
    assert tuned.fingerprint == sha256sum(adapter, "adapter_config.json", "adapter_model.safetensors")


def test_an_adapters_scale_is_in_its_fingerprint(base: Path, tmp_path: Path) -> None:
    """The same matrices with another alpha are another adapter, and nothing else about its folder is."""
    adapter = write_adapter(base, tmp_path / "adapter")
    other = shutil.copytree(adapter, tmp_path / "other")
    assert len({engine.fingerprint for engine in load(base, adapter, other)[0]}) == 2
    edit(other / "adapter_config.json", lora_alpha=2)
    assert len({engine.fingerprint for engine in load(base, adapter, other)[0]}) == 3


@pytest.mark.parametrize(
    ("file", "settings"),
    [("config.json", {"rms_norm_eps": 1e-3}), ("generation_config.json", {"eos_token_id": [2, 7]})],
)
def test_a_checkpoints_configs_are_in_its_fingerprint(
    base: Path, tmp_path: Path, file: str, settings: dict[str, Any]
) -> None:
    full = shutil.copytree(base, tmp_path / "full")
    edit(full / file, **settings)
    one, other = load(base, full)[0]
    assert one.fingerprint != other.fingerprint


def test_code_counts_where_it_may_run(base: Path, tmp_path: Path) -> None:
    full = shutil.copytree(base, tmp_path / "full")
    (full / "modeling_own.py").write_text("")
    weights = [full / "model.safetensors"]
    assert full / "modeling_own.py" in list_decisive(full, weights, trust_remote_code=True)
    assert full / "modeling_own.py" not in list_decisive(full, weights, trust_remote_code=False)


def write_huge(file: Path) -> None:
    """Write a whole safetensors file of 16 GiB, nearly all of it a hole."""
    header = json.dumps({"x": {"dtype": "U8", "shape": [HUGE], "data_offsets": [0, HUGE]}}).encode()
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + HUGE)


def test_ctrl_c_does_not_wait_for_a_large_fingerprint(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = shutil.copytree(base, tmp_path / "large")
    write_huge(large / "model.safetensors")

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TorchLoader, "_load_checkpoint", interrupt)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        load(large, options=Options(device={"": "cpu"}))
    assert time.monotonic() - begun < 3


def test_a_stopped_fingerprint_is_none(base: Path) -> None:
    with pytest.raises(CancelledError):
        fingerprint_files([base / "model.safetensors"], lambda: True)
