"""Several sequences in one context of llama.cpp, each with a KV cache of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from itx.errors import WindowError
from itx.models.contract import Rows
from itx.models.llama.weights import FIRST_SIZE, Entry, Session

if TYPE_CHECKING:
    from itx.models.llama.engine import LlamaEngine

MOST: Final = 64
"""Sequences in one context; llama.cpp has room for 256, and for rows of logits of one batch."""


class LlamaBatch:
    """``count`` sequences on an engine's weights. Its context grows as streams' do."""

    def __init__(self, engine: LlamaEngine, count: int) -> None:
        self._engine = engine
        self._count = count
        self._sequences = list(range(count))
        """Which of the context's sequences each place is."""
        self._used = [0] * count
        self._session: Session | None = None

    def extend(self, ids: Sequence[Sequence[int]], keep: Sequence[int]) -> Rows:
        """Feed each place its ids and return the logits after the last ``keep[i]`` of them as one block.

        Raises MismatchError for an id that the vocabulary lacks, WindowError, MemoryExhaustedError.
        """
        engine = self._engine
        for fed in ids:
            engine.check_known(fed)
        session = self._make_room(max(used + len(fed) for used, fed in zip(self._used, ids, strict=True)))
        entries = [
            Entry(sequence, used + number, token, number >= len(fed) - kept)
            for sequence, used, fed, kept in zip(self._sequences, self._used, ids, keep, strict=True)
            for number, token in enumerate(fed)
        ]
        size = engine.weights.batch
        parts = [session.decode_entries(entries[start : start + size]) for start in range(0, len(entries), size)]
        self._used = [used + len(fed) for used, fed in zip(self._used, ids, strict=True)]
        return np.concatenate(parts)

    def select(self, places: Sequence[int]) -> None:
        """Go on with these places alone; what the others have seen is forgotten."""
        going = [self._sequences[place] for place in places]
        if self._session is not None:
            for sequence in set(self._sequences) - set(going):
                self._session.forget(sequence)
        self._sequences, self._used = going, [self._used[place] for place in places]

    def _make_room(self, needed: int) -> Session:
        window = self._engine.window
        if window is not None and needed > window:
            raise WindowError(
                f"{needed} positions do not fit the window of {self._engine.name}, which holds {window}.",
                "Shorten the prompt, or use a larger --ctx-size.",
            )
        before = self._session
        if before is not None and needed <= before.size:
            return before
        size = FIRST_SIZE
        while size < needed:
            size *= 2
        # As many sequences as before, ended ones, too: llama.cpp copies between contexts of one kind only.
        self._session = self._engine.open_session(size, self._count)
        if before is not None:
            for sequence in self._sequences:
                self._session.copy_sequence(before, sequence)
        return self._session
