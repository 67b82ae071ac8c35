"""The checks at load: what lets two models be compared, and what must be said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from itx.errors import MismatchError
from itx.models.checks import check_context, check_effect, check_ids
from itx.models.torch.engine import TorchEngine
from tests.models.loading import load
from tests.support.llamas import Shape, build_tokenizer, build_wide_tokenizer, write_adapter, write_llama, write_tuned


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("checks") / "base")


def check(base: Path, *tuned: Path) -> list[str]:
    engines: list[TorchEngine] = load(base, *tuned)[0]
    return check_ids(engines[0], engines[1:])


def test_models_of_one_family_pass(base: Path, tmp_path: Path) -> None:
    assert check(base, write_tuned(base, tmp_path / "full"), write_adapter(base, tmp_path / "lora")) == []


def test_another_tokenizer_is_refused_where_it_first_differs(base: Path, tmp_path: Path) -> None:
    other = write_llama(tmp_path / "other", tokenizer=build_tokenizer(size=330))
    with pytest.raises(MismatchError, match="do not share a tokenizer"):
        check(base, other)


def test_ids_that_no_probe_uses_are_compared_too(base: Path, tmp_path: Path) -> None:
    """Two long pieces change places: no probe text has them, and their number is the same."""
    full = write_tuned(base, tmp_path / "full")
    file = full / "tokenizer.json"
    data = json.loads(file.read_text())
    vocabulary = data["model"]["vocab"]
    one, other = sorted((word for word in vocabulary if word[0] != "<"), key=len)[-2:]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    file.write_text(json.dumps(data))
    with pytest.raises(MismatchError, match="The id"):
        check(base, full)


def test_added_tokens_and_longer_heads_are_said(base: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|end|>"]}, replace_extra_special_tokens=False)
    longer = write_llama(tmp_path / "longer", shape=Shape(vocabulary=448), tokenizer=tokenizer)
    warnings = check(base, longer)
    assert any("1 added tokens" in warning for warning in warnings)
    assert any("448 logit columns" in warning and "common 400" in warning for warning in warnings)


def add(folder: Path, *markers: str) -> Path:
    """Write a Llama of 5,000 ids to which markers are added."""
    tokenizer = build_wide_tokenizer(5000)
    tokenizer.add_special_tokens({"additional_special_tokens": list(markers)}, replace_extra_special_tokens=False)
    return write_llama(folder, tokenizer=tokenizer, shape=Shape(layers=1))


def test_a_marker_at_another_id_is_refused(tmp_path: Path) -> None:
    """Beyond the ids of any text, where both sides have as many: base's marker has moved by one."""
    base = add(tmp_path / "base", "<|pad|>", "<|im_start|>", "<|im_end|>")
    tuned = add(tmp_path / "tuned", "<|im_start|>", "<|im_end|>", "<|tool|>")
    with pytest.raises(MismatchError, match=r"The id 5000 is '<\|pad\|>' for base and '<\|im_start\|>' for t0"):
        check(base, tuned)


def test_markers_added_beside_the_same_file_are_compared(tmp_path: Path) -> None:
    """The config adds them; the tokenizer's own file, and so its fingerprint, is the same."""
    base, tuned = write_llama(tmp_path / "base"), write_llama(tmp_path / "tuned", seed=1)
    for folder, markers in ((base, ("<|a|>", "<|b|>")), (tuned, ("<|b|>", "<|a|>"))):
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings["extra_special_tokens"] = [*settings.get("extra_special_tokens", []), *markers]
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    one, other = (load(folder)[0][0].vocabulary for folder in (base, tuned))
    assert one.fingerprint == other.fingerprint
    with pytest.raises(MismatchError, match="The id"):
        check(base, tuned)


