"""Quantised files against their own weights in float32, LoRAs merged, and files whose numbers are none."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from itx.doctor import quantisation
from itx.doctor.finding import Distance
from itx.doctor.quantisation import judge_merged
from itx.models.llama import twin
from tests.doctor.clinic import diagnose, find, status
from tests.support.ggufs import draw_lora, draw_tensors, move_tensors, write_lora, write_model

pytest.importorskip("llama_cpp")


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base in Q8_0, a LoRA on it, and a full tuning in F32."""
    folder = tmp_path_factory.mktemp("quantised")
    tensors = draw_tensors()
    write_model(folder / "base.gguf", tensors, quantised=True)
    write_lora(folder / "lora.gguf", draw_lora(tensors))
    write_model(folder / "full.gguf", move_tensors(tensors))
    return folder


def test_each_loss_is_measured_beside_the_floor(trio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = diagnose(trio / "base.gguf", f"lora={trio / 'lora.gguf'}", f"full={trio / 'full.gguf'}")
    kinds = {(each.kind, each.author): each for each in found.distances}
    assert kinds.keys() == {
        ("quantisation", "base"), ("quantisation", "lora"), ("merged", "lora"), ("tuning", "lora"), ("tuning", "full"),
    }  # fmt: skip
    assert kinds["merged", "lora"].kl_mean <= 1e-5 < kinds["tuning", "lora"].kl_mean
    assert kinds["quantisation", "base"].kl_mean < 0.1 * kinds["tuning", "lora"].kl_mean
    assert status(found, "merged", "lora") == status(found, "quantisation", "lora") == "pass"
    (finding,) = find(found, "quantisation", "base")
    assert "Q8_0 against its own weights in float32" in finding.reason
    assert "the same file token by token against chunks" in finding.reason
    assert [(floor.engine, floor.quantization) for floor in found.floors] == [("llama", "Q8_0"), ("llama", None)]
    assert find(found, "quantisation", "full") == []
    assert list(tmp_path.iterdir()) == []


def test_what_there_is_no_room_for_is_skipped_and_says_why(trio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(twin.shutil, "disk_usage", lambda folder: Usage)
    found = diagnose(trio / "base.gguf", f"lora={trio / 'lora.gguf'}")
    (skipped,) = (each for each in found.skipped if each.startswith("quantisation"))
    assert "base, lora" in skipped
    assert "0.0 GB are free" in skipped
    assert not found.failed
    assert find(found, "quantisation", "base") == find(found, "merged", "lora") == []


def test_no_memory_is_no_room(trio: Path) -> None:
    assert "of memory" in str(twin.find_lack(trio / "base.gguf", 1, 1000))
    assert twin.find_lack(trio / "base.gguf", 1, None) is None
    assert twin.find_lack(trio / "base.gguf", 2, 1 << 40) is None


def test_a_merge_that_lies_apart_warns() -> None:
    apart = Distance(kind="merged", author="lora", scorer="lora", kl_mean=2e-5, unshifted=1.0, positions=32)
    assert judge_merged(apart).status == "warn"


def test_a_shift_within_the_loss_warns(trio: Path) -> None:
    class Model:
        def __init__(self, name: str, quantization: str | None) -> None:
            self.name, self.quantization = name, quantization

    def measure(kind: str, author: str, kl: float) -> Distance:
        return Distance(kind=kind, author=author, scorer="base", kl_mean=kl, unshifted=1.0, positions=32)

    distances = [measure("quantisation", "base", 0.1), measure("tuning", "full", 0.05)]
    base, full, alike = Model("base", "Q4_0"), Model("full", "Q8_0"), Model("full", "Q4_0")
    assert [each.status for each in quantisation.judge_shifts(base, [full], distances)] == ["warn"]
    assert quantisation.judge_shifts(base, [alike], distances) == []
    assert quantisation.judge_shifts(base, [full], [*distances[:1], measure("tuning", "full", 0.2)]) == []


@pytest.mark.parametrize("quantised", [False, True])
def test_numbers_that_are_none_fail(tmp_path: Path, quantised: bool) -> None:
    tensors = draw_tensors()
    tensors["blk.1.ffn_up.weight"][3, 5] = np.nan
    with np.errstate(invalid="ignore"):
        path = write_model(tmp_path / "a.gguf", tensors, quantised=quantised)
    base = write_model(tmp_path / "base.gguf", draw_tensors(), quantised=quantised)
    found = diagnose(base, path)
    (finding,) = find(found, "numbers", "t0")
    assert (finding.status, "blk.1.ffn_up.weight" in finding.reason) == ("fail", True)
    assert status(found, "numbers", "base") == "pass"
