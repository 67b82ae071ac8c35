"""A causal language model of transformers as an engine of itx."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from itx.models.contract import Rows
from itx.models.torch.adapter import find_embeddings
from itx.models.torch.arithmetic import TorchArithmetic
from itx.models.torch.batch import TorchBatch
from itx.models.torch.heap import hold_freed_memory
from itx.models.torch.memory import memory_watched
from itx.models.torch.placement import name_dtype
from itx.models.torch.vocabulary import HuggingFaceVocabulary

_HOST_CHUNK = 48
_DEVICE_CHUNK = 96
_DEVICE_LOGITS = 1 << 25
"""Elements that a chunk's rows may have on a device: 96 rows of 262,144 are 100 MB in float32."""
_HOST_BLOCK = 1 << 24
"""The same for a whole batch on a CPU: 64 MB in float32."""
_DEVICE_BLOCK = 1 << 26


def _read_quantization(model: PreTrainedModel) -> str | None:
    found = getattr(model.config, "quantization_config", None)
    method = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", None)
    return None if method is None else str(getattr(method, "value", method))


class TorchEngine:
    """Weights in a transformers model; many streams may use it, one at a time."""

    kind = "torch"

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: HuggingFaceVocabulary,
        *,
        name: str,
        reference: str,
        fingerprint: str,
        eos: frozenset[int],
        adapter: str | None = None,
        template: str | None = None,
    ) -> None:
        self.model = model
        self.model.train(False)
        self.vocabulary = vocabulary
        self.name = name
        self.reference = reference
        self.adapter = adapter
        self.template = template
        self.fingerprint = fingerprint
        self.eos = eos
        config = model.config.get_text_config(decoder=True)
        self.config = config
        window = getattr(config, "max_position_embeddings", None)
        self.window: int | None = window if isinstance(window, int) and window > 0 else None
        self.quantization = _read_quantization(model)
        self.vocab_size = int(find_embeddings(model)[-1].shape[0])
        parameter = next(model.parameters())
        self.dtype = name_dtype(parameter.dtype)
        self.device = str(parameter.device)
        self.arithmetic = TorchArithmetic(parameter.device)
        on_host = parameter.device.type == "cpu"
        if on_host:
            hold_freed_memory()
        self.chunk = _HOST_CHUNK if on_host else max(1, min(_DEVICE_CHUNK, _DEVICE_LOGITS // self.vocab_size))
        elements = _HOST_BLOCK if on_host else _DEVICE_BLOCK
        self.block = max(self.chunk, elements // self.vocab_size)
        self.threads = torch.get_num_threads()
        accepted = inspect.signature(model.forward).parameters
        self._keeps = "logits_to_keep" in accepted
        # Without these, sequences of several lengths cannot be told from their padding.
        self.together: int | None = None if {"attention_mask", "position_ids"} <= set(accepted) else 1
        # transformers 5.24 renamed the argument and warns of the old name; older ones and custom code know only that.
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"

    def read(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Return the logits after the last ``keep`` of ``ids``, which are all that is to be fed: no cache is made."""
        with memory_watched("a pass over a whole response"), torch.inference_mode():
            return self.forward(torch.tensor([[*ids]], device=self.arithmetic.device), None, keep)[0]

    def stream(self) -> TorchStream:
        """Return a fresh stream."""
        return TorchStream(self, DynamicCache(config=self.config))

    def batch(self, count: int) -> TorchBatch:
        """Return ``count`` fresh streams that advance together."""
        return TorchBatch(self, DynamicCache(config=self.config), count)

    def forward(
        self, ids: torch.Tensor, cache: DynamicCache | None, keep: int, **options: torch.Tensor
    ) -> torch.Tensor:
        """Run the model on ``ids`` [n, length] after what a cache holds; return logits [n, keep, columns]."""
        words: dict[str, Any] = {} if cache is None else {self._cache_name: cache}
        if self._keeps:
            words["logits_to_keep"] = keep
        logits: torch.Tensor = self.model(input_ids=ids, use_cache=cache is not None, **words, **options).logits
        return logits[:, -keep:]


class TorchStream:
    """One dynamic KV cache on an engine's weights."""

    def __init__(self, engine: TorchEngine, cache: DynamicCache) -> None:
        self._engine = engine
        self._cache = cache

    def extend(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Feed ``ids`` and return the logits after the last ``keep`` of them."""
        with memory_watched("the model's next step"), torch.inference_mode():
            given = torch.tensor([[*ids]], device=self._engine.arithmetic.device)
            return self._engine.forward(given, self._cache, keep)[0]
