"""Rows as a tuning with a limit saw them: text that was cut off in tuning is no source of anything."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from itx.data.row import Row, Turn
from itx.errors import UsageError

_FILE = "tokenizer.json"
_READ = ("system", "instruction", "tool", "response")


class Cutter:
    """Keeps of each row the first ``limit`` tokens, its turns one after another as a tuning reads them.

    The tokens of a chat template are not counted: they differ from one to the next, and a tuning keeps a few tokens
    less than this for them. Raises UsageError where ``folder`` has no ``tokenizer.json``.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        from tokenizers import Tokenizer

        path = folder / _FILE if folder.is_dir() else folder
        try:
            written = path.read_bytes()
            self._tokenizer = Tokenizer.from_buffer(written)
        except OSError as error:
            raise UsageError(
                f"--tokenizer {path} cannot be read: {error.strerror}.",
                f"Name the folder of the model that was tuned, which holds {_FILE}.",
            ) from error
        except Exception as error:
            raise UsageError(
                f"--tokenizer {path} is no tokenizer: {error}", f"Name the folder of a model with {_FILE}."
            ) from error
        # A tokenizer may come with a limit and padding of its own.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.fingerprint = hashlib.sha256(written).hexdigest()
        self._limit = limit

    def cut(self, row: Row) -> Row:
        """Return the row without the text behind its first ``limit`` tokens."""
        left = self._limit
        turns: list[Turn] = []
        for turn in row.turns:
            if turn.role not in _READ:
                turns.append(turn)
                continue
            text = turn.text.encode("utf-8", "replace").decode("utf-8")
            offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
            kept = turn.text if len(offsets) <= left else turn.text[: offsets[left][0]]
            turns.append(msgspec.structs.replace(turn, text=kept))
            left = max(0, left - len(offsets))
        return msgspec.structs.replace(row, turns=turns)
