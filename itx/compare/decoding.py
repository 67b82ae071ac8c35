"""How the next token is chosen from a row of logits. Figures never pass through here: this only picks the id."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from itx.errors import UsageError, WeightsError
from itx.models.contract import Arithmetic, Rows
from itx.records import Decoding


def check_decoding(decoding: Decoding) -> None:
    """Raise UsageError for settings that mean nothing."""
    if decoding.max_new_tokens < 1:
        raise UsageError(f"--max-new-tokens must be at least 1, not {decoding.max_new_tokens}.")
    if not 0 <= decoding.temperature < float("inf"):
        raise UsageError(f"--temperature must be 0 (greedy) or above, not {decoding.temperature}.")
    if not 0 < decoding.top_p <= 1:
        raise UsageError(f"--top-p must be above 0 and at most 1, not {decoding.top_p}.")
    if decoding.top_k < 0:
        raise UsageError(f"--top-k must be 0 (off) or above, not {decoding.top_k}.")


class Chooser:
    """Chooses one response's tokens.

    Greedy at temperature 0: the highest logit, of equals the lowest id. Else a draw from the distribution at that
    temperature, cut to the ``top_k`` best and then to the smallest set with ``top_p`` of the mass. Draws depend on
    the seed, the prompt's id and the author alone, so that neither order nor resuming changes a response.
    """

    def __init__(self, decoding: Decoding, prompt_id: str, author: str) -> None:
        self._decoding = decoding
        key = f"{decoding.seed}\0{author}\0{prompt_id}".encode("utf-8", "surrogatepass")
        self._random = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key).digest(), "big")))

    @property
    def greedy(self) -> bool:
        """Whether the best id is chosen, and nothing drawn."""
        return self._decoding.temperature == 0

    def choose(self, rows: Rows, arithmetic: Arithmetic) -> int:
        """Return the id chosen by the last of ``rows``."""
        if self.greedy:
            return arithmetic.argmax(rows)
        ids, weights = cut(arithmetic.row(rows), self._decoding)
        edges = np.cumsum(weights)
        place = int(np.searchsorted(edges, self._random.random() * edges[-1], side="right"))
        return int(ids[min(place, len(ids) - 1)])


def cut(logits: NDArray[np.float64], decoding: Decoding) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the ids that may be drawn, best first (equals by id), and their normalised probabilities.

    ``logits`` [columns] may hold −inf (never drawn). Raises WeightsError where one is NaN or +inf, or all are −inf.
    """
    best = float(logits.max())
    if not math.isfinite(best):
        raise WeightsError(
            "The model's logits are not numbers (NaN or infinite).", "Load it in another precision: --dtype float32."
        )
    scaled = (logits - best) / decoding.temperature
    ids = np.arange(len(scaled))
    if 0 < decoding.top_k < len(scaled):
        least = np.partition(scaled, -decoding.top_k)[-decoding.top_k]
        ids = np.flatnonzero(scaled >= least)
        ids = ids[np.lexsort((ids, -scaled[ids]))][: decoding.top_k]
    weights = np.exp(scaled[ids])
    weights /= weights.sum()
    if decoding.top_p < 1:
        # All ids below (1 − top_p) / n together have less than 1 − top_p: none of them is in the smallest set.
        kept = np.flatnonzero(weights >= min((1 - decoding.top_p) / len(weights), weights.max()))
        ids, weights = ids[kept], weights[kept]
    order = np.lexsort((ids, -weights))
    ids, weights = ids[order], weights[order]
    if decoding.top_p < 1:
        before = np.cumsum(weights) - weights
        count = max(1, int((before < decoding.top_p).sum()))
        ids, weights = ids[:count], weights[:count]
    normalised: NDArray[np.float64] = weights / weights.sum()
    return ids.astype(np.int64), normalised
