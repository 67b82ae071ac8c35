"""The weights of one GGUF file, loaded once, and the contexts on them."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itx.errors import ItxError, MemoryExhaustedError, WeightsError, WindowError
from itx.models.llama.header import Header
from itx.models.llama.library import LOG, load_library, uses_amx

LARGE_VOCABULARY: Final = 100_000
FIRST_SIZE: Final = 256
"""Positions of a new context; it grows when they are used up."""
_F32: Final = 0


def check_architecture(header: Header) -> None:
    """Let llama.cpp read all of a model's file but its weights. Raises WeightsError where it does not know its kind."""
    library = load_library()
    settings = library.llama_model_default_params()
    settings.vocab_only = True
    LOG.forget()
    pointer = library.llama_model_load_from_file(os.fsencode(header.path), settings)
    if not pointer:
        raise _describe_refusal(header)
    library.llama_model_free(pointer)


def _describe_refusal(header: Header) -> WeightsError:
    return WeightsError(
        f"llama.cpp cannot load {header.path}: {LOG.complaint() or 'it does not say why'}.",
        f"Check the file, or update: pip install -U llama-cpp-python. All it said is in {LOG.path}.",
    )


class Weights:
    """A loaded file. ``pointer`` is llama.cpp's model, ``vocabulary`` its vocabulary."""

    def __init__(self, header: Header, layers: int, report: Callable[[float], None]) -> None:
        """Load the file, ``layers`` of it on a GPU. Raises WeightsError where llama.cpp cannot."""
        self.header = header
        library = self.library = load_library()
        settings = library.llama_model_default_params()
        settings.n_gpu_layers = layers
        # Tiles of AMX raise a fault where the system does not grant them, and llama.cpp does not ask.
        settings.use_extra_bufts = not uses_amx()

        stopped: list[KeyboardInterrupt | ItxError] = []

        def told(progress: float, data: object) -> bool:
            del data
            try:
                report(progress)
            except (KeyboardInterrupt, ItxError) as error:
                # Raised from here it would be printed and lost: llama.cpp is told to stop, then it is raised.
                stopped.append(error)
            return not stopped

        callback = library.llama_progress_callback(told)
        settings.progress_callback = callback
        LOG.forget()
        self.pointer = library.llama_model_load_from_file(os.fsencode(header.path), settings)
        del callback
        if stopped:
            if self.pointer:
                library.llama_model_free(self.pointer)
            raise stopped[0]
        if not self.pointer:
            raise _describe_refusal(header)
        weakref.finalize(self, library.llama_model_free, self.pointer)
        if library.llama_model_has_encoder(self.pointer):
            raise WeightsError(
                f"{header.path} has an encoder ({header.architecture}): it answers a text, and continues none.",
                "Name a decoder alone.",
            )
        self.vocabulary = library.llama_model_get_vocab(self.pointer)
        self.vocab_size = int(library.llama_vocab_n_tokens(self.vocabulary))
        self.trained_window = int(library.llama_model_n_ctx_train(self.pointer))

    @property
    def batch(self) -> int:
        """Positions that llama.cpp computes at once: it reserves as many rows of logits."""
        return 64 if self.vocab_size > LARGE_VOCABULARY else 128


class Adapter:
    """A LoRA on loaded weights, which stay as they are: it is attached to single contexts."""

    def __init__(self, weights: Weights, path: Path) -> None:
        """Load the file. Raises WeightsError where it does not fit the weights."""
        library = weights.library
        LOG.forget()
        self.weights = weights
        self.pointer = library.llama_adapter_lora_init(weights.pointer, os.fsencode(path))
        if not self.pointer:
            raise WeightsError(
                f"The adapter {path} does not fit {weights.header.path}: {LOG.complaint() or 'llama.cpp refuses it'}.",
                f"Name the base that it was made for. All that llama.cpp said is in {LOG.path}.",
            )

    def attach(self, context: Any) -> None:
        """Let a context compute with the adapter from now on. Raises WeightsError."""
        library = self.weights.library
        adapters = (library.llama_adapter_lora_p_ctypes * 1)(self.pointer)
        scales = (ctypes.c_float * 1)(1.0)
        if library.llama_set_adapters_lora(context, adapters, 1, scales) != 0:
            raise WeightsError("llama.cpp refuses the adapter.", f"What it said is in {LOG.path}.")


class Entry(NamedTuple):
    """An id that one of several sequences is fed at a position, and whether what follows it is wanted."""

    sequence: int
    position: int
    token: int
    kept: bool


