"""What turns a text into a vector: the weights inside wordllama's wheel, or any sentence-transformers model."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from itx.errors import ItxError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 400
"""Characters of a text that are embedded: the same rows come first as with all of it, in a third of the time."""
_CONFIGURATION = "l2_supercat"
_DIMENSIONS = 256
_BATCH = 256


class Embedder(Protocol):
    """Maps texts to vectors of length 1, shape (texts, ``dimensions``), float32; a text without words to zeros."""

    @property
    def dimensions(self) -> int:
        """How long its vectors are."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of the first ``LONGEST`` characters of each text."""


class WordVectors:
    """The mean of wordllama's 256 figures a token. Works offline: weights and tokenizer are files of the package."""

    def __init__(self) -> None:
        wordllama = _import_quietly()
        folder = Path(str(wordllama.__file__)).parent
        model = wordllama.WordLlama.load(_CONFIGURATION, cache_dir=folder, dim=_DIMENSIONS, disable_download=True)
        self._vectors: NDArray[np.float32] = model.embedding
        self._tokenizer = model.tokenizer
        # Padding to the longest of a batch would cost more than the rest: each text is averaged by itself.
        self._tokenizer.no_padding()

    @property
    def dimensions(self) -> int:
        """How long its vectors are."""
        return int(self._vectors.shape[1])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of the first ``LONGEST`` characters of each text."""
        found = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        encoded = self._tokenizer.encode_batch_fast([_prepare(text) for text in texts], add_special_tokens=False)
        for number, encoding in enumerate(encoded):
            if encoding.ids:
                self._vectors.take(encoding.ids, axis=0, mode="clip").mean(axis=0, out=found[number])
        return _normalise(found)


class SentenceModel:
    """A model of sentence-transformers, by hub id or folder, on the CPU.

    Only safetensors and no code of the model's own. Raises MissingExtraError without the package, UsageError where
    there is no such model.
    """

    def __init__(self, reference: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("sentence-transformers", "embedders") from error
        try:
            self._model = SentenceTransformer(reference, device="cpu", model_kwargs={"use_safetensors": True})
        except (OSError, ValueError, KeyError, ImportError) as error:
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(
                f"--embedder {reference} cannot be loaded: {first[0]}",
                "Name a folder or hub id of a sentence-transformers model with model.safetensors.",
            ) from error
        self._dimensions = int(self._model.encode(["a"]).shape[1])

    @property
    def dimensions(self) -> int:
        """How long its vectors are."""
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of the first ``LONGEST`` characters of each text."""
        found = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        prepared = [_prepare(text) for text in texts]
        spoken = [number for number, text in enumerate(prepared) if text]
        if spoken:
            vectors = self._model.encode(
                [prepared[number] for number in spoken], batch_size=_BATCH, show_progress_bar=False
            )
            found[spoken] = np.asarray(vectors, dtype=np.float32)
        return _normalise(found)


def load_embedder(reference: str | None) -> Embedder:
    """Return the embedder of this name: None is the one whose weights come with itx."""
    return WordVectors() if reference is None else SentenceModel(reference)


def identify(reference: str | None) -> str:
    """Return what must be the same for two vectors to be comparable, without loading anything.

    For a folder the sizes and times of its files belong to it. Raises UsageError where it cannot be read.
    """
    if reference is None:
        return f"wordllama {_CONFIGURATION} {_DIMENSIONS} {importlib.metadata.version('wordllama')}"
    folder = Path(reference)
    if not folder.is_dir():
        return reference
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        facts = [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    except OSError as error:
        raise UsageError(f"--embedder {reference} cannot be read: {error.strerror}.", "Name another folder.") from error
    return f"folder {hashlib.sha256(repr(facts).encode('utf-8', 'surrogateescape')).hexdigest()}"


def _prepare(text: str) -> str:
    """Return what a tokenizer can take: no lone surrogate."""
    return text[:LONGEST].encode("utf-8", "ignore").decode("utf-8").strip()


def _normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ItxError("The embedder returned a vector that is not finite.", "Name another one with --embedder.")
    np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return vectors


def _import_quietly() -> ModuleType:
    """Import wordllama, which sets up logging for the whole process, and take that back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import wordllama

    root.handlers[:] = handlers
    root.setLevel(level)
    return cast("ModuleType", wordllama)
