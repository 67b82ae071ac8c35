"""The whole examination on tiny folders: each illness is found, the healthy pass, and one failure stops nothing."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import itx.doctor.examination
import itx.models.load
from itx.demo import folder
from tests.doctor.clinic import change, diagnose, edit, find, status
from tests.support.llamas import (
    TEMPLATE,
    Shape,
    build_tokenizer,
    build_wide_tokenizer,
    write_adapter,
    write_llama,
    write_tuned,
)

Copy = Callable[[str], Path]


def write_template(model: Path, text: str | None) -> Path:
    """Give a folder another chat template, or none."""
    (model / "chat_template.jinja").unlink(missing_ok=True)
    edit(model / "tokenizer_config.json", chat_template=None)
    if text is not None:
        (model / "chat_template.jinja").write_text(text)
    return model


def test_the_demo_passes_everything() -> None:
    found = diagnose("demo:base", "lora=demo:lora", "full=demo:full",
                     resolved={f"demo:{name}": folder(name) for name in ("base", "lora", "full")})  # fmt: skip
    assert [each for each in found.findings if each.status != "pass"] == []
    assert found.skipped == []
    assert found.models == {"base": "demo:base", "lora": "demo:lora", "full": "demo:full"}
    assert [(floor.dtype, floor.kl_mean < 1e-5, floor.unshifted) for floor in found.floors] == [("float32", True, 1.0)]
    kinds = {(each.kind, each.author, each.scorer): each.kl_mean for each in found.distances}
    assert kinds.keys() == {("tuning", "lora", "base"), ("tuning", "full", "base"), ("merged", "lora", "lora")}
    assert kinds["merged", "lora", "lora"] < 1e-5 < 0.01 < kinds["tuning", "lora", "base"]


def test_a_healthy_trio_has_no_failure(healthy: Path) -> None:
    found = diagnose(healthy / "base", healthy / "lora", healthy / "full")
    assert not found.failed
    for check in ("weights", "numbers", "loading", "columns", "logits", "template-markers"):
        assert [status(found, check, name) for name in ("base", "t0", "t1")] == ["pass"] * 3, check
    for check in ("tokenizer", "added-tokens", "eos", "effect", "precision", "shift", "chat-template"):
        assert [status(found, check, name) for name in ("t0", "t1")] == ["pass"] * 2, check
    assert status(found, "memory", "all") == "pass"


def test_a_tuning_that_changes_nothing_fails(healthy: Path, copy: Copy) -> None:
    lora = copy("lora")
    change(lora / "adapter_model.safetensors", lambda name, value: value * 0, only="lora_B")
    found = diagnose(healthy / "base", lora, healthy / "base", healthy / "full")
    assert [status(found, "effect", name) for name in ("t0", "t1", "t2")] == ["fail", "fail", "pass"]
    assert "changes nothing" in find(found, "effect", "t0")[0].reason
    assert "same weights" in find(found, "effect", "t1")[0].reason
    assert find(found, "shift", "t2") and not find(found, "shift", "t0")


def test_an_adapter_of_another_base_fails_and_the_others_are_looked_at(healthy: Path, tmp_path: Path) -> None:
    wide = write_llama(tmp_path / "wide", shape=Shape(hidden=64))
    found = diagnose(healthy / "base", write_adapter(wide, tmp_path / "other"), healthy / "full")
    assert status(found, "loading", "t0") == status(found, "adapter-shapes", "t0") == "fail"
    assert status(found, "adapter-base", "t0") == "fail"
    assert status(found, "loading", "t1") == status(found, "effect", "t1") == status(found, "logits", "base") == "pass"


def test_another_tokenizer_fails_where_it_first_differs(healthy: Path, tmp_path: Path) -> None:
    other = write_llama(tmp_path / "other", tokenizer=build_tokenizer(size=330))
    found = diagnose(healthy / "base", other, healthy / "full")
    (finding,) = find(found, "tokenizer", "t0")
    assert finding.status == "fail"
    assert "after " in finding.reason
    assert status(found, "tokenizer", "t1") == status(found, "shift", "t1") == "pass"
    assert find(found, "shift", "t0") == []
    assert status(found, "logits", "t0") == "pass"


def test_another_tokenizer_warns_where_bytes_align_it(healthy: Path, tmp_path: Path) -> None:
    other = write_llama(tmp_path / "other", tokenizer=build_tokenizer(size=330))
    found = diagnose(healthy / "base", other, healthy / "full", align="bytes")
    (finding,) = find(found, "tokenizer", "t0")
    assert finding.status == "warn"
    assert "after " in finding.reason
    assert "--align bytes" in finding.reason
    assert not found.failed
    assert any("shift of t0" in skipped for skipped in found.skipped)
    assert status(found, "tokenizer", "t1") == status(found, "shift", "t1") == "pass"


def test_a_base_with_fewer_ids_can_be_aligned_by_bytes(healthy: Path, tmp_path: Path) -> None:
    small = write_llama(tmp_path / "small", shape=Shape(vocabulary=330), tokenizer=build_tokenizer(size=330))
    assert diagnose(small, healthy / "full").failed
    assert not diagnose(small, healthy / "full", align="bytes").failed


def test_added_tokens_and_padding_warn(healthy: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(healthy / "base")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|new|>"]}, replace_extra_special_tokens=False)
    longer = write_llama(tmp_path / "longer", shape=Shape(vocabulary=448), tokenizer=tokenizer)
    found = diagnose(healthy / "base", longer)
    (finding,) = find(found, "added-tokens")
    assert (finding.status, "'<|new|>' (400)" in finding.reason) == ("warn", True)
    (finding,) = find(found, "columns")
    assert (finding.status, "448" in finding.reason, "common 400" in finding.reason) == ("warn", True, True)


def test_padding_alike_on_both_sides_passes_and_its_weight_is_said(tmp_path: Path) -> None:
    base = write_llama(tmp_path / "base", shape=Shape(vocabulary=448))
    found = diagnose(base, write_tuned(base, tmp_path / "full"))
    assert status(found, "columns") == "pass"
    assert "48 of 448" in find(found, "columns")[0].reason
    # Random weights put some probability on every column: that is no padding that was trained away.
    assert status(found, "logits") == "warn"
    assert "no token" in find(found, "logits")[0].reason


def test_a_context_of_an_id_that_base_lacks_fails(healthy: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(healthy / "base")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|new|>"]}, replace_extra_special_tokens=False)
    tokenizer.chat_template = "<|new|>" + TEMPLATE
    longer = write_llama(tmp_path / "longer", shape=Shape(vocabulary=448), tokenizer=tokenizer)
    found = diagnose(healthy / "base", longer)
    assert [each.status for each in find(found, "context", "base")] == ["fail"]
    assert status(found, "template-markers", "base") == "warn"
    assert "'<|new|>' as" in find(found, "template-markers", "base")[0].reason
    assert not find(diagnose(healthy / "base", longer, context="plain"), "context", "base")


def test_other_ends_of_responses_warn(healthy: Path, copy: Copy) -> None:
    full = copy("full")
    edit(full / "generation_config.json", eos_token_id=[2, 7])
    found = diagnose(healthy / "base", full)
    assert status(found, "eos") == "warn"
    assert "(7)" in find(found, "eos")[0].reason


def test_a_turn_that_does_not_end_the_response_warns(healthy: Path, copy: Copy) -> None:
    full = write_template(
        copy("full"), TEMPLATE.replace("message['content'] }}\n", "message['content'] }}<|system|>\n")
    )
    found = diagnose(healthy / "base", full)
    (finding,) = find(found, "turn-end")
    assert (finding.status, "<|system|> (5)" in finding.reason) == ("warn", True)
    healed = write_template(full, TEMPLATE.replace("message['content'] }}\n", "message['content'] }}</s>\n"))
    assert status(diagnose(healthy / "base", healed), "turn-end") == "pass"


def test_no_template_fails_another_one_warns_a_broken_one_fails(healthy: Path, copy: Copy) -> None:
    base, full, lora = write_template(copy("base"), None), write_template(copy("full"), None), healthy / "lora"
    found = diagnose(base, full)
    assert status(found, "chat-template", "all") == "fail"
    assert "chatml" in find(found, "chat-template", "all")[0].remedy
    assert status(found, "noise-floor", "base") == status(found, "effect") == "pass"
    assert status(diagnose(base, full, chat_template="alpaca"), "chat-template", "all") == "pass"
    assert status(diagnose(healthy / "base", full), "chat-template") == "warn"
    assert status(diagnose(healthy / "base", lora, full), "chat-template", "t1") == "warn"
    write_template(full, "{{ messages[0].content }}!")
    found = diagnose(healthy / "base", full)
    assert status(found, "chat-template", "base") == "warn"
    write_template(full, "{% if %}")
    assert status(diagnose(healthy / "base", full), "context", "all") == "fail"
    write_template(full, "Say something.")
    found = diagnose(healthy / "base", full)
    assert "leaves out" in find(found, "context", "all")[0].reason


def test_a_broken_context_of_base_fails_and_the_rest_is_looked_at(healthy: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jinja").write_text("{% if %}")
    found = diagnose(healthy / "base", healthy / "full", context=str(tmp_path / "broken.jinja"))
    assert [each.status for each in find(found, "context", "base")] == ["fail"]
    assert status(found, "effect") == status(found, "chat-template") == "pass"


def test_two_bos_warn_and_one_passes(healthy: Path, copy: Copy) -> None:
    assert status(diagnose(healthy / "base", healthy / "full"), "bos") == "pass"
    full = write_template(copy("full"), "{{ bos_token }}" + TEMPLATE)
    found = diagnose(healthy / "base", full)
    assert (status(found, "bos"), "twice" in find(found, "bos")[0].reason) == ("warn", True)


def test_markers_that_are_no_tokens_warn(healthy: Path) -> None:
    found = diagnose(healthy / "base", healthy / "full", chat_template="chatml")
    assert status(found, "template-markers", "base") == status(found, "template-markers", "t0") == "warn"
    assert "'<|im_start|>' as" in find(found, "template-markers", "base")[0].reason
    assert status(diagnose(healthy / "base", healthy / "full", chat_template="plain"), "template-markers") == "pass"


@pytest.mark.parametrize("on_disk", [True, False])
def test_numbers_that_are_none_fail(healthy: Path, copy: Copy, on_disk: bool) -> None:
    """NaN in a weight, and a weight so large that float32 overflows where it is used."""
    full = copy("full")
    value = float("nan") if on_disk else 3e38
    change(full / "model.safetensors", lambda name, weight: weight.fill_(value), only="lm_head")
    found = diagnose(healthy / "base", full)
    assert status(found, "logits") == "fail"
    assert status(found, "numbers") == ("fail" if on_disk else "pass")
    assert status(found, "logits", "base") == status(found, "noise-floor", "base") == "pass"


def test_a_generation_config_that_penalises_warns(healthy: Path, copy: Copy) -> None:
    full = copy("full")
    edit(full / "generation_config.json", repetition_penalty=1.3)
    found = diagnose(healthy / "base", full)
    assert (status(found, "generation-config"), found.failed) == ("warn", False)


def test_a_merge_is_recognised_and_one_gone_wrong_fails(healthy: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    tokenizer = AutoTokenizer.from_pretrained(healthy / "base")

    def merge(target: Path, times: int, dtype: torch.dtype = torch.float32) -> Path:
        model: Any = AutoModelForCausalLM.from_pretrained(healthy / "base", dtype=torch.float32)
        for _ in range(times):
            model = PeftModel.from_pretrained(model, healthy / "lora").merge_and_unload()
        model.to(dtype).save_pretrained(target)
        tokenizer.save_pretrained(target)
        return target

    once, twice = merge(tmp_path / "once", 1), merge(tmp_path / "twice", 2)
    rounded = merge(tmp_path / "rounded", 1, torch.bfloat16)
    found = diagnose(healthy / "base", healthy / "lora", once, twice, rounded, healthy / "full")
    assert [status(found, "merged", name) for name in ("t0", "t1", "t2", "t3")] == ["pass", "pass", "fail", "warn"]
    assert find(found, "merged", "t4") == []


def test_an_adapter_merged_in_memory_leaves_the_base_as_it_was(healthy: Path) -> None:
    from itx.models.torch.merging import merge_adapter
    from tests.models.loading import load

    (base, lora), _ = load(healthy / "base", healthy / "lora")
    ids = base.vocabulary.encode("<s>How do I bake bread?")

    def feed(engine: Any) -> torch.Tensor:
        return torch.as_tensor(engine.arithmetic.export(engine.stream().extend(ids, keep=len(ids))))

    before, attached = feed(base), feed(lora)
    merged = feed(merge_adapter(lora))
    assert torch.equal(feed(base), before) and torch.equal(feed(lora), attached)
    assert torch.allclose(merged, attached, atol=1e-3) and not torch.allclose(merged, before, atol=1e-1)


def test_other_precision_and_its_floor_are_said(healthy: Path) -> None:
    found = diagnose(healthy / "base", healthy / "full", dtype="bfloat16")
    assert [floor.dtype for floor in found.floors] == ["bfloat16"]
    assert found.floors[0].kl_mean > 0
    assert status(found, "precision") == "pass"


def test_too_little_memory_fails_and_nothing_is_loaded(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(itx.doctor.examination, "read_free_memory", lambda: 1000)
    monkeypatch.setattr(itx.doctor.examination, "load_what_can_be", lambda *_: pytest.fail("loaded"))
    found = diagnose(healthy / "base", healthy / "lora")
    assert status(found, "memory", "all") == "fail"
    assert any("not enough memory" in skipped for skipped in found.skipped)
    assert status(found, "tokenizer") == status(found, "effect") == "pass"


def test_a_missing_engine_is_said_with_the_install_line(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        itx.models.load, "find_spec", lambda name: None if name == "peft" else importlib.util.find_spec(name)
    )
    found = diagnose(healthy / "base", healthy / "lora")
    (finding,) = find(found, "engine", "all")
    assert (finding.status, finding.remedy) == ("fail", "pip install 'itx[torch]'")
    assert status(found, "numbers") == status(found, "adapter-base") == "pass"


def test_a_base_that_cannot_be_loaded_stops_nothing_else(healthy: Path, copy: Copy) -> None:
    base = copy("base")
    whole = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(whole[:-8])
    found = diagnose(base, healthy / "full", healthy / "lora")
    assert status(found, "weights", "base") == "fail"
    assert status(found, "logits", "t0") == status(found, "tokenizer", "t0") == "pass"
    assert status(found, "loading", "t1") == "warn"
    assert status(found, "effect", "t1") == "pass"


def test_a_base_that_only_the_engine_refuses(healthy: Path, copy: Copy) -> None:
    base = copy("base")
    edit(base / "config.json", model_type="unheard_of", architectures=["Unheard"])
    found = diagnose(base, healthy / "full")
    assert status(found, "loading", "base") == "fail"
    assert status(found, "logits", "t0") == "pass"


def test_many_things_at_once_are_all_said(healthy: Path, copy: Copy, tmp_path: Path) -> None:
    full = write_template(copy("full"), "{% if %}")
    edit(full / "generation_config.json", repetition_penalty=2.0, eos_token_id=9)
    change(full / "model.safetensors", lambda name, weight: weight * float("nan"), only="norm")
    found = diagnose(healthy / "base", full, tmp_path / "gone")
    said = {(each.check, each.subject) for each in found.findings if each.status != "pass"}
    assert said >= {
        ("found", "t1"), ("numbers", "t0"), ("logits", "t0"), ("eos", "t0"), ("generation-config", "t0"),
        ("context", "all"),
    }  # fmt: skip


def test_a_wide_vocabularys_reserved_places_that_got_names_warn(tmp_path: Path) -> None:
    def write(target: Path, *markers: str) -> Path:
        tokenizer = build_wide_tokenizer(2000)
        tokenizer.add_special_tokens({"additional_special_tokens": list(markers)}, replace_extra_special_tokens=False)
        return write_llama(target, tokenizer=tokenizer, shape=Shape(layers=1))

    found = diagnose(write(tmp_path / "base", "<|r0|>", "<|r1|>"), write(tmp_path / "tuned", "<|im_start|>", "<|r1|>"))
    assert status(found, "tokenizer") == "pass"
    (finding,) = find(found, "added-tokens")
    assert (finding.status, "'<|im_start|>' (2000)" in finding.reason) == ("warn", True)


def test_the_tiny_engine_can_be_examined_too() -> None:
    """Nothing but the engine contract is needed."""
    found = diagnose("tiny:1", "tiny:1?tuned=0.3", "tiny:1")
    assert status(found, "effect", "t0") == "pass"
    assert status(found, "effect", "t1") == "fail"
    assert found.floors[0].kl_mean < 1e-5
    assert "padding" in find(found, "columns")[0].reason


def test_an_adapter_without_a_named_base_warns_when_copied_elsewhere(copy: Copy, healthy: Path) -> None:
    lora = copy("lora")
    shutil.copy(healthy / "base" / "tokenizer.json", lora / "tokenizer.json")
    edit(lora / "tokenizer_config.json", **json.loads((healthy / "base" / "tokenizer_config.json").read_text()))
    edit(lora / "adapter_config.json", base_model_name_or_path=None)
    found = diagnose(healthy / "base", lora)
    assert status(found, "adapter-base") == "warn"
    assert status(found, "tokenizer") == "pass"
