"""Memory needed and memory there."""

from __future__ import annotations

from pathlib import Path

import pytest

from itx.doctor.memory import check_memory, count_bytes, sum_needed
from tests.doctor.clinic import edit
from tests.doctor.test_folders import read

GIB = 2**30


@pytest.mark.parametrize(
    ("needed", "free", "expected"),
    [(1, 10, "pass"), (9, 10, "warn"), (10, 10, "warn"), (11, 10, "fail"), (11, None, "pass")],
)
def test_needed_against_free(needed: int, free: int | None, expected: str) -> None:
    (finding,) = check_memory({"cpu": needed * GIB}, {"cpu": None if free is None else free * GIB})
    assert finding.status == expected


def test_each_device_is_judged_by_itself() -> None:
    found = check_memory({"cpu": GIB, "cuda:0": 9 * GIB}, {"cpu": 4 * GIB, "cuda:0": 8 * GIB})
    assert [(each.status, "cuda:0" in each.reason) for each in found] == [("pass", False), ("fail", True)]


def test_bytes_are_those_of_the_dtype_computed_in(healthy: Path) -> None:
    from transformers import AutoModelForCausalLM

    base, lora = read(healthy / "base", "base"), read(healthy / "lora")
    values = sum(value.numel() for value in AutoModelForCausalLM.from_pretrained(healthy / "base").parameters())
    assert count_bytes(base, None, on_host=True) == 4 * values
    assert count_bytes(base, "bfloat16", on_host=True) == 2 * values
    assert count_bytes(base, None, on_host=False) == 4 * values
    assert count_bytes(lora, None, on_host=True) < values
    needed = sum_needed([base, lora, read(healthy / "full", "t1")], {"base": "cpu", "t0": "cpu", "t1": "cuda:0"}, None)
    assert needed == {"cpu": 4 * values + count_bytes(lora, None, on_host=True), "cuda:0": 4 * values}


def test_quantised_weights_take_what_their_file_holds(healthy: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(healthy / "base", tmp_path / "base"))
    stored = count_bytes(read(folder), None, on_host=False)
    edit(folder / "config.json", quantization_config={"quant_method": "gptq"})
    assert count_bytes(read(folder), None, on_host=True) == count_bytes(read(folder), "bf16", on_host=True) == stored
