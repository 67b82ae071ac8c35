"""Facts of the command line: which file is meant, and asking the models of a run for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from itx.records import Record, Shard
from itx.runs.facts import Fact, FactFile, read_facts
from itx.runs.sharding import deal

if TYPE_CHECKING:
    from itx.compare.probing import Prober

ITX = Path(__file__).resolve().parent.parent
OWN_FILES = {"demo": ITX / "demo" / "facts.jsonl", "general": ITX / "runs" / "general_facts.jsonl"}
"""Fact files that come with itx, by name: the demo world, whole, and facts that nobody disputes."""


class GatheredFacts(Record, frozen=True, kw_only=True):
    """Facts to ask for, and the lines of their file that could not be read."""

    facts: list[Fact]
    broken: list[str] = []


def gather_facts(reference: str | None) -> GatheredFacts:
    """Return the facts of a file, or of one that comes with itx; none for None. Raises ItxError as ``read_facts``."""
    if reference is None:
        return GatheredFacts(facts=[])
    facts, broken = read_facts(OWN_FILES.get(reference, Path(reference)))
    return GatheredFacts(facts=facts, broken=[str(line) for line in broken])


def deal_facts(gathered: GatheredFacts, shard: Shard | None) -> GatheredFacts:
    """Return the part of the facts that a shard asks for, dealt as its prompts are."""
    if shard is None:
        return gathered
    return GatheredFacts(facts=deal(gathered.facts, shard.number, shard.count), broken=gathered.broken)


class Examiner:
    """Asks the models of a run for facts, and records beside it what they say; without facts it does nothing.

    ``failed`` says which facts could not be asked. Raises RunError where the run has other facts by the same ids.
    """

    def __init__(self, folder: Path, facts: list[Fact]) -> None:
        self.failed: list[str] = []
        self._file = FactFile(folder) if facts else None
        self._waiting = self._file.choose_waiting(facts) if self._file is not None else []

    @property
    def count(self) -> int:
        """How many facts are still to be asked."""
        return len(self._waiting)

    def ask(self, prober: Prober, cancel: Callable[[], bool], tell: Callable[[int], None]) -> int:
        """Ask for the facts that are not recorded, until ``cancel``; return how many were recorded."""
        if self._file is None:
            return 0
        done = 0
        for probe in prober.probe_all(self._waiting, cancel):
            self._file.append(probe)
            if probe.error is not None:
                self.failed.append(f"fact {probe.id}: {probe.error}")
            done += 1
            tell(done)
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
