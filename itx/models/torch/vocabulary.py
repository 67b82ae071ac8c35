"""A vocabulary on a Hugging Face tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from itx.errors import WeightsError
from itx.models.beside import read_object
from itx.models.contract import Decoder
from itx.models.spelling import BytesDecoder, name_bytes, spell_bytes
from itx.models.torch.advice import advise, first_line

_SETTINGS = "tokenizer_config.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
_MORE_FILES = ("merges.txt", "sentencepiece.bpe.model", "added_tokens.json", "special_tokens_map.json", "tekken.json")
_IDLE = ("chat_template", "is_local", "local_files_only", "padding_side", "truncation_side", "model_max_length")
"""Settings that say nothing of what ids and texts mean here: the chat template is read by itself, nothing is padded."""
_DECISIVE = ("model_type", "model_name", "tokenizer_class")
"""What of a model's config decides how transformers reads a tokenizer's files."""
_shared: WeakValueDictionary[str, HuggingFaceVocabulary] = WeakValueDictionary()
"""Vocabularies in use, by all that decides them."""


def has_tokenizer(folder: Path) -> bool:
    """Return whether the folder holds a tokenizer of its own: a file of a known kind, or one that its code reads."""
    if any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return True
    brought = _read_settings(folder).get("auto_map")
    return isinstance(brought, dict) and "AutoTokenizer" in brought


def _read_settings(folder: Path) -> dict[str, Any]:
    """Return what ``tokenizer_config.json`` says; nothing where there is none that can be read."""
    try:
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def load_vocabulary(folder: Path, *, trust_remote_code: bool, base: Path | None = None) -> HuggingFaceVocabulary:
    """Load the tokenizer of a local folder. Raises WeightsError where it has none that can be read.

    What a base and its tunings have in common is loaded once: where all of a folder's files are those of a vocabulary
    that is in use, to the byte, it is that one. ``base`` is the folder of the model that an adapter is for; an adapter
    has no config of a model.
    """
    if not has_tokenizer(folder):
        raise WeightsError(
            f"{folder} holds no tokenizer.",
            "Copy tokenizer.json and tokenizer_config.json of the model it was made from into it.",
        )
    try:
        digests = _digest_files(folder)
        keys = [] if trust_remote_code else _list_keys(folder, base, digests)
        for key in keys:
            found = _shared.get(key)
            if found is not None:
                return found
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    except (MemoryError, WeightsError):
        raise
    except Exception as error:  # tokenizers raises no other kind of its own
        raise WeightsError(
            f"The tokenizer in {folder} cannot be loaded: {first_line(error)}", advise(error, "Save it again.")
        ) from error
    name = next(name for name in (*_TOKENIZER_FILES, _SETTINGS) if name in digests)
    vocabulary = HuggingFaceVocabulary(tokenizer, f"sha256:{digests[name]}")
    if keys:
        _shared[keys[-1]] = vocabulary
    return vocabulary


def _digest_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each of a tokenizer's files that the folder has, by name. Raises OSError."""
    names = (*_TOKENIZER_FILES, *_MORE_FILES, _SETTINGS)
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names if (folder / name).is_file()
    }


def _list_keys(folder: Path, base: Path | None, digests: Mapping[str, str]) -> list[str]:
    """Return digests of all that decides how the folder's tokenizer reads: with its base's config, and with its own.

    Nothing where more decides: code, or the version that saved it. Raises WeightsError where a config cannot be read.
    """
    settings = read_object(folder / _SETTINGS)
    if "tokenizer.json" not in digests or "auto_map" in settings or "fix_mistral_regex" in settings:
        return []
    files = {name: digest for name, digest in digests.items() if name != _SETTINGS}
    said = {name: value for name, value in settings.items() if name not in _IDLE}
    configs = [read_object(place / "config.json") for place in (base, folder) if place is not None]
    decided = [[files, said, [config.get(name) for name in _DECISIVE]] for config in configs]
    return [hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest() for each in decided]


