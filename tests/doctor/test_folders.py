"""What the doctor finds in folders alone: numbers, an adapter's base and shapes, settings, damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from itx.doctor.folders import (
    check_adapter_base,
    check_adapter_shapes,
    check_architecture,
    check_beside,
    check_effect_on_disk,
    check_generation,
    check_numbers,
)
from itx.doctor.subject import Subject, read_references, read_subject
from itx.doctor.tensors import count_broken, is_zero, read_header
from itx.errors import UsageError, WeightsError
from itx.models.reference import parse_reference
from tests.doctor.clinic import change, edit
from tests.support.llamas import Shape, write_adapter, write_llama

Copy = Callable[[str], Path]


def read(folder: Path, name: str = "t0") -> Subject:
    return read_subject(parse_reference(str(folder), name, {}), trust_remote_code=False)[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_counted_as_torch_counts_them(
    tmp_path: Path, dtype: torch.dtype, bad: float
) -> None:
    values = torch.randn(7, 5).to(dtype)
    values[0, 0] = torch.finfo(dtype).max
    values[0, 1] = torch.finfo(dtype).smallest_normal / 2
    ill = values.clone()
    ill[3, 2:] = bad
    save_file({"well": values, "ill": ill, "x": torch.zeros(1)}, tmp_path / "a.safetensors")
    found = {tensor.name: count_broken(tensor) for tensor in read_header(tmp_path / "a.safetensors")}
    assert found == {"well": 0, "ill": int((~ill.isfinite()).sum()), "x": 0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_zeros_of_either_sign_are_zero(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.zeros(9).to(dtype)
    if dtype.is_floating_point:
        values[2] = -0.0
    one = values.clone()
    one[8] = 1
    save_file({"zero": values, "one": one, "none": torch.zeros(0)}, tmp_path / "a.safetensors")
    found = {tensor.name: is_zero(tensor) for tensor in read_header(tmp_path / "a.safetensors")}
    assert found == {"zero": True, "one": False, "none": True}


def test_a_header_says_what_safetensors_says(healthy: Path) -> None:
    from safetensors import safe_open

    file = healthy / "base" / "model.safetensors"
    with safe_open(str(file), framework="pt") as opened:
        names = list(opened.keys())
        expected = {name: tuple(opened.get_slice(name).get_shape()) for name in names}
    assert {tensor.name: tensor.shape for tensor in read_header(file)} == expected


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_file_cut_short_is_refused(healthy: Path, tmp_path: Path, keep: int) -> None:
    whole = (healthy / "base" / "model.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:keep])
    with pytest.raises(WeightsError):
        read_header(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "data_offsets": [0, 4]},
        [],
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, entry: object) -> None:
    header = json.dumps({"a": entry}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(WeightsError):
        read_header(tmp_path / "a.safetensors")


def test_a_weight_that_is_no_number_fails(copy: Copy, healthy: Path) -> None:
    assert [each.status for each in check_numbers(read(healthy / "full"))] == ["pass"]
    full = copy("full")

    def spoil(_: str, value: torch.Tensor) -> torch.Tensor:
        value.view(-1)[:3] = float("nan")
        return value

    change(full / "model.safetensors", spoil, only="layers.1.mlp.up_proj")
    (finding,) = check_numbers(read(full))
    assert finding.status == "fail"
    assert "3 weights in 1 tensors" in finding.reason
    assert "layers.1.mlp.up_proj" in finding.reason


def test_an_adapter_of_zeros_or_without_scale_fails(copy: Copy, healthy: Path) -> None:
    assert [each.status for each in check_effect_on_disk(read(healthy / "lora"))] == ["pass"]
    lora = copy("lora")
    edit(lora / "adapter_config.json", lora_alpha=0)
    assert "lora_alpha is 0" in check_effect_on_disk(read(lora))[0].reason
    edit(lora / "adapter_config.json", lora_alpha=8)
    change(lora / "adapter_model.safetensors", lambda name, value: value * 0, only="lora_B")
    (finding,) = check_effect_on_disk(read(lora))
    assert finding.status == "fail"
    assert "zero" in finding.reason


def test_an_adapter_on_its_own_base_passes_by_folder_and_by_content(copy: Copy, healthy: Path) -> None:
    base, lora = read(healthy / "base", "base"), read(healthy / "lora")
    (finding,) = check_adapter_base(lora, base)
    assert (finding.status, "which is the base given" in finding.reason) == ("pass", True)
    (finding,) = check_adapter_base(lora, read(copy("base"), "base"))
    assert (finding.status, "same weights" in finding.reason) == ("pass", True)


def test_an_adapter_on_other_weights_of_the_same_shape_fails(healthy: Path) -> None:
    (finding,) = check_adapter_base(read(healthy / "lora"), read(healthy / "full", "base"))
    assert finding.status == "fail"
    assert str(healthy / "base") in finding.remedy


def test_a_base_of_another_name_that_is_not_there_warns(copy: Copy, healthy: Path) -> None:
    lora = copy("lora")
    base = read(healthy / "base", "base")
    for named, expected in (("owner/other", "warn"), ("owner/base", "pass"), (None, "warn")):
        edit(lora / "adapter_config.json", base_model_name_or_path=named)
        (finding,) = check_adapter_base(read(lora), base)
        assert finding.status == expected, named


def test_an_adapter_for_another_width_fails(healthy: Path, tmp_path: Path) -> None:
    wide = write_llama(tmp_path / "wide", shape=Shape(hidden=64))
    base = read(healthy / "base", "base")
    (finding,) = check_adapter_shapes(read(write_adapter(wide, tmp_path / "other")), base)
    assert finding.status == "fail"
    assert "do not fit" in finding.reason
    (finding,) = check_adapter_shapes(read(healthy / "lora"), base)
    assert (finding.status, "All 14 pairs" in finding.reason) == ("pass", True)


def test_biases_and_embeddings_beside_an_adapter_warn(copy: Copy, healthy: Path) -> None:
    base = read(healthy / "base", "base")
    assert [each.status for each in check_beside(read(healthy / "lora"), base)] == ["pass"]
    file = copy("lora") / "adapter_model.safetensors"
    from safetensors.torch import load_file

    own = load_file(file)
    for name, shape, said in (
        ("layers.0.self_attn.q_proj.bias", (48,), "biases (1)"),
        ("embed_tokens.weight", (410, 48), "resized from 400 to 410"),
        ("norm.weight", (48,), "1 whole tensors"),
    ):
        save_file(own | {f"base_model.model.model.{name}": torch.ones(shape)}, file)
        (finding,) = check_beside(read(file.parent), base)
        assert finding.status == "warn"
        assert said in finding.reason


def test_a_checkpoint_of_another_size_warns(healthy: Path, tmp_path: Path) -> None:
    base = read(healthy / "base", "base")
    assert [each.status for each in check_architecture(read(healthy / "full"), base)] == ["pass"]
    (finding,) = check_architecture(read(write_llama(tmp_path / "deep", shape=Shape(layers=3))), base)
    assert (finding.status, "num_hidden_layers is 3" in finding.reason) == ("warn", True)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "pass"),
        ({"temperature": 0.6, "do_sample": True, "top_p": 0.9}, "pass"),
        ({"repetition_penalty": 1.0, "num_beams": 1, "suppress_tokens": []}, "pass"),
        ({"repetition_penalty": 1.1}, "warn"),
        ({"no_repeat_ngram_size": 3}, "warn"),
        ({"suppress_tokens": [5, 6]}, "warn"),
        ({"forced_bos_token_id": 4}, "warn"),
        ({"min_new_tokens": 4}, "warn"),
    ],
)
def test_settings_that_change_greedy_decoding_warn(copy: Copy, settings: dict[str, object], expected: str) -> None:
    full = copy("full")
    edit(full / "generation_config.json", **settings)
    (finding,) = check_generation(read(full))
    assert finding.status == expected
    assert expected == "pass" or next(iter(settings)) in finding.reason


def test_damage_is_a_finding_and_the_rest_is_read(copy: Copy) -> None:
    full = copy("full")
    whole = (full / "model.safetensors").read_bytes()
    (full / "model.safetensors").write_bytes(whole[:-100])
    (full / "generation_config.json").write_text("{")
    subject, findings = read_subject(parse_reference(str(full), "t0", {}), trust_remote_code=False)
    assert {(each.check, each.status) for each in findings} == {("weights", "fail"), ("config", "fail")}
    assert subject.config["model_type"] == "llama"


def test_a_folder_that_is_not_there_is_a_finding_and_nonsense_is_wrong_usage(healthy: Path) -> None:
    references, findings = read_references(str(healthy / "base"), ["./gone", f"x={healthy / 'lora'}"], {})
    assert [reference.name for reference in references] == ["base", "x"]
    assert [(each.check, each.status, each.subject) for each in findings] == [("found", "fail", "tuned1")]
    with pytest.raises(UsageError):
        read_references(str(healthy / "base"), ["no model at all!"], {})


def test_json_that_is_no_object_is_a_finding(copy: Copy) -> None:
    full = copy("full")
    (full / "config.json").write_text(json.dumps([1]))
    _, findings = read_subject(parse_reference(str(full), "t0", {}), trust_remote_code=False)
    assert ("config", "fail") in {(each.check, each.status) for each in findings}
