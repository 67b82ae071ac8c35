"""Gemma 3 from the GGUF file alone, in numpy and float64: an oracle for the dequantised folder.

Nothing of transformers or torch is used. The architecture is that of the Gemma 3 report (arXiv 2503.19786, section 2):
grouped-query attention with norms on queries and keys, norms before and after each block, five local layers (window
512, rotary base 10,000) to each global one (rotary base 1,000,000), tied embeddings. In a GGUF file the norms' weights
already contain the 1 that the checkpoint leaves out. The tokenizer merges the neighbouring pair with the best score
(SentencePiece's BPE) after cutting out the tokens that the file marks as the user's own.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

USER_DEFINED = 4
LOCAL_ROPE_BASE = 10_000.0
GLOBAL_LAYER_EVERY = 6


class GgufGemma:
    """One Gemma 3 text model in a GGUF file."""

    def __init__(self, path: Path) -> None:
        self.reader = GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.layers = int(self.read_field("gemma3.block_count"))
        self.heads = int(self.read_field("gemma3.attention.head_count"))
        self.width = int(self.read_field("gemma3.attention.key_length"))
        self.epsilon = float(self.read_field("gemma3.attention.layer_norm_rms_epsilon"))
        self.window = int(self.read_field("gemma3.attention.sliding_window"))
        self.global_rope_base = float(self.read_field("gemma3.rope.freq_base"))

    def read_field(self, name: str) -> int | float:
        """Return one number of the header."""
        number: int | float = self.reader.fields[name].contents()
        return number

    def weigh(self, name: str) -> Matrix:
        """Return one tensor, dequantised; shape [out, in]."""
        tensor = self.tensors[f"{name}.weight"]
        values: Matrix = dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        return values

    def norm(self, values: Matrix, name: str) -> Matrix:
        """Root-mean-square norm over the last axis."""
        scale = np.sqrt(np.mean(values**2, axis=-1, keepdims=True) + self.epsilon)
        return values / scale * self.weigh(name)

    def rotate(self, values: Matrix, base: float) -> Matrix:
        """Rotary positions on [positions, heads, width], the halves of the width paired."""
        half = self.width // 2
        angles = np.arange(len(values))[:, None] * base ** (-np.arange(half) / half)
        cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
        left, right = values[..., :half], values[..., half:]
        return np.concatenate([left * cosine - right * sine, right * cosine + left * sine], axis=-1)

    def attend(self, values: Matrix, layer: int) -> Matrix:
        """Attention of one layer, before its residual sum."""
        block = f"blk.{layer}"
        is_global = (layer + 1) % GLOBAL_LAYER_EVERY == 0
        base = self.global_rope_base if is_global else LOCAL_ROPE_BASE
        length = len(values)
        query = (values @ self.weigh(f"{block}.attn_q").T).reshape(length, self.heads, self.width)
        key = (values @ self.weigh(f"{block}.attn_k").T).reshape(length, 1, self.width)
        query = self.rotate(self.norm(query, f"{block}.attn_q_norm"), base)
        key = self.rotate(self.norm(key, f"{block}.attn_k_norm"), base)[:, 0]
        value = values @ self.weigh(f"{block}.attn_v").T
        distance = np.arange(length)[:, None] - np.arange(length)[None, :]
        seen = (distance >= 0) & (is_global | (distance < self.window))
        joined = []
        for head in range(self.heads):
            scores = np.where(seen, query[:, head] @ key.T / np.sqrt(self.width), -np.inf)
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            joined.append(weights / weights.sum(axis=-1, keepdims=True) @ value)
        return np.concatenate(joined, axis=-1) @ self.weigh(f"{block}.attn_output").T

    def feed_forward(self, values: Matrix, layer: int) -> Matrix:
        """The gated feed-forward block of one layer, with the tanh form of GELU."""
        block = f"blk.{layer}"
        gate = values @ self.weigh(f"{block}.ffn_gate").T
        gate = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
        gated: Matrix = gate * (values @ self.weigh(f"{block}.ffn_up").T)
        return gated @ self.weigh(f"{block}.ffn_down").T

    def compute_logits(self, ids: list[int], positions: list[int]) -> Matrix:
        """Return the logits at ``positions`` of one pass over ``ids``; shape [positions, vocabulary]."""
        embedding = self.weigh("token_embd")
        values = embedding[ids] * np.sqrt(embedding.shape[1])
        for layer in range(self.layers):
            block = f"blk.{layer}"
            attended = self.attend(self.norm(values, f"{block}.attn_norm"), layer)
            values = values + self.norm(attended, f"{block}.post_attention_norm")
            fed = self.feed_forward(self.norm(values, f"{block}.ffn_norm"), layer)
            values = values + self.norm(fed, f"{block}.post_ffw_norm")
        return self.norm(values[positions], "output_norm") @ embedding.T


class GgufTokenizer:
    """The tokenizer in a GGUF file; slow, for short texts."""

    def __init__(self, path: Path) -> None:
        fields = GGUFReader(path).fields
        self.pieces: list[str] = fields["tokenizer.ggml.tokens"].contents()
        self.scores: list[float] = fields["tokenizer.ggml.scores"].contents()
        kinds: list[int] = fields["tokenizer.ggml.token_type"].contents()
        self.ids = {piece: number for number, piece in enumerate(self.pieces)}
        # Runs of spaces are written with spaces in the file.
        own = sorted((self.pieces[i] for i in range(len(kinds)) if kinds[i] == USER_DEFINED), key=len, reverse=True)
        self.own = re.compile("(" + "|".join(map(re.escape, own)) + ")")

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of ``text``, without BOS or EOS."""
        ids: list[int] = []
        for part in self.own.split(text):
            ids += [self.ids[part]] if self.own.fullmatch(part) else self.merge(part.replace(" ", "▁"))
        return ids

    def merge(self, text: str) -> list[int]:
        """Merge characters, the best-scored pair first, the leftmost of equals; spell what is unknown in bytes."""
        pieces = list(text)
        while True:
            pairs = [
                (-self.scores[self.ids[left + right]], index)
                for index, (left, right) in enumerate(pairwise(pieces))
                if left + right in self.ids
            ]
            if not pairs:
                break
            index = min(pairs)[1]
            pieces[index : index + 2] = [pieces[index] + pieces[index + 1]]
        ids = []
        for piece in pieces:
            ids += [self.ids[piece]] if piece in self.ids else [self.ids[f"<0x{byte:02X}>"] for byte in piece.encode()]
        return ids
