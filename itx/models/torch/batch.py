"""Several KV caches of a transformers model as one: contexts are padded on the left, and padding is never attended to.

Positions count each sequence's own ids. A sequence that is fed fewer ids than another later on is padded on the right,
behind its last id, where nothing that counts can see it; so no gap ever lies within a sequence, and the distance of
two ids in the cache is that of their positions, which sliding windows go by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache

from itx.models.contract import Rows
from itx.models.torch.memory import memory_watched

if TYPE_CHECKING:
    from itx.models.torch.engine import TorchEngine


class TorchBatch:
    """``count`` sequences in one dynamic KV cache on an engine's weights."""

    def __init__(self, engine: TorchEngine, cache: DynamicCache, count: int) -> None:
        self._engine = engine
        self._cache = cache
        self._device = engine.arithmetic.device
        self._lengths = [0] * count
        """Ids that each sequence has seen."""
        self._mask = torch.ones((count, 0), dtype=torch.long, device=self._device)
        """[count, places of the cache]: 0 where there is padding on the left."""

    def extend(self, ids: Sequence[Sequence[int]], keep: Sequence[int]) -> Rows:
        """Feed each place its ids and return the logits after the last ``keep[i]`` of them as one block."""
        longest = max(len(fed) for fed in ids)
        gaps = [longest - len(fed) for fed in ids]
        begins = self._mask.shape[1] == 0
        words: list[list[int]] = []
        positions: list[list[int]] = []
        for fed, gap, seen in zip(ids, gaps, self._lengths, strict=True):
            own = range(seen, seen + len(fed))
            # Padding has the position of an id that is there: a position beyond the window may have no embedding.
            words.append([0] * gap + [*fed] if begins else [*fed] + [0] * gap)
            positions.append([0] * gap + [*own] if begins else [*own] + [own[-1]] * gap)
        kept = max(keep) if begins else max(gap + count for gap, count in zip(gaps, keep, strict=True))
        with memory_watched("the next step of a batch; make it smaller (--batch-size)"), torch.inference_mode():
            new = torch.ones((len(ids), longest), dtype=torch.long)
            if begins:
                for place, gap in enumerate(gaps):
                    new[place, :gap] = 0
            self._mask = torch.cat([self._mask, new.to(self._device)], dim=1)
            logits = self._engine.forward(
                torch.tensor(words, device=self._device),
                self._cache,
                kept,
                attention_mask=self._mask,
                position_ids=torch.tensor(positions, device=self._device),
            )
            self._lengths = [seen + len(fed) for seen, fed in zip(self._lengths, ids, strict=True)]
            return _pick(logits, keep, [0] * len(gaps) if begins else gaps)

    def select(self, places: Sequence[int]) -> None:
        """Go on with these places alone."""
        with memory_watched("a batch without those that have ended"), torch.inference_mode():
            chosen = torch.tensor([*places], device=self._device)
            self._cache.batch_select_indices(chosen)
            self._mask = self._mask[chosen]
        self._lengths = [self._lengths[place] for place in places]


def _pick(logits: Tensor, keep: Sequence[int], gaps: Sequence[int]) -> Tensor:
    """Return of each sequence's logits [count, kept, columns] the last ``keep[i]``, ``gaps[i]`` at the end left out."""
    kept = logits.shape[1]
    if all(count == kept for count in keep):
        return logits.flatten(0, 1)
    return torch.cat(
        [rows[kept - gap - count : kept - gap] for rows, count, gap in zip(logits, keep, gaps, strict=True)]
    )