class Session:
    """One context of llama.cpp with room for ``size`` positions of each sequence: KV caches, and the logits of its last
    batch."""

    def __init__(self, weights: Weights, adapter: Adapter | None, size: int, threads: int, sequences: int = 1) -> None:
        """Raises MemoryExhaustedError where there is no memory for it."""
        self.weights = weights
        self.size = size
        self.used = 0
        library = weights.library
        settings = library.llama_context_default_params()
        settings.n_ctx = size * sequences
        settings.n_batch = settings.n_ubatch = min(weights.batch, size * sequences)
        settings.n_seq_max = sequences
        # Each sequence attends to a cache of its own.
        settings.kv_unified = False
        settings.n_threads = settings.n_threads_batch = threads
        # Plain attention over float32 keys and values: the least rounding, and the same on every machine.
        settings.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.type_k = settings.type_v = _F32
        settings.swa_full = False
        settings.no_perf = True
        LOG.forget()
        self.pointer = library.llama_init_from_model(weights.pointer, settings)
        if not self.pointer:
            raise MemoryExhaustedError(
                f"llama.cpp has no memory for {size} positions: {LOG.complaint() or 'it does not say more'}.",
                f"Use a smaller --ctx-size. What it said is in {LOG.path}.",
            )
        self._free = weakref.finalize(self, library.llama_free, self.pointer)
        self._batch = library.llama_batch_init(weights.batch, 0, 1)
        weakref.finalize(self, library.llama_batch_free, self._batch)
        for place in range(weights.batch):
            self._batch.n_seq_id[place] = 1
            self._batch.seq_id[place][0] = 0
        if adapter is not None:
            adapter.attach(self.pointer)

    def clear(self) -> None:
        """Forget all positions."""
        library = self.weights.library
        library.llama_memory_clear(library.llama_get_memory(self.pointer), False)
        self.used = 0

    def copy_from(self, other: Session) -> None:
        """Take over what another session, which is no larger, has seen: its keys and values to the bit."""
        self.copy_sequence(other, 0)
        self.used = other.used

    def forget(self, sequence: int) -> None:
        """Forget what one of several sequences has seen."""
        library = self.weights.library
        library.llama_memory_seq_rm(library.llama_get_memory(self.pointer), sequence, -1, -1)

    def copy_sequence(self, other: Session, sequence: int) -> None:
        """Take over what a sequence of another session, which has as many, has seen."""
        library = self.weights.library
        size = library.llama_state_seq_get_size(other.pointer, sequence)
        held = (ctypes.c_uint8 * size)()
        copied = library.llama_state_seq_get_data(other.pointer, held, size, sequence)
        if not copied or not library.llama_state_seq_set_data(self.pointer, held, copied, sequence):
            raise MemoryExhaustedError(
                f"llama.cpp cannot give a context room for {self.size} positions.", f"Use --ctx-size {self.size}."
            )

    def decode_entries(self, entries: Sequence[Entry]) -> NDArray[np.float32]:
        """Feed at most a batch of entries, those of a sequence in order, and return what was wanted [n, vocabulary]."""
        library, batch = self.weights.library, self._batch
        batch.n_tokens = len(entries)
        for place, entry in enumerate(entries):
            batch.token[place] = entry.token
            batch.pos[place] = entry.position
            batch.seq_id[place][0] = entry.sequence
            batch.logits[place] = entry.kept
        self._compute(max(entry.position for entry in entries) + 1)
        size = self.weights.vocab_size
        wanted = [place for place, entry in enumerate(entries) if entry.kept]
        rows = np.empty((len(wanted), size), np.float32)
        for row, place in enumerate(wanted):
            # llama.cpp may compute the sequences in another order than they were given.
            logits = library.llama_get_logits_ith(self.pointer, place)
            rows[row] = np.ctypeslib.as_array(logits, (size,))
        return rows

    def decode(self, ids: Sequence[int], keep: int, owner: object) -> NDArray[np.float32]:
        """Feed at most a batch of ids and return the logits [keep, vocabulary] behind the last of them, not copied.

        They lie where llama.cpp wrote them, and are overwritten by the next call. While they are held, so are this
        session and ``owner``: the memory stays, and nobody else is given the session.
        """
        library, batch, count = self.weights.library, self._batch, len(ids)
        batch.n_tokens = count
        for place, token in enumerate(ids):
            batch.token[place] = token
            batch.pos[place] = self.used + place
            batch.logits[place] = place >= count - keep
        self._compute(self.used + count)
        self.used += count
        if not keep:
            return np.zeros((0, self.weights.vocab_size), np.float32)
        logits = library.llama_get_logits(self.pointer)
        if not logits:
            raise WeightsError(
                f"{self.weights.header.path} predicts no tokens.", "Name a model that writes text, not one that embeds."
            )
        size = self.weights.vocab_size
        block: Any = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float * (keep * size))).contents
        block.held = (self, owner)
        rows: NDArray[np.float32] = np.ctypeslib.as_array(block).reshape(keep, size)
        return rows

    def _compute(self, needed: int) -> None:
        """Decode the batch, behind which a sequence has ``needed`` positions."""
        LOG.forget()
        result = self.weights.library.llama_decode(self.pointer, self._batch)
        if result == 1:
            raise WindowError(f"{needed} positions do not fit a context of {self.size}.", "Use a larger --ctx-size.")
        if result != 0:
            raise MemoryExhaustedError(
                f"llama.cpp could not compute: {LOG.complaint() or f'it answered {result}'}.",
                f"What it said is in {LOG.path}.",
            )
