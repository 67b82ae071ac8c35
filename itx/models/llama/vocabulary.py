"""What a GGUF file's token ids mean, by llama.cpp's own tokenizer."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from itx.errors import WeightsError
from itx.models.llama.texts import Numbered
from itx.models.llama.weights import Weights
from itx.models.spelling import BytesDecoder, name_bytes

_UNKNOWN, _CONTROL, _USER, _UNUSED = 2, 3, 4, 5
_HASHED: Final = ("tokens", "scores", "token_type", "merges")
_NAMED: Final = {"bos_token": "bos", "eos_token": "eos", "pad_token": "pad", "sep_token": "sep"}


class GgufVocabulary:
    """Ids and text of loaded weights."""

    def __init__(self, weights: Weights) -> None:
        """Raises WeightsError where the file has no vocabulary."""
        self._weights = weights
        self._library = library = weights.library
        self._header = header = weights.header
        self.size = weights.vocab_size
        kinds = header.numbers("tokenizer.ggml.token_type").astype(np.int64)
        if "tokenizer.ggml.tokens" not in header.metadata:
            raise WeightsError(f"{header.path} has no vocabulary.", "Convert the model again, with its tokenizer.")
        self.special = frozenset(np.flatnonzero((kinds == _CONTROL) | (kinds == _UNKNOWN)).tolist())
        self.added = self.special | frozenset(np.flatnonzero((kinds == _USER) | (kinds == _UNUSED)).tolist())
        self.bos = self._known(library.llama_vocab_bos(weights.vocabulary))
        self.adds_bos = bool(library.llama_vocab_get_add_bos(weights.vocabulary))
        self.spell = lru_cache(maxsize=65536)(self._spell)

    def _known(self, token: int) -> int | None:
        return int(token) if 0 <= token < self.size else None

    @cached_property
    def eos(self) -> frozenset[int]:
        """The ids that end a response: EOS, and every marker that llama.cpp knows to end a turn."""
        library, vocabulary = self._library, self._weights.vocabulary
        named = {int(library.llama_vocab_eos(vocabulary)), int(library.llama_vocab_eot(vocabulary))}
        candidates = [token for token in self.added | named if 0 <= token < self.size]
        return frozenset(token for token in candidates if library.llama_vocab_is_eog(vocabulary, token))

    @cached_property
    def symbols(self) -> Mapping[int, str]:
        """Every id as the file writes it."""
        return Numbered(self._header.texts("tokenizer.ggml.tokens"))

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """The special tokens' texts by the names of chat templates."""
        found = {}
        for name, short in _NAMED.items():
            token = self._known(getattr(self._library, f"llama_vocab_{short}")(self._weights.vocabulary))
            if token is not None:
                found[name] = self._name(token)
        return found

    @cached_property
    def fingerprint(self) -> str:
        """``sha256:…`` of the vocabulary's arrays, as they stand in the file."""
        digest = hashlib.sha256()
        for name in _HASHED:
            digest.update(self._header.raw(f"tokenizer.ggml.{name}"))
        self._header.release()
        return f"sha256:{digest.hexdigest()}"

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, nothing added; lone surrogates become U+FFFD."""
        data = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
        if not data:
            return []
        room = len(data) + 16
        ids = (self._library.llama_token * room)()
        count = self._library.llama_tokenize(self._weights.vocabulary, data, len(data), ids, room, False, True)
        if count < 0:
            room = -count
            ids = (self._library.llama_token * room)()
            count = self._library.llama_tokenize(self._weights.vocabulary, data, len(data), ids, room, False, True)
        return [int(token) for token in ids[: max(0, count)]]

    def _spell(self, token: int) -> bytes:
        """Return the exact bytes of an id; markers are spelt as they are written."""
        if not 0 <= token < self.size:
            return b""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = self._library.llama_token_to_piece(self._weights.vocabulary, token, buffer, room, 0, True)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    def piece(self, token: int) -> str:
        """Return one id as text; bytes that are no whole character are written ``<0xE2>``."""
        if not 0 <= token < self.size:
            return f"<{token}>"
        # llama.cpp spells unused ids as nothing: what the file calls them says more.
        return name_bytes(self.spell(token)) or self._name(token)

    def _name(self, token: int) -> str:
        """Return an id as the file writes it, without reading through the file for it."""
        text: bytes | None = self._library.llama_vocab_get_text(self._weights.vocabulary, token)
        return (text or b"").decode("utf-8", "replace")

    def decoder(self) -> BytesDecoder:
        """Return a fresh incremental decoder."""
        return BytesDecoder(self.spell)
