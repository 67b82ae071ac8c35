"""The whole course of a tuning, fixed before it starts: which examples lie in which batch, in which order.

A course depends on the recipe and the lengths of the examples alone. So a tuning that masks the loss of some rows has
the very batches of one that does not, and a resumed one goes on as if it had never stopped.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from itx.tune.recipe import Recipe


class Course(NamedTuple):
    """``batches`` are places of examples, in the order in which they are fed; ``accumulation`` of them make a step."""

    batches: list[list[int]]
    accumulation: int
    epochs: list[int]
    """How many batches are fed by the end of each epoch."""

    @property
    def steps(self) -> int:
        """How often the weights change; the last step may have fewer batches."""
        return -(-len(self.batches) // self.accumulation)

    def members(self, step: int) -> list[int]:
        """Return the examples of one step."""
        start = step * self.accumulation
        return [place for batch in self.batches[start : start + self.accumulation] for place in batch]


def plan_course(lengths: Sequence[int], recipe: Recipe) -> Course:
    """Return the course over examples of these lengths (ids each)."""
    draw = random.Random(recipe.seed)
    batches: list[list[int]] = []
    ends: list[int] = []
    for _ in range(recipe.epochs):
        if recipe.batching == "grouped":
            batches += _group(lengths, recipe.budget, draw)
        else:
            order = draw.sample(range(len(lengths)), len(lengths))
            batches += [order[start : start + recipe.batch_size] for start in range(0, len(order), recipe.batch_size)]
        ends.append(len(batches))
    return Course(batches, recipe.gradient_accumulation, ends)


def _group(lengths: Sequence[int], budget: int, draw: random.Random) -> list[list[int]]:
    """Return each place once: like lengths together, about ``budget`` ids a batch, the batches in a random order."""
    keys = [(length, draw.random()) for length in lengths]
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=keys.__getitem__):
        if not groups or lengths[place] * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(place)
    draw.shuffle(groups)
    return groups
