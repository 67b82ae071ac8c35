"""Parts of a list of prompts, for several machines: dealt in turn, so that parts take about as long."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import TypeVar

from itx.records import Prompt
from itx.runs.asked import fingerprint_prompt

Item = TypeVar("Item")


def deal(items: Sequence[Item], number: int, count: int) -> list[Item]:
    """Return the ``number``-th (from 1) of ``count`` parts."""
    return list(items[number - 1 :: count])


def gather(parts: Sequence[Sequence[Item]]) -> list[Item]:
    """Return the list that was dealt into ``parts``, all of them in order.

    Raises ValueError where no list can have been: a part is longer than one before it, or by two shorter.
    """
    lengths = [len(part) for part in parts]
    if lengths != sorted(lengths, reverse=True) or lengths[0] - lengths[-1] > 1:
        raise ValueError(f"parts of {', '.join(map(str, lengths))}")
    return [part[place] for place in range(lengths[0]) for part in parts if place < len(part)]


def fingerprint_list(prompts: Iterable[Prompt]) -> str:
    """Return ``sha256:…`` of a list of prompts, in order: ids, and all that answers depend on."""
    return fingerprint_pairs((prompt.id, fingerprint_prompt(prompt)) for prompt in prompts)


def fingerprint_pairs(pairs: Iterable[tuple[str, str | None]]) -> str:
    """Return the same of ids and fingerprints of what was asked."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps(pair).encode("ascii") + b"\n")
    return f"sha256:{digest.hexdigest()}"
