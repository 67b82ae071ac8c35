"""GGUF weights as an engine of itx."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itx.errors import MismatchError, WindowError
from itx.models.contract import Rows
from itx.models.llama.batch import MOST, LlamaBatch
from itx.models.llama.header import find_dtype, find_quantization
from itx.models.llama.vocabulary import GgufVocabulary
from itx.models.llama.weights import FIRST_SIZE, LARGE_VOCABULARY, Adapter, Session, Weights
from itx.models.reduction import NumpyArithmetic

_CHUNK: Final = 16
_CHUNK_LARGE: Final = 8
"""For large vocabularies: a row of 262,144 logits is a megabyte."""
_BLOCK: Final = 1 << 24
"""Elements that a batch's rows may have: 64 MB."""
TEMPLATE: Final = "tokenizer.chat_template"


class LlamaEngine:
    """One file's weights, or these with a LoRA. Contexts that a stream gives back are used again."""

    kind = "llama"

    def __init__(
        self,
        weights: Weights,
        vocabulary: GgufVocabulary,
        *,
        name: str,
        reference: str,
        fingerprint: str,
        threads: int,
        window: int,
        device: str,
        adapter: Adapter | None = None,
        template: str | None = None,
    ) -> None:
        self.weights = weights
        self.vocabulary = vocabulary
        self.name = name
        self.reference = reference
        self.fingerprint = fingerprint
        self.threads = threads
        self.window: int | None = window
        self.device = device
        self.template = template
        self.adapter = reference if adapter is not None else None
        self.vocab_size = weights.vocab_size
        self.eos = vocabulary.eos
        self.quantization = find_quantization(weights.header.metadata, weights.header.tensors)
        self.dtype = find_dtype(weights.header.tensors)
        self.chunk = _CHUNK_LARGE if weights.vocab_size > LARGE_VOCABULARY else _CHUNK
        self.block = min(weights.batch, max(self.chunk, _BLOCK // weights.vocab_size))
        self.together: int | None = MOST
        self.arithmetic = NumpyArithmetic(threads)
        self._lora = adapter
        self._largest = window
        self._idle: list[Session] = []

    def read(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Return the logits after the last ``keep`` of ``ids``, which are all that is to be fed."""
        return self.stream().extend(ids, keep)

    def stream(self) -> LlamaStream:
        """Return a fresh stream."""
        return LlamaStream(self)

    def batch(self, count: int) -> LlamaBatch:
        """Return ``count`` fresh streams that advance together."""
        return LlamaBatch(self, count)

    def check_known(self, ids: Sequence[int]) -> None:
        """Raise MismatchError for an id that the vocabulary lacks."""
        lacking = next((token for token in ids if not 0 <= token < self.vocab_size), None)
        if lacking is not None:
            raise MismatchError(
                f"{self.name} knows the ids 0 to {self.vocab_size - 1}, and not {lacking}.",
                "Name models of one tokenizer.",
            )

    def open_session(self, size: int, sequences: int) -> Session:
        """Return a new context for several sequences. Raises MemoryExhaustedError."""
        return Session(self.weights, self._lora, size, self.threads, sequences)

    def take_session(self, size: int) -> Session:
        """Return an empty context with room for ``size`` positions: an idle one, or a new one."""
        # Taken out at once: a stream may end, and give its own back, at any point of what follows.
        idle, self._idle = self._idle, []
        for session in idle:
            if session.size >= size:
                session.clear()
                return session
        del idle
        wanted = FIRST_SIZE
        while wanted < size:
            wanted *= 2
        return Session(self.weights, self._lora, min(wanted, max(size, self._largest)), self.threads)

    def give_back(self, held: list[Session]) -> None:
        """Keep a context for the next stream: one, the largest, for each holds rows of logits for a whole batch."""
        self._idle = sorted([*self._idle, *held], key=lambda each: each.size)[-1:]
        held.clear()


class LlamaStream:
    """One KV cache on an engine's weights."""

    def __init__(self, engine: LlamaEngine) -> None:
        self._engine = engine
        self._held: list[Session] = []
        weakref.finalize(self, engine.give_back, self._held)

    def extend(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Feed ``ids`` and return the logits after the last ``keep`` of them.

        Where they are several and came in one batch, they are llama.cpp's own, and stay until the stream goes on.
        Raises MismatchError for an id that the vocabulary lacks.
        """
        self._engine.check_known(ids)
        session = self._make_room(len(ids))
        batch = self._engine.weights.batch
        parts: list[NDArray[np.float32]] = []
        for start in range(0, len(ids), batch):
            part = ids[start : start + batch]
            kept = max(0, min(len(part), keep - (len(ids) - start - len(part))))
            rows = session.decode(part, kept, self)
            if kept == keep > 1:
                return rows
            if kept:
                parts.append(rows.copy())
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _make_room(self, count: int) -> Session:
        used = self._held[0].used if self._held else 0
        window = self._engine.window
        if window is not None and used + count > window:
            raise WindowError(
                f"{used + count} positions do not fit the window of {self._engine.name}, which holds {window}.",
                "Shorten the prompt, or use a larger --ctx-size.",
            )
        if not self._held:
            self._held.append(self._engine.take_session(count))
        elif used + count > self._held[0].size:
            larger = self._engine.take_session(used + count)
            larger.copy_from(self._held[0])
            self._held[0] = larger
        return self._held[0]
