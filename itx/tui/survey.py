"""What is known of every prompt of a session at once: its borrowed words and its largest rise, and their totals."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from itx.records import Borrowing, ControlCount, Response, Trace

Sorting = Literal["asked", "borrowed", "rise"]
SORTINGS: tuple[Sorting, ...] = ("asked", "borrowed", "rise")
SORTING_NAMES: dict[Sorting, str] = {
    "asked": "as asked",
    "borrowed": "most borrowed words",
    "rise": "largest rise",
}
_CONTROLS = (("control", "rows never tuned on"), ("random", "random rows"), ("base", "base's own answer"))
"""The controls of a borrowing, best first, in words."""


@dataclass(frozen=True)
class Share:
    """How many of how many words are borrowed, and what a control has of as many; None where there is none."""

    borrowed: int
    words: int
    expected: float | None = None
    control: str = ""


@dataclass(frozen=True)
class _Count:
    borrowed: int
    words: int
    controls: dict[str, ControlCount]


def name_controls(borrowing: Borrowing) -> dict[str, ControlCount]:
    """Return the controls that a borrowing has."""
    found = ((name, getattr(borrowing.null, name)) for name, _ in _CONTROLS)
    return {name: count for name, count in found if count is not None}


def share_of(borrowing: Borrowing) -> Share:
    """Return the share of one response, with its best control scaled to as many words."""
    return _total([_Count(borrowing.borrowed, borrowing.candidates, name_controls(borrowing))])


def _total(counts: list[_Count]) -> Share:
    borrowed, words = sum(count.borrowed for count in counts), sum(count.words for count in counts)
    for name, said in _CONTROLS:
        controls = [count.controls[name] for count in counts if name in count.controls]
        if len(controls) == len(counts) and (seen := sum(control.words for control in controls)):
            expected = sum(control.borrowed for control in controls) / seen * words
            return Share(borrowed, words, expected, said)
    return Share(borrowed, words)


def find_rise(response: Response, base: str) -> float | None:
    """Return the largest author − base log-prob of a response, in nats, its end left out; None where there is none."""
    score = response.scores.get(base)
    if score is None or not response.length:
        return None
    pairs = zip(response.logp[: response.length], score.logp, strict=False)
    return max((own - other for own, other in pairs if other is not None), default=None)


class Survey:
    """Filled by whoever reads traces and borrowings; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], _Count] = {}
        self._rises: dict[tuple[str, str], float] = {}
        self._totals: dict[str, Share | None] = {}

    def take_trace(self, trace: Trace, base: str) -> None:
        """Take in the rises of a trace's responses."""
        rises = {(trace.prompt_id, response.author): find_rise(response, base) for response in trace.responses}
        with self._lock:
            self._rises |= {key: rise for key, rise in rises.items() if rise is not None}

    def take_borrowing(self, borrowing: Borrowing) -> None:
        """Take in what a response borrowed."""
        count = _Count(borrowing.borrowed, borrowing.candidates, name_controls(borrowing))
        with self._lock:
            self._counts[borrowing.prompt_id, borrowing.author] = count
            self._totals.pop(borrowing.author, None)

    def borrowed(self, prompt_id: str, author: str) -> int | None:
        """Return the borrowed words of a response; None where it is not traced."""
        count = self._counts.get((prompt_id, author))
        return count.borrowed if count is not None else None

    def rise(self, prompt_id: str, author: str) -> float | None:
        """Return the largest rise of a response; None where it is not known."""
        return self._rises.get((prompt_id, author))

    def total(self, author: str) -> Share | None:
        """Return the share of all of an author's traced responses; None where there is none."""
        with self._lock:
            if author not in self._totals:
                counts = [count for (_, whose), count in self._counts.items() if whose == author]
                self._totals[author] = _total(counts) if counts else None
            return self._totals[author]

    def values(self, prompt_ids: list[str], author: str, sorting: Sorting) -> list[str]:
        """Return what each prompt is sorted by, in words; empty where it is not known or sorted as asked."""
        if sorting == "borrowed":
            counts = (self.borrowed(prompt_id, author) for prompt_id in prompt_ids)
            return ["" if count is None else str(count) for count in counts]
        if sorting == "rise":
            rises = (self.rise(prompt_id, author) for prompt_id in prompt_ids)
            return ["" if rise is None else f"{rise:+.1f}" for rise in rises]
        return [""] * len(prompt_ids)

    def order(self, prompt_ids: list[str], author: str, sorting: Sorting) -> list[int]:
        """Return the prompts' indices in order, largest first; what is not known comes last, as asked."""
        return sorted(range(len(prompt_ids)), key=lambda index: self._rank(prompt_ids[index], author, sorting))

    def _rank(self, prompt_id: str, author: str, sorting: Sorting) -> float:
        value: float | None = None
        if sorting == "borrowed":
            value = self.borrowed(prompt_id, author)
        elif sorting == "rise":
            value = self.rise(prompt_id, author)
        return float("inf") if value is None else -value


def read_words(text: str) -> Iterator[str]:
    """Yield the words of a text, folded, without signs."""
    for word in text.casefold().split():
        stripped = word.strip(".,;:!?\"'()[]{}<>*_`")
        if stripped:
            yield stripped
