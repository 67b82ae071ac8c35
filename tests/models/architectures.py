"""Tiny random models of other families than Llama, in float32: learned positions, and a sliding window."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PreTrainedModel,
)

from tests.support.llamas import BOS, EOS, PAD, Shape, build_llama, build_tokenizer

FAMILIES = ("llama", "gpt2", "gemma3")
SLIDING = 12


def build(family: str, vocabulary: int, seed: int = 0) -> PreTrainedModel:
    """Return a random model; Gemma 3 attends to the last 12 ids only in five of its six layers."""
    torch.manual_seed(seed)
    common = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS, "vocab_size": vocabulary}
    if family == "gpt2":
        config = GPT2Config(n_embd=48, n_layer=2, n_head=4, n_positions=160, initializer_range=0.35, **common)
        return GPT2LMHeadModel(config).float().eval()
    if family == "gemma3":
        gemma = Gemma3TextConfig(
            hidden_size=48,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=16,
            intermediate_size=96,
            sliding_window=SLIDING,
            max_position_embeddings=256,
            initializer_range=0.25,
            query_pre_attn_scalar=16,
            **common,
        )
        return Gemma3ForCausalLM(gemma).float().eval()
    model: LlamaForCausalLM = build_llama(Shape(), vocabulary, seed)
    return model


def write(family: str, folder: Path, seed: int = 0) -> Path:
    """Write a random model with a tokenizer."""
    tokenizer = build_tokenizer()
    build(family, len(tokenizer), seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def move(model: PreTrainedModel, strength: float, seed: int = 1) -> PreTrainedModel:
    """Move every weight by noise, ``strength`` of its own spread."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter) * parameter.std() * strength)
    return model


def adapt(base: Path, folder: Path, seed: int = 2) -> Path:
    """Write a LoRA of a model that ``write`` made, both matrices random."""
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(seed)
    target = "c_attn" if model.config.model_type == "gpt2" else "q_proj"
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules=[target], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.1)
    wrapped.save_pretrained(folder)
    return folder
