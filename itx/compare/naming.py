"""What the ids that occur in a prompt's line mean, so that a run opens without a tokenizer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from itx.models.contract import Vocabulary
from itx.records import Top


class Named(NamedTuple):
    """Ids that were not named before: those that models share, and by name those of each model apart."""

    pieces: dict[int, str]
    own_pieces: dict[str, dict[int, str]]


class Names:
    """The pieces of one prompt. ``vocabularies`` has every model's; those in ``apart`` have ids of their own."""

    def __init__(self, vocabularies: Mapping[str, Vocabulary], apart: Collection[str] = ()) -> None:
        self._vocabularies = vocabularies
        self.apart = list(apart)
        self.pieces: dict[int, str] = {}
        self.own_pieces: dict[str, dict[int, str]] = {}

    def add(self, used: Iterable[tuple[str, Sequence[Top], Sequence[int]]]) -> Named:
        """Name the ids that models have used, as alternatives and as their own, and return those not named before."""
        named = Named({}, {})
        for model, tops, ids in used:
            seen = {token for top in tops for token, _ in top}.union(ids)
            if not seen:
                continue
            if model in self.apart:
                known = self.own_pieces.setdefault(model, {})
                told = named.own_pieces.setdefault(model, {})
            else:
                known, told = self.pieces, named.pieces
            fresh = {token: self._vocabularies[model].piece(token) for token in sorted(seen - known.keys())}
            known.update(fresh)
            told.update(fresh)
        return named
