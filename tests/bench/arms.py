"""Two arms of one measurement, run alternately, and what came out."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Arm = Callable[[], float]
"""Runs once and returns what it cost: seconds, bytes or MiB."""

How = Literal["ratio", "difference", "alone"]


class MissingError(Exception):
    """Something that a bar measures with is not on this machine; the message says what, and how to get it."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One bar's samples. ``ours`` and ``floor`` hold one entry a repeat; ``floor`` is empty where we stand alone.

    ``notes`` say what was run, in words.
    """

    ours: list[float]
    floor: list[float]
    notes: list[str] = field(default_factory=list)

    def figures(self, how: How) -> list[float]:
        """Return the figure of each repeat: ours/floor, ours − floor, or ours."""
        if how == "alone":
            return self.ours
        pairs = zip(self.ours, self.floor, strict=True)
        return [ours / floor if how == "ratio" else ours - floor for ours, floor in pairs]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A figure to reach: what is measured, against what, how the two combine, and the bound on the median."""

    name: str
    title: str
    against: str
    how: How
    limit: float
    unit: str
    measure: Callable[[int], Measurement]
    at_least: bool = False
    threads: int | None = None
    """Threads of the worker; None: all cores."""

    def reached(self, figure: float) -> bool:
        """Return whether the figure keeps to the bound."""
        return figure >= self.limit if self.at_least else figure <= self.limit

    def bound(self) -> str:
        """Return the bound as text."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}"


def alternate(ours: Arm, floor: Arm, repeats: int, *, warm: int = 1) -> tuple[list[float], list[float]]:
    """Run both arms ``repeats`` times in turn, who begins changing, after ``warm`` uncounted runs of each."""
    found: tuple[list[float], list[float]] = ([], [])
    arms = (ours, floor)
    for repeat in range(-warm, repeats):
        for index in (0, 1) if repeat % 2 else (1, 0):
            cost = arms[index]()
            if repeat >= 0:
                found[index].append(cost)
    return found


def spread(figures: list[float]) -> tuple[float, float, float]:
    """Return median, lowest and highest."""
    return statistics.median(figures), min(figures), max(figures)
