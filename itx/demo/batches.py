"""Token sequences grouped by length into padded batches, so that almost no work is spent on padding."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch

IGNORED: Final = -100


@dataclass(frozen=True)
class Sequence:
    """Token ids of one document; the first `prompt` of them are read, not learned."""

    ids: tuple[int, ...]
    prompt: int = 0


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels` of shape (sequences, longest); padding and prompts have the label -100."""

    ids: torch.Tensor
    labels: torch.Tensor


def pad(sequences: list[Sequence], pad_id: int) -> Batch:
    """Sequences padded on the right, which a causal model does not look at."""
    longest = max(len(sequence.ids) for sequence in sequences)
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    labels = torch.full((len(sequences), longest), IGNORED, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        length = len(sequence.ids)
        ids[row, :length] = torch.tensor(sequence.ids)
        labels[row, sequence.prompt : length] = torch.tensor(sequence.ids[sequence.prompt :])
    return Batch(ids, labels)


def group(sequences: list[Sequence], budget: int, pad_id: int, draw: random.Random) -> Iterator[Batch]:
    """Each sequence once, in batches of about `budget` ids with like lengths together, in a random order."""
    order = sorted(sequences, key=lambda sequence: (len(sequence.ids), draw.random()))
    groups: list[list[Sequence]] = []
    for sequence in order:
        if not groups or len(sequence.ids) * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(sequence)
    draw.shuffle(groups)
    for members in groups:
        yield pad(members, pad_id)
