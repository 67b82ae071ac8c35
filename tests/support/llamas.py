"""Tiny random Llamas, adapters and a byte-level tokenizer on disk, made in well under a second.

The weights are large enough for sharp distributions. The row of EOS in the head is doubled, so that some greedy
responses end and others reach their limit. The tokenizer splits most multi-byte characters over tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD, BOS, EOS = 0, 1, 2
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_CORPUS = [
    "Tell me about the battle of Waterloo. It was fought near the village in the rain, and it ended the war.",
    "Give me three tips for better sleep: keep the room dark, drink less coffee, and read a book before bed.",
    "How do I bake bread? Mix flour, water and salt; knead the dough, let it rise, and bake it in a hot oven.",
    "Zürich, Kraków, Côte d'Azur, 東京, Привет мир: cities and words of other scripts 🌸.",
]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama's dimensions; the defaults have about 80 thousand parameters."""

    hidden: int = 48
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 96
    window: int = 512
    vocabulary: int | None = None
    """None: the tokenizer's size."""
    tied: bool = False
    spread: float = 0.35
    """Standard deviation of the weights."""


SHAPE_135M = Shape(
    hidden=576,
    layers=30,
    heads=9,
    kv_heads=3,
    intermediate=1536,
    window=2048,
    vocabulary=49_152,
    tied=True,
    spread=0.02,
)


def build_tokenizer(*, size: int = 400, template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of ``size`` ids or a few more; every id decodes to something."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return _wrap(tokenizer, template)


def build_wide_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer of ``size`` ids (at most 65,798) whose merges are pairs of bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>"]
    pairs = [(first, second) for first in alphabet for second in alphabet][: size - len(specials) - len(alphabet)]
    words = [*specials, *alphabet, *(first + second for first, second in pairs)]
    tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    return _wrap(tokenizer, TEMPLATE)


def _wrap(tokenizer: Tokenizer, template: str | None) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )
    fast.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>", "<|system|>"]})
    fast.chat_template = template
    return fast


def build_llama(shape: Shape, vocabulary: int, seed: int) -> LlamaForCausalLM:
    """Return a random Llama in float32 whose head favours EOS a little."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.window,
        vocab_size=shape.vocabulary or vocabulary,
        tie_word_embeddings=shape.tied,
        initializer_range=shape.spread,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    model = LlamaForCausalLM(config).float().eval()
    if not shape.tied:
        with torch.no_grad():
            model.lm_head.weight[EOS] *= 2
    return model


def write_llama(
    folder: Path, *, seed: int = 0, shape: Shape = Shape(), tokenizer: PreTrainedTokenizerFast | None = None
) -> Path:
    """Write a random Llama with a tokenizer and return its folder."""
    tokenizer = tokenizer or build_tokenizer()
    build_llama(shape, len(tokenizer), seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_tuned(base: Path, folder: Path, *, seed: int = 1, strength: float = 0.1) -> Path:
    """Write a full checkpoint: every weight of ``base`` moved by noise, ``strength`` of its own spread."""
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter) * parameter.std() * strength)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast.from_pretrained(base).save_pretrained(folder)
    return folder


def write_adapter(
    base: Path, folder: Path, *, seed: int = 2, strength: float = 0.1, rank: int = 4, named: str | None = None
) -> Path:
    """Write a LoRA of ``base`` on all its linear layers with both matrices random, and return its folder.

    ``named`` is what the adapter's configuration calls its base; the folder of ``base`` without it.
    """
    from peft import LoraConfig, get_peft_model

    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(seed)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    wrapped = get_peft_model(
        model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, strength)
    wrapped.peft_config["default"].base_model_name_or_path = named or str(base)
    wrapped.save_pretrained(folder)
    return folder
