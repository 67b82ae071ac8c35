"""Tiny random models of the architecture "llama" as GGUF files, their LoRAs, and what they compute in float64.

The reference is numpy alone: RMS norms, rotary positions on neighbouring pairs, grouped attention, a gated feed-forward
block (Touvron et al. 2023, arXiv 2302.13971, section 2.2; Ainslie et al. 2023 for grouped attention).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, dequantize, quantize
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Tensors = dict[str, NDArray[np.float32]]

UNKNOWN, BOS, EOS = 0, 1, 2
EPSILON = 1e-5
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_WORDS = ("▁the", "▁bread", "▁sleep", "▁battle", "▁of", "▁and", "▁rain", "ing", "Tell", "▁me", "東", "é", "▁▁")
_MARKERS = ("<|user|>", "<|assistant|>", "<|system|>", "<|im_end|>")


@dataclass(frozen=True)
class Token:
    """One entry of a vocabulary, as the file has it."""

    text: str
    score: float
    kind: TokenType


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The dimensions of a model."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 96
    window: int = 512
    spread: float = 0.15
    """Standard deviation of the layers' weights: small enough that they do not magnify rounding beyond use."""

    @property
    def head(self) -> int:
        """The width of one head."""
        return self.hidden // self.heads


def build_vocabulary() -> list[Token]:
    """Return a vocabulary in the manner of SentencePiece: markers, 256 bytes, letters, and words with what they grow
    from, so that merging two neighbours at a time comes to them.
    """
    tokens = [Token("<unk>", 0.0, TokenType.UNKNOWN), Token("<s>", 0.0, TokenType.CONTROL)]
    tokens.append(Token("</s>", 0.0, TokenType.CONTROL))
    tokens += [Token(f"<0x{byte:02X}>", 0.0, TokenType.BYTE) for byte in range(256)]
    letters = [*"▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,?!0123456789"]
    grown = [word[:end] for word in _WORDS for end in range(2, len(word) + 1)]
    pieces = [*dict.fromkeys([*letters, *grown, *(word for word in _WORDS if len(word) == 1)])]
    tokens += [Token(piece, -float(rank), TokenType.NORMAL) for rank, piece in enumerate(pieces)]
    tokens += [Token(marker, 0.0, TokenType.CONTROL) for marker in _MARKERS]
    return [*tokens, Token("[own words]", 0.0, TokenType.USER_DEFINED), Token("<unused0>", 0.0, TokenType.UNUSED)]


VOCABULARY = build_vocabulary()
IDS = {token.text: number for number, token in enumerate(VOCABULARY)}


def draw_tensors(shape: Shape = Shape(), seed: int = 0) -> Tensors:
    """Return random weights by llama.cpp's names, [out, in]; the head favours EOS, so that some answers end."""
    random = np.random.default_rng(seed)

    def draw(*size: int, spread: float = shape.spread) -> NDArray[np.float32]:
        return (random.standard_normal(size) * spread).astype(np.float32)

    narrow, wide, inner = shape.head * shape.kv_heads, shape.hidden, shape.intermediate
    tensors = {"token_embd.weight": draw(len(VOCABULARY), wide, spread=1.0), "output_norm.weight": 1 + draw(wide)}
    tensors["output.weight"] = draw(len(VOCABULARY), wide, spread=0.4)
    tensors["output.weight"][EOS] *= 1.3
    for layer in range(shape.layers):
        sizes = {
            "attn_q": (wide, wide),
            "attn_k": (narrow, wide),
            "attn_v": (narrow, wide),
            "attn_output": (wide, wide),
            "ffn_gate": (inner, wide),
            "ffn_up": (inner, wide),
            "ffn_down": (wide, inner),
        }
        for name, size in sizes.items():
            tensors[f"blk.{layer}.{name}.weight"] = draw(*size)
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{name}.weight"] = 1 + draw(wide)
    return tensors


def draw_lora(tensors: Mapping[str, NDArray[np.float32]], *, rank: int = 4, seed: int = 1) -> Tensors:
    """Return a LoRA of all the layers' matrices: A [rank, in] and B [out, rank], both random."""
    random = np.random.default_rng(seed)
    lora: Tensors = {}
    for name, values in tensors.items():
        if name.startswith("blk.") and values.ndim == 2:
            rows, columns = values.shape
            lora[f"{name}.lora_a"] = (random.standard_normal((rank, columns)) * 0.1).astype(np.float32)
            lora[f"{name}.lora_b"] = (random.standard_normal((rows, rank)) * 0.1).astype(np.float32)
    return lora


def merge_lora(tensors: Tensors, lora: Tensors, alpha: float) -> Tensors:
    """Return the weights with alpha / rank times B · A added, summed in float64."""
    merged = dict(tensors)
    for name in {each.removesuffix(".lora_a") for each in lora if each.endswith(".lora_a")}:
        down, up = lora[f"{name}.lora_a"].astype(np.float64), lora[f"{name}.lora_b"].astype(np.float64)
        merged[name] = (tensors[name] + alpha / len(down) * (up @ down)).astype(np.float32)
    return merged


def move_tensors(tensors: Tensors, *, seed: int = 2, strength: float = 0.1) -> Tensors:
    """Return every matrix moved by noise, ``strength`` of its own spread."""
    random = np.random.default_rng(seed)
    return {
        name: (values + random.standard_normal(values.shape) * values.std() * strength).astype(np.float32)
        if values.ndim == 2
        else values
        for name, values in tensors.items()
    }


def round_tensors(tensors: Tensors) -> Tensors:
    """Return what a file in Q8_0 keeps of the matrices."""
    kind = GGMLQuantizationType.Q8_0
    return {
        name: dequantize(quantize(values, kind), kind).astype(np.float32) if values.ndim == 2 else values
        for name, values in tensors.items()
    }


