"""The tiny engine: numpy alone, for tests of everything that stands on an engine. It has no knowledge, only a shape.

References are ``tiny:SEED`` or ``tiny:SEED?KEY=VALUE&…`` with the keys ``tuned`` (how far the weights are moved, 0 not
at all), ``slow`` (seconds a token), ``fail`` (a stream runs out of memory at its n-th id), ``window``, ``chunk``,
``together`` (sequences that it can advance at once, 0 as many as one likes), ``ends`` (nats that EOS is likelier by)
and ``added`` (columns behind the others, as a tuning adds them). Ids 0–255 are bytes, then BOS, EOS and padding columns
that no text uses. Logits are a pure function of the seed and the ids seen, the same for every way of cutting them into
chunks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from itx.errors import MemoryExhaustedError, UsageError
from itx.models.contract import Rows
from itx.models.reduction import NumpyArithmetic
from itx.models.reference import Reference
from itx.models.spelling import BytesDecoder, name_bytes
from itx.models.turns import Turns

BOS, EOS = 256, 257
_COLUMNS = 272
_WIDTH = 24
_DECAY = np.float32(0.75)
_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: "


class TinyVocabulary:
    """Bytes, BOS and EOS."""

    size = 258
    bos: int | None = BOS
    adds_bos = True
    special = frozenset({BOS, EOS})
    added = special
    fingerprint = f"sha256:{hashlib.sha256(b'tiny bytes').hexdigest()}"
    variables: Mapping[str, str] = {"bos_token": "<bos>", "eos_token": "<eos>"}

    @property
    def symbols(self) -> Mapping[int, str]:
        """Every id's piece."""
        return {token: self.piece(token) for token in range(self.size)}

    def encode(self, text: str) -> list[int]:
        """Return the bytes of ``text``."""
        return list(text.encode("utf-8", "replace"))

    def _spell(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b"" if token >= self.size else (b"<bos>", b"<eos>")[token - 256]

    def piece(self, token: int) -> str:
        """Return a byte's character, or ``<0xE2>`` where it is none."""
        return name_bytes(self._spell(token)) if token < self.size else f"<{token}>"

    def decoder(self) -> BytesDecoder:
        """Return a fresh incremental decoder."""
        return BytesDecoder(self._spell)


class TinyEngine:
    """Weights drawn from a seed."""

    kind = "tiny"
    adapter: str | None = None
    quantization: str | None = None
    template: str | None = _TEMPLATE
    eos = frozenset({EOS})
    threads = 1
    dtype = "float32"
    device = "cpu"

    def __init__(self, seed: int, settings: Mapping[str, float] | None = None, *, name: str, reference: str) -> None:
        chosen = dict(settings or {})
        self.name = name
        self.reference = reference
        self.window: int | None = int(chosen.get("window", 0)) or None
        self.chunk = int(chosen.get("chunk", 8))
        self.block = 8 * self.chunk
        self.together: int | None = int(chosen.get("together", 0)) or None
        self.slow = chosen.get("slow", 0.0)
        self.fail = int(chosen.get("fail", 0)) or None
        self.vocabulary = TinyVocabulary()
        self.arithmetic = NumpyArithmetic()
        moved = chosen.get("tuned", 0.0)
        random = np.random.default_rng(seed)
        self.embedding = random.standard_normal((_COLUMNS, _WIDTH), dtype=np.float32)
        self.output = random.standard_normal((_WIDTH, _COLUMNS), dtype=np.float32)
        self.bias = np.full(_COLUMNS, -6, dtype=np.float32)
        self.bias[[10, 32, *range(97, 123)]] = 1
        self.bias[EOS] = -5 + chosen.get("ends", 0.0)
        self.bias[0xC3] = self.bias[0xE2] = -2
        self.bias[0x80:0xC0] = -3
        if moved:
            change = np.random.default_rng([seed, 1]).standard_normal(self.output.shape, dtype=np.float32)
            self.output = self.output + np.float32(moved) * change
        added = int(chosen.get("added", 0))
        self.vocab_size = _COLUMNS + added
        if added:
            more = np.random.default_rng([seed, 2]).standard_normal((added, _WIDTH), dtype=np.float32)
            self.embedding = np.concatenate([self.embedding, more])
            self.output = np.concatenate([self.output, more.T], axis=1)
            self.bias = np.concatenate([self.bias, np.full(added, -6, dtype=np.float32)])
        digest = hashlib.sha256(self.output.tobytes() + self.embedding.tobytes())
        self.fingerprint = f"sha256:{digest.hexdigest()}"

    def read(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Return the logits after the last ``keep`` of ``ids``, which are all that is to be fed."""
        return self.stream().extend(ids, keep)

    def stream(self) -> TinyStream:
        """Return a fresh stream."""
        return TinyStream(self)

    def batch(self, count: int) -> Turns:
        """Return ``count`` fresh streams that advance together."""
        return Turns([self.stream() for _ in range(count)], self.arithmetic)


class TinyStream:
    """The decayed sum of the embeddings seen."""

    def __init__(self, engine: TinyEngine) -> None:
        self._engine = engine
        self._state = np.zeros(_WIDTH, dtype=np.float32)
        self._seen = 0

    def extend(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Feed ``ids`` and return the logits after the last ``keep`` of them."""
        engine = self._engine
        rows: list[NDArray[np.float32]] = []
        for place, token in enumerate(ids):
            self._seen += 1
            if engine.fail is not None and self._seen >= engine.fail:
                raise MemoryExhaustedError("There was not enough memory for the tiny engine.", "Use a larger fail=.")
            if engine.slow:
                time.sleep(engine.slow)
            self._state = self._state * _DECAY + engine.embedding[token]
            if place >= len(ids) - keep:
                rows.append(np.tanh(self._state) @ engine.output + engine.bias)
        return np.stack(rows)


def load_tiny(reference: Reference) -> TinyEngine:
    """Make the engine that a ``tiny:`` reference describes. Raises UsageError where it cannot be read."""
    seed, _, query = reference.place.partition("?")
    try:
        settings = {key: float(value) for key, value in parse_qsl(query, strict_parsing=bool(query))}
        return TinyEngine(int(seed), settings, name=reference.name, reference=reference.text)
    except ValueError as error:
        raise UsageError(f"{reference.text} is no tiny engine: {error}", "Write tiny:1 or tiny:1?tuned=0.5") from error
