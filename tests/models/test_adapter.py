"""Adapters on shared weights: the base is untouched, the tuned side is what PEFT says, memory is there once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from itx.errors import MismatchError, UsageError, WeightsError
from itx.models.options import Options
from tests.models import architectures
from tests.models.loading import load
from tests.support.llamas import Shape, build_tokenizer, write_adapter, write_llama

IDS = list(range(7, 60))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with biases in attention and MLP."""
    folder = tmp_path_factory.mktemp("adapter") / "base"
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
        max_position_embeddings=512, vocab_size=len(tokenizer), attention_bias=True, mlp_bias=True,
        initializer_range=0.35,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("bias"):
                value.normal_(0, 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tune(base: Path, folder: Path, tokens: int = 0, **settings: Any) -> Path:
    """Write an adapter with every trainable tensor random; ``tokens`` are added to the embeddings first."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if tokens:
        model.resize_token_embeddings(model.config.vocab_size + tokens, mean_resizing=False)
    torch.manual_seed(3)
    options = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"} | settings
    wrapped = get_peft_model(model, LoraConfig(**options))
    with torch.no_grad():
        for name, value in wrapped.named_parameters():
            if value.requires_grad and "lora_A" not in name:
                value.add_(torch.randn_like(value) * 0.1)
    wrapped.save_pretrained(folder)
    return folder


def forward(model: Any, ids: list[int] = IDS) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0]


def plain_peft(base: Path, adapter: Path, tokens: int = 0) -> PeftModel:
    """The adapter as PEFT's users load it, on weights of its own."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if tokens:
        model.resize_token_embeddings(model.config.vocab_size + tokens, mean_resizing=False)
    return PeftModel.from_pretrained(model, adapter).eval()


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all linear": {"target_modules": "all-linear"},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "bias all": {"bias": "all"},
    "bias lora only": {"bias": "lora_only"},
    "a norm and the head saved": {"modules_to_save": ["norm", "lm_head"]},
    "embeddings adapted": {"target_modules": ["embed_tokens", "q_proj"]},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_both_sides_are_what_peft_says_to_the_bit(base: Path, tmp_path: Path, name: str) -> None:
    adapter = tune(base, tmp_path / "adapter", **SETTINGS[name])
    (alone,), _ = load(base)
    before = forward(alone.model)
    (shared, tuned), warnings = load(base, adapter)
    assert warnings == []
    peft = plain_peft(base, adapter)
    assert torch.equal(forward(tuned.model), forward(peft))
    assert torch.equal(forward(shared.model), before)
    assert not torch.equal(forward(tuned.model), before)
    if "bias" not in name and "saved" not in name:
        with peft.disable_adapter():
            assert torch.equal(forward(shared.model), forward(peft))


def test_the_sides_take_turns_without_touching_each_other(base: Path, tmp_path: Path) -> None:
    """Streams of both, extended alternately, give what each gives alone."""
    adapter = tune(base, tmp_path / "adapter", target_modules="all-linear", bias="all")
    (shared, tuned), _ = load(base, adapter)
    expected = [forward(engine.model) for engine in (shared, tuned)]
    streams = [engine.stream() for engine in (shared, tuned)]
    for start in range(0, len(IDS), 7):
        part = IDS[start : start + 7]
        for stream, want in zip(streams, expected, strict=True):
            assert torch.allclose(stream.extend(part, keep=len(part)), want[start : start + 7], atol=2e-4)


def test_weights_lie_in_memory_once(base: Path, tmp_path: Path) -> None:
    adapter = tune(base, tmp_path / "adapter")
    second = tune(base, tmp_path / "second", r=2)
    (shared, one, two), _ = load(base, adapter, second)

    def storages(model: PreTrainedModel) -> dict[int, int]:
        return {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in model.parameters()}

    held = storages(shared.model)
    for engine in (one, two):
        own = {place: size for place, size in storages(engine.model).items() if place not in held}
        assert sum(own.values()) < 0.05 * sum(held.values())


def test_several_adapters_on_one_base_do_not_meet(base: Path, tmp_path: Path) -> None:
    first = tune(base, tmp_path / "first", bias="all")
    second = tune(base, tmp_path / "second", target_modules=["v_proj"], modules_to_save=["lm_head"])
    (_, one, two), _ = load(base, first, second)
    assert torch.equal(forward(one.model), forward(plain_peft(base, first)))
    assert torch.equal(forward(two.model), forward(plain_peft(base, second)))


@pytest.mark.parametrize("family", architectures.FAMILIES)
@pytest.mark.parametrize("tokens", [1, 3])
def test_longer_embeddings_are_the_adapters_alone(family: str, tokens: int, tmp_path: Path) -> None:
    """Tied (GPT-2, Gemma 3) and untied (Llama): the base keeps its length and its logits."""
    base = architectures.write(family, tmp_path / "base")
    targets = ["c_attn"] if family == "gpt2" else ["q_proj"]
    adapter = tune(base, tmp_path / "adapter", tokens=tokens, target_modules=targets)
    (alone,), _ = load(base)
    before = forward(alone.model)
    (shared, tuned), _ = load(base, adapter)
    assert tuned.vocab_size == shared.vocab_size + tokens == before.shape[1] + tokens
    assert torch.equal(forward(shared.model), before)
    assert torch.equal(forward(tuned.model), forward(plain_peft(base, adapter, tokens)))
    added = [*IDS, shared.vocab_size + tokens - 1]
    assert torch.equal(forward(tuned.model, added), forward(plain_peft(base, adapter, tokens), added))


def test_an_adapter_equals_its_merged_checkpoint(base: Path, tmp_path: Path) -> None:
    adapter = tune(base, tmp_path / "adapter", bias="all", target_modules="all-linear")
    (_, tuned), _ = load(base, adapter)
    merged = plain_peft(base, adapter).merge_and_unload()
    assert torch.allclose(forward(tuned.model), forward(merged), atol=1e-4)


def test_another_name_of_the_base_is_a_warning(tmp_path: Path) -> None:
    base = write_llama(tmp_path / "base")
    adapter = write_adapter(base, tmp_path / "adapter", named="somebody/another-model")
    _, warnings = load(base, adapter)
    assert len(warnings) == 1
    assert "somebody/another-model" in warnings[0]


@pytest.mark.parametrize("shape", [Shape(hidden=64, intermediate=128), Shape(layers=3), Shape(kv_heads=4)])
def test_an_adapter_of_another_base_is_refused(tmp_path: Path, shape: Shape) -> None:
    base = write_llama(tmp_path / "base")
    other = write_llama(tmp_path / "other", shape=shape)
    adapter = write_adapter(other, tmp_path / "adapter")
    with pytest.raises(MismatchError, match="adapter") as caught:
        load(base, adapter)
    assert str(adapter) in caught.value.cause


def test_an_adapter_of_another_architecture_is_refused(tmp_path: Path) -> None:
    base = architectures.write("gpt2", tmp_path / "base")
    adapter = write_adapter(write_llama(tmp_path / "llama"), tmp_path / "adapter")
    with pytest.raises(MismatchError, match="adapter"):
        load(base, adapter)


def test_an_adapter_with_half_its_tensors_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = tune(base, tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({name: value for name, value in tensors.items() if "layers.0" in name}, file)
    with pytest.raises(MismatchError, match="tensors"):
        load(base, adapter)


def test_virtual_tokens_are_refused(base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    get_peft_model(model, config).save_pretrained(tmp_path / "prompt")
    with pytest.raises(WeightsError, match="virtual tokens"):
        load(base, tmp_path / "prompt")


def test_an_adapter_cannot_be_the_base(base: Path, tmp_path: Path) -> None:
    adapter = tune(base, tmp_path / "adapter")
    with pytest.raises(WeightsError, match="not a base"):
        load(adapter)


def test_an_adapter_stays_on_the_device_of_its_base(base: Path, tmp_path: Path) -> None:
    adapter = tune(base, tmp_path / "adapter")
    with pytest.raises(UsageError):
        load(base, adapter, options=Options(device={"": "cpu", "t0": "meta"}))


def test_a_broken_config_is_named(base: Path, tmp_path: Path) -> None:
    adapter = tune(base, tmp_path / "adapter")
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "NO_SUCH_METHOD"}))
    with pytest.raises(WeightsError, match=r"adapter_config\.json"):
        load(base, adapter)


@pytest.mark.parametrize("text", ["{", "", "[]", "null", '{"peft_type": 7}'])
def test_a_config_that_is_none_is_named_wherever_the_adapter_stands(base: Path, tmp_path: Path, text: str) -> None:
    adapter = tune(base, tmp_path / "adapter")
    (adapter / "adapter_config.json").write_text(text)
    with pytest.raises(WeightsError, match="adapter") as caught:
        load(adapter)
    assert caught.value.remedy
    with pytest.raises(WeightsError, match=r"adapter_config\.json"):
        load(base, adapter)