def test_a_reserved_place_that_got_a_name_is_said(tmp_path: Path) -> None:
    base = add(tmp_path / "base", "<|reserved_0|>", "<|reserved_1|>")
    tuned = add(tmp_path / "tuned", "<|im_start|>", "<|reserved_1|>")
    renamed = [warning for warning in check(base, tuned) if "other names" in warning]
    assert len(renamed) == 1
    assert "5000 ('<|reserved_0|>' for base and '<|im_start|>' for t0)" in renamed[0]


def test_another_end_of_response_is_said(base: Path, tmp_path: Path) -> None:
    full = write_tuned(base, tmp_path / "full")
    settings = json.loads((full / "generation_config.json").read_text())
    settings["eos_token_id"] = [2, 7]
    (full / "generation_config.json").write_text(json.dumps(settings))
    (warning,) = check(base, full)
    assert "ends its responses" in warning
    assert "(7)" in warning


def test_other_dtypes_and_quantisations_are_said(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = load(base, write_tuned(base, tmp_path / "full"))[0]
    assert check_ids(engines[0], engines[1:]) == []
    monkeypatch.setattr(engines[1], "dtype", "bfloat16")
    (warning,) = check_ids(engines[0], engines[1:])
    assert "computes in bfloat16 and base in float32" in warning
    monkeypatch.setattr(engines[0], "quantization", "gptq")
    (warning,) = check_ids(engines[0], engines[1:])
    assert "in bfloat16 and base in gptq: what quantisation loses" in warning


def probe(base: Path, *tuned: Path) -> list[str]:
    engines, warnings = load(base, *tuned)
    assert warnings == []
    return check_effect(engines[0], engines[1:], engines[0].vocabulary.encode("<s><|user|>Hello"))


def write_lora(base: Path, folder: Path, strength: float = 0.1, **settings: Any) -> Path:
    """Write an adapter on the queries whose up-projections, and all it saves whole, are moved by noise."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    options = {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM"} | settings
    wrapped = get_peft_model(model, LoraConfig(**options))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in wrapped.named_parameters():
            if value.requires_grad and ("modules_to_save" in name or "lora_B" in name):
                value.add_(torch.randn_like(value) * (strength if "lora_B" in name else 0.1))
    wrapped.save_pretrained(folder)
    return folder


def test_the_same_weights_twice_are_said(base: Path) -> None:
    (warning,) = probe(base, base)
    assert "same weights" in warning


def test_a_tuning_that_changes_nothing_is_said_of_it_alone(base: Path, tmp_path: Path) -> None:
    """By what it computes: matrices of zeros, a scale of zero, and a copy of base that was saved again."""
    zeros = write_lora(base, tmp_path / "zeros", strength=0)
    unscaled = write_lora(base, tmp_path / "unscaled", lora_alpha=0)
    copied = write_tuned(base, tmp_path / "copied", strength=0)
    (copied / "config.json").write_text((copied / "config.json").read_text() + "\n")
    real = write_lora(base, tmp_path / "real")
    warnings = probe(base, zeros, real, unscaled, copied)
    assert [warning.split()[0] for warning in warnings] == ["t0", "t2", "t3"]
    assert all("changes nothing" in warning for warning in warnings)


@pytest.mark.parametrize("saved", ["lm_head", "embed_tokens", "norm"])
def test_a_module_saved_whole_is_a_change(base: Path, tmp_path: Path, saved: str) -> None:
    """Beside up-projections of zeros."""
    assert probe(base, write_lora(base, tmp_path / "saved", strength=0, modules_to_save=[saved])) == []


def test_a_probe_is_longer_than_a_short_context(base: Path, tmp_path: Path) -> None:
    """Queries alone change nothing at the first id, which attends to itself."""
    engines, _ = load(base, write_lora(base, tmp_path / "real"))
    assert check_effect(engines[0], engines[1:], [5]) == []


def test_bos_within_a_context_is_said(base: Path) -> None:
    (engine,), _ = load(base)
    engine.vocabulary.adds_bos = True
    assert check_context(engine, [1, 5, 6]) == []
    assert "BOS" in check_context(engine, [1, 5, 1])[0]
