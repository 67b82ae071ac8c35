"""A batch of streams that are asked in turn: nothing is gained by it, and every engine has it."""

from __future__ import annotations

from collections.abc import Sequence

from itx.models.contract import Arithmetic, Rows, Stream


class Turns:
    """Streams, one a place."""

    def __init__(self, streams: Sequence[Stream], arithmetic: Arithmetic) -> None:
        self._streams = list(streams)
        self._arithmetic = arithmetic

    def extend(self, ids: Sequence[Sequence[int]], keep: Sequence[int]) -> Rows:
        """Feed each place its ids and return the logits after the last ``keep[i]`` of them as one block."""
        parts = zip(self._streams, ids, keep, strict=True)
        return self._arithmetic.stack([stream.extend(fed, kept) for stream, fed, kept in parts])

    def select(self, places: Sequence[int]) -> None:
        """Go on with these places alone."""
        self._streams = [self._streams[place] for place in places]