def read_template(folder: Path) -> str | None:
    """Return the chat template that lies in a folder, tokenizer or not: ``chat_template.jinja``, else the config's."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    return _choose_template(_read_settings(folder).get("chat_template"))


def _choose_template(found: object) -> str | None:
    """Return the default of what a tokenizer calls its chat template: a text, a mapping, or a list of named ones."""
    if isinstance(found, list):
        found = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
    if isinstance(found, dict):
        found = found.get("default")
    return found if isinstance(found, str) and found else None


class HuggingFaceVocabulary:
    """Ids and text by a Hugging Face tokenizer.

    Where its decoder is byte-level or falls back to bytes, every id has exact bytes, and text is these bytes joined;
    a leading space of the response is kept, because it continues a context. Else text is the growth of what the
    tokenizer decodes.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, fingerprint: str) -> None:
        self._tokenizer = tokenizer
        self.fingerprint = fingerprint
        self.size = len(tokenizer)
        self.bos: int | None = tokenizer.bos_token_id
        self.tokenizer_eos: int | None = tokenizer.eos_token_id
        self._added = {int(key): str(token.content) for key, token in tokenizer.added_tokens_decoder.items()}
        marked = {int(key) for key, token in tokenizer.added_tokens_decoder.items() if token.special}
        self.special = frozenset(marked | {int(token) for token in tokenizer.all_special_ids})
        self.added = frozenset(self._added)
        self.piece = lru_cache(maxsize=65536)(self._piece)

    @property
    def symbols(self) -> Mapping[int, str]:
        """Every id as the tokenizer writes it; made anew at each call (0.1 s for 262,144 ids)."""
        return {int(token): symbol for symbol, token in self._tokenizer.get_vocab().items()} | self._added

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """The special tokens' texts by name."""
        named = self._tokenizer.special_tokens_map
        return {name: str(text) for name, text in named.items() if isinstance(text, str)}

    @cached_property
    def adds_bos(self) -> bool:
        """Whether a plain encoding begins with BOS."""
        ids = self._tokenizer("a")["input_ids"]
        return self.bos is not None and bool(ids) and ids[0] == self.bos

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, nothing added; lone surrogates become U+FFFD."""
        clean = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        ids = self._tokenizer(clean, add_special_tokens=False, verbose=False)["input_ids"]
        return [int(token) for token in ids]

    def token_bytes(self, token: int) -> bytes | None:
        """Return the exact bytes of an id, or None where the tokenizer's decoder does not work by bytes."""
        if token in self._added:
            return self._added[token].encode()
        if self._spell is None:
            return None
        symbol = self._tokenizer.convert_ids_to_tokens(token)
        return self._spell(symbol) if isinstance(symbol, str) else b""

    @cached_property
    def _spell(self) -> Callable[[str], bytes] | None:
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        decoder = getattr(backend, "decoder", None)
        if decoder is None:
            return None
        state: dict[str, Any] = json.loads(decoder.__getstate__())
        return spell_bytes(state)

    def _piece(self, token: int) -> str:
        if token >= self.size:
            return f"<{token}>"
        spelled = self.token_bytes(token)
        if spelled is None:
            return str(self._tokenizer.decode([token], clean_up_tokenization_spaces=False))
        return name_bytes(spelled)

    def decoder(self) -> Decoder:
        """Return a fresh incremental decoder."""
        if self._spell is None:
            return _GrowthDecoder(self._tokenizer)
        return BytesDecoder(lambda token: (self.token_bytes(token) or b"") if token < self.size else b"")


class _GrowthDecoder:
    """Decodes by what the decoded text of a short window gains with each id (decoders without exact bytes)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0
        self._start = 0

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def feed(self, token: int) -> str:
        """Return the text that became complete with ``token``."""
        self._ids.append(token)
        before = self._decode(self._ids[self._start : self._shown]) if self._shown > self._start else ""
        after = self._decode(self._ids[self._start :])
        if after.endswith("�") or len(after) <= len(before):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return after[len(before) :]

    def flush(self) -> str:
        """Return what is left as it decodes."""
        before = self._decode(self._ids[self._start : self._shown]) if self._shown > self._start else ""
        after = self._decode(self._ids[self._start :]) if self._ids else ""
        self._start = self._shown = len(self._ids)
        return after[len(before) :]
