"""What llama.cpp would answer with an abort of the whole process, found in a file's header before it is asked.

Its loader asserts these (``llama_model_base::load_hparams`` and ``llama_vocab`` of its source); all else that it does
not like it says, and itx passes that on.
"""

from __future__ import annotations

import math
from typing import Any, Final, NoReturn

from itx.errors import WeightsError
from itx.models.llama.header import Array, Header, Tensor

_MOST_LAYERS: Final = 512
_MOST_EXPERTS: Final = 512
_SCALINGS: Final = ("none", "linear", "yarn", "longrope")
_EPSILONS: Final = ("layer_norm_epsilon", "layer_norm_rms_epsilon", "group_norm_epsilon")
_TOKENS: Final = "tokenizer.ggml.tokens"
_MODEL: Final = "tokenizer.ggml.model"
_TYPE: Final = "adapter.type"
_ALPHA: Final = "adapter.lora.alpha"
_INVOCATION: Final = "adapter.alora.invocation_tokens"
_FLOAT32: Final = 6
"""ggml's number of the metadata's type."""
_WHOLE_NUMBERS: Final = range(24, 29)
"""ggml's types of matrices that nothing can be multiplied by."""
_EMBEDDING: Final = "token_embd.weight"


def check_model(header: Header) -> None:
    """Raise WeightsError where llama.cpp would abort on a model's file, or where the model predicts no next token.

    Its vocabulary has a check of its own: ``check_vocabulary``.
    """
    named = header.architecture
    if header.metadata.get(f"{named}.attention.causal") is False or header.metadata.get(_MODEL) == "bert":
        raise WeightsError(
            f"{header.path} is an encoder ({named}): it predicts no next token.", "Name a model that writes text."
        )
    _check_numbers(header)
    _check_experts(header)


def check_adapter(header: Header) -> None:
    """Raise WeightsError where llama.cpp would abort on a LoRA's file, at loading or at its first use."""
    kind, alpha = header.metadata.get(_TYPE, ""), header.metadata.get(_ALPHA)
    if not isinstance(kind, str):
        _refuse(header, f"its {_TYPE} is {kind} and no text")
    if header.kinds.get(_ALPHA, _FLOAT32) != _FLOAT32:
        _refuse(header, f"its {_ALPHA} is {str(alpha)[:40]!r} and no float of 32 bits")
    tensors = {tensor.name: tensor for tensor in header.tensors}
    whole = next((tensor.name for tensor in header.tensors if tensor.kind in _WHOLE_NUMBERS), None)
    if whole is not None:
        _refuse(header, f"its tensor {whole[:60]} holds whole numbers")
    down, up = tensors.get(f"{_EMBEDDING}.lora_a"), tensors.get(f"{_EMBEDDING}.lora_b")
    if down and up and _rank(down) != _rank(up):
        _refuse(header, f"its two matrices for {_EMBEDDING} have the ranks {_rank(down)} and {_rank(up)}")


def check_fit(header: Header, base: Header | None, text: str) -> None:
    """Raise WeightsError where a LoRA, written as ``text``, has no GGUF base or one of another architecture."""
    if base is None or base.is_adapter:
        raise WeightsError(
            f"{text} is a LoRA, and the base is no GGUF file that it could be attached to.",
            f"itx compare BASE.gguf {text}",
        )
    if header.architecture != base.architecture:
        raise WeightsError(
            f"The adapter {text} is for the architecture {header.architecture or 'unknown'}, and {base.path} is "
            f"{base.architecture}.",
            "Name the base that it was made for.",
        )


def list_surprises(header: Header) -> list[str]:
    """Return what llama.cpp does with a LoRA's file that its maker may not expect, as warnings."""
    found = []
    norms = [tensor.name for tensor in header.tensors if tensor.name.endswith("_norm.weight")]
    if norms:
        found.append(
            f"llama.cpp leaves out {len(norms)} tensors of {header.path.name} ({norms[0][:60]}, …): it applies no "
            "tuned norms, so this is not the whole tuning."
        )
    if not header.metadata.get(_ALPHA):
        found.append(
            f"{header.path.name} says no {_ALPHA}: llama.cpp adds its matrices as they are, not scaled by alpha/r."
        )
    if header.metadata.get(_INVOCATION) is not None:
        found.append(
            f"{header.path.name} is an activated LoRA, made to work from its invocation tokens on: here it works from "
            "the first token."
        )
    return found


def _rank(tensor: Tensor) -> int:
    """Return the rank that one of the embedding's two matrices has: both begin with it."""
    return tensor.shape[0] if tensor.shape else 1


def _check_numbers(header: Header) -> None:
    layers = header.number("block_count")
    if layers is not None and not 1 <= layers <= _MOST_LAYERS:
        _refuse(header, f"it says that it has {layers} layers")
    if (header.number("nextn_predict_layers") or 0) > (layers or 0):
        _refuse(header, f"it says that more than its {layers} layers predict further tokens")
    window = header.number("context_length")
    if window is not None and not 1 <= window < 1 << 31:
        _refuse(header, f"it says that its window holds {window} positions")
    for name in _EPSILONS:
        value = _find(header, f"attention.{name}")
        if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
            _refuse(header, f"its {name} is {value}")
    scaling = _find(header, "rope.scaling.type")
    if isinstance(scaling, str) and scaling not in _SCALINGS:
        _refuse(header, f"it scales rotary positions by {scaling[:40]!r}, which is unknown")


def _check_experts(header: Header) -> None:
    experts, groups = header.number("expert_count") or 0, header.number("expert_group_count") or 0
    used = _largest(header, "expert_used_count")
    chosen = header.number("expert_group_used_count") or 0
    wrong = experts > _MOST_EXPERTS or used > experts or (experts > 0 and (used < 1 or groups >= experts))
    if experts and groups > 1:
        wrong = wrong or experts % groups != 0 or not 0 < chosen < groups
    if wrong or (not experts and groups):
        _refuse(header, f"it uses {used} of {experts} experts, in {groups} groups of which it chooses {chosen}")


def _largest(header: Header, name: str) -> int:
    """Return a number that may stand for each layer in an array: the largest."""
    if isinstance(_find(header, name), Array):
        numbers = header.numbers(f"{header.architecture}.{name}")
        return int(numbers.max(initial=0)) if numbers.dtype.kind in "iu" else 0
    return header.number(name) or 0


def check_vocabulary(header: Header) -> None:
    """Raise WeightsError where llama.cpp would abort on a model's vocabulary. This reads all of it."""
    known: set[bytes] = set()
    named = 0
    for piece in header.texts(_TOKENS).spell():
        if piece:
            known.add(piece)
            named += 1
    if len(known) < named:
        _refuse(header, f"{named - len(known)} of its tokens are written as others are")
    if known and header.metadata.get(_MODEL) == "llama":
        lacking = next((byte for byte in range(256) if not known & {b"<0x%02X>" % byte, bytes([byte])}), None)
        if lacking is not None:
            _refuse(header, f"its vocabulary has no token for the byte <0x{lacking:02X}>")


def _find(header: Header, name: str) -> Any:
    return header.metadata.get(f"{header.architecture}.{name}")


def _refuse(header: Header, why: str) -> NoReturn:
    raise WeightsError(f"{header.path} is corrupt, or no model: {why}.", "Copy, download or convert it again.")