def write_model(
    path: Path,
    tensors: Tensors,
    shape: Shape = Shape(),
    *,
    template: str | None = TEMPLATE,
    vocabulary: Sequence[Token] = VOCABULARY,
    architecture: str = "llama",
    quantised: bool = False,
    extra: Mapping[str, int | float | str | bool | np.uint16 | np.int32] | None = None,
) -> Path:
    """Write a model, in F32 or (its matrices) in Q8_0. ``extra`` are more entries, or others in place of these."""
    writer = GGUFWriter(path, architecture)
    entries: dict[str, int | float | str | bool | np.uint16 | np.int32] = {
        f"{architecture}.block_count": shape.layers,
        f"{architecture}.context_length": shape.window,
        f"{architecture}.embedding_length": shape.hidden,
        f"{architecture}.feed_forward_length": shape.intermediate,
        f"{architecture}.attention.head_count": shape.heads,
        f"{architecture}.attention.head_count_kv": shape.kv_heads,
        f"{architecture}.attention.layer_norm_rms_epsilon": EPSILON,
        f"{architecture}.rope.dimension_count": shape.head,
        "general.file_type": 7 if quantised else 0,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.bos_token_id": BOS,
        "tokenizer.ggml.eos_token_id": EOS,
        "tokenizer.ggml.unknown_token_id": UNKNOWN,
        "tokenizer.ggml.add_bos_token": True,
    }
    if template is not None:
        entries["tokenizer.chat_template"] = template
    for name, value in (entries | dict(extra or {})).items():
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, np.uint16):
            writer.add_uint16(name, int(value))
        elif isinstance(value, np.int32):
            writer.add_int32(name, int(value))
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        else:
            writer.add_string(name, value)
    writer.add_token_list([token.text for token in vocabulary])
    writer.add_token_scores([token.score for token in vocabulary])
    writer.add_token_types([int(token.kind) for token in vocabulary])
    for name, values in tensors.items():
        if quantised and values.ndim == 2:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    return finish(writer, path)


def write_lora(path: Path, lora: Tensors, *, alpha: float | None = 8.0, architecture: str = "llama") -> Path:
    """Write a LoRA in F32; without ``alpha`` llama.cpp scales it by 1."""
    writer = GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    if alpha is not None:
        writer.add_float32("adapter.lora.alpha", alpha)
    for name, values in lora.items():
        writer.add_tensor(name, values)
    return finish(writer, path)


def finish(writer: GGUFWriter, path: Path) -> Path:
    """Write the file and return its path."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


# The reference


def _norm(values: Matrix, weights: NDArray[np.float32]) -> Matrix:
    return values / np.sqrt(np.mean(values**2, axis=-1, keepdims=True) + EPSILON) * weights.astype(np.float64)


def _rotate(values: Matrix) -> Matrix:
    """Turn neighbouring pairs of [positions, heads, width] by position × 10,000^(−2·pair/width)."""
    count, _, width = values.shape
    angles = np.arange(count)[:, None] * 10_000.0 ** (-np.arange(0, width, 2) / width)
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    even, odd = values[..., 0::2], values[..., 1::2]
    turned = np.empty_like(values)
    turned[..., 0::2], turned[..., 1::2] = even * cosine - odd * sine, even * sine + odd * cosine
    return turned


def compute_logits(tensors: Tensors, ids: Sequence[int], shape: Shape = Shape()) -> Matrix:
    """Return the logits [positions, vocabulary] of one pass over ``ids`` in float64."""

    def apply(name: str, values: Matrix) -> Matrix:
        return values @ tensors[f"{name}.weight"].astype(np.float64).T

    values = tensors["token_embd.weight"].astype(np.float64)[list(ids)]
    count = len(ids)
    hidden = np.triu(np.ones((count, count), bool), 1)
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        normed = _norm(values, tensors[f"{block}.attn_norm.weight"])
        query = _rotate(apply(f"{block}.attn_q", normed).reshape(count, shape.heads, shape.head))
        key = _rotate(apply(f"{block}.attn_k", normed).reshape(count, shape.kv_heads, shape.head))
        value = apply(f"{block}.attn_v", normed).reshape(count, shape.kv_heads, shape.head)
        heads = []
        for head in range(shape.heads):
            group = head * shape.kv_heads // shape.heads
            scores = np.where(hidden, -np.inf, query[:, head] @ key[:, group].T / np.sqrt(shape.head))
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            heads.append(weights / weights.sum(axis=-1, keepdims=True) @ value[:, group])
        values = values + apply(f"{block}.attn_output", np.concatenate(heads, axis=-1))
        normed = _norm(values, tensors[f"{block}.ffn_norm.weight"])
        gate = apply(f"{block}.ffn_gate", normed)
        values = values + apply(f"{block}.ffn_down", gate / (1 + np.exp(-gate)) * apply(f"{block}.ffn_up", normed))
    return apply("output", _norm(values, tensors["output_norm.weight"]))


def compute_log_probs(tensors: Tensors, context: Sequence[int], response: Sequence[int]) -> Matrix:
    """Return the log-probs [len(response), vocabulary] of what the model expects at each position of a response."""
    return normalise(compute_logits(tensors, [*context, *response])[len(context) - 1 : -1])


def normalise(logits: NDArray[np.floating]) -> Matrix:
    """Return log-probs [n, vocabulary] in float64."""
    values = np.asarray(logits, dtype=np.float64)
    peak = values.max(axis=1, keepdims=True)
    return values - peak - np.log(np.exp(values - peak).sum(axis=1, keepdims=True))
