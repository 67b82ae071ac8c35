"""Hub ids, without the hub: what the cache lacks, what the network refuses, and models that are pickled only."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file

from itx.errors import WeightsError
from itx.models.torch import hub
from tests.models.loading import load
from tests.support.llamas import write_adapter, write_llama

BASE = "somebody/old-model"
ADAPTER = "somebody/old-adapter"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the hub: repositories are folders, and a download leaves out what the patterns do."""

    def download(name: str, allow_patterns: list[str]) -> str:
        target = tmp_path / "cache" / name
        target.mkdir(parents=True, exist_ok=True)
        for pattern in allow_patterns:
            for file in (tmp_path / name).glob(pattern):
                shutil.copy(file, target)
        return str(target)

    def list_names(name: str) -> list[str]:
        return [file.name for file in (tmp_path / name).iterdir()]

    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(hub, "list_repo_files", list_names)
    monkeypatch.chdir(tmp_path)
    base = write_llama(tmp_path / BASE)
    write_adapter(base, tmp_path / ADAPTER)
    return tmp_path


def pickle(folder: Path, name: str) -> None:
    (file,) = folder.glob("*.safetensors")
    torch.save(load_file(file), folder / name)
    file.unlink()


def load_hub(base: str, *tuned: str, folder: Path) -> None:
    """Load ids as ids, though folders of these names are there (the stand-in's)."""
    hidden = folder / "hidden"
    hidden.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(hidden)
        load(base, *tuned)


def test_safetensors_load(repository: Path) -> None:
    load_hub(BASE, ADAPTER, folder=repository)


def test_a_pickled_model_is_refused_with_the_command_that_converts_it(repository: Path) -> None:
    """The command is run as it stands (the id being a folder here); the folder it writes loads."""
    pickle(repository / BASE, "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin") as caught:
        load_hub(BASE, folder=repository)
    assert not list((repository / "cache" / BASE).glob("*.bin"))
    assert BASE in caught.value.remedy
    words = shlex.split(caught.value.remedy.partition("python -c ")[2])
    subprocess.run([sys.executable, "-c", *words], check=True, capture_output=True)
    load("./old-model-safetensors")


def test_a_pickled_adapter_is_downloaded_into_a_folder_and_converted_there(repository: Path) -> None:
    pickle(repository / ADAPTER, "adapter_model.bin")
    with pytest.raises(WeightsError, match=r"adapter_model\.bin") as caught:
        load_hub(BASE, ADAPTER, folder=repository)
    download, _, convert = caught.value.remedy.partition(": ")[2].partition(" && ")
    assert download == f"hf download {ADAPTER} --local-dir ./old-adapter-safetensors"
    shutil.copytree(repository / ADAPTER, "old-adapter-safetensors")
    words = shlex.split(convert)
    assert words[:2] == ["python", "-c"]
    subprocess.run([sys.executable, "-c", *words[2:]], check=True, capture_output=True)
    load(repository / BASE, "./old-adapter-safetensors")


def test_nothing_is_converted_into_the_cache(repository: Path) -> None:
    """Another program has downloaded the pickled file already."""
    pickle(repository / BASE, "pytorch_model.bin")
    shutil.copytree(repository / BASE, repository / "cache" / BASE)
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin") as caught:
        load_hub(BASE, folder=repository)
    assert "cache" not in caught.value.remedy


def test_a_download_without_weights_is_to_be_completed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / BASE / "model.safetensors").unlink()

    def refuse(name: str) -> list[str]:
        raise OSError("offline")

    monkeypatch.setattr(hub, "list_repo_files", refuse)
    with pytest.raises(WeightsError, match="holds no model") as caught:
        load_hub(BASE, folder=repository)
    assert f"hf download {BASE}" in caught.value.remedy


def test_a_connection_that_breaks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever library the hub's client speaks HTTP with: its errors are no OSError."""
    kind = HfHubHTTPError.__bases__[0]

    def breaks(*arguments: object, **options: object) -> None:
        raise kind("peer closed connection")

    monkeypatch.setattr(hub, "snapshot_download", breaks)
    with pytest.raises(WeightsError, match="cannot be downloaded: peer closed"):
        load("somebody/some-model")


def test_a_hub_id_offline_names_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="somebody/no-such-model") as caught:
        load("somebody/no-such-model")
    assert "hf download somebody/no-such-model" in caught.value.remedy
