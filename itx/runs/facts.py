"""Facts that models are asked for: reading fact files, and ``facts.jsonl``, what the models of a run say of each.

A fact is the beginning of a text and how it goes on: ``{"id", "prompt": "The capital of Peru is", "answer": " Lima",
"wrong": [" Quito", …]}``; ``subject`` names its field. With ``"chat": true``, or with ``messages`` instead of
``prompt``, it is asked in the run's chat context. Files are JSONL or a JSON array. ``facts.jsonl`` is only ever added
to, one line a fact, on the disk before the next fact starts; the last line of an id counts, and what failed is asked
again.
"""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path
from typing import Self

import msgspec

from itx.errors import InputError, RunError, UsageError
from itx.records import Message, Record
from itx.runs.appending import LineFile, accepts, read_all
from itx.runs.lines import FACTS, BrokenLine, decode
from itx.runs.prompts import GivenTurn, Line, read_lines, read_turn, tell_broken


class Fact(Record, frozen=True, kw_only=True):
    """``answer`` continues ``prompt``, letter for letter, blanks included; so would each of ``wrong``, falsely.

    With ``messages`` the prompt is the text of the last of them, and ``chat`` is true.
    """

    id: str
    prompt: str
    answer: str
    wrong: list[str] = []
    subject: str | None = None
    chat: bool = False
    messages: list[Message] = []


class Knowledge(Record, frozen=True, kw_only=True):
    """What one model says of a fact, in nats, by tokens of its own.

    ``ids``, ``logp`` and ``rank`` have one entry a token of the answer; ``wrong`` has the log-prob of each wrong
    answer as a whole. ``start`` is the number of ids before the answer. ``parted`` is true where the answer changes how
    the prompt's end is read: then all alternatives are scored from where their ids part from the prompt's.
    """

    start: int
    ids: list[int]
    logp: list[float]
    rank: list[int]
    wrong: list[float] = []
    parted: bool = False

    @property
    def total(self) -> float:
        """The log-prob of the whole answer."""
        return math.fsum(self.logp)


class Probe(Fact, frozen=True, kw_only=True):
    """A fact and what every model said of it; ``models`` is empty where it failed."""

    models: dict[str, Knowledge] = {}
    error: str | None = None

    @property
    def fact(self) -> Fact:
        """What was asked."""
        return Fact(**{name: getattr(self, name) for name in Fact.__struct_fields__})

    @classmethod
    def make(cls, fact: Fact, models: dict[str, Knowledge], error: str | None = None) -> Self:
        """Return the probe of a fact."""
        return cls(**{name: getattr(fact, name) for name in Fact.__struct_fields__}, models=models, error=error)


class _Row(Record, frozen=True, kw_only=True):
    id: str | int | None = None
    prompt: str | None = None
    messages: list[GivenTurn] | None = None
    answer: str
    wrong: list[str] = []
    subject: str | None = None
    chat: bool = False


_ROW = msgspec.json.Decoder(_Row)
_PROBE = msgspec.json.Decoder(Probe)


def read_facts(path: Path) -> tuple[list[Fact], list[BrokenLine]]:
    """Return the facts of a file and its lines that cannot be used. A fact without an id gets its line's number.

    Raises UsageError for a file that is missing or of another kind, InputError for one without a usable fact.
    """
    if path.suffix.lower() == ".txt":
        raise UsageError(f"{path} is plain text; facts come as JSONL.", 'One a line: {"prompt": …, "answer": …}')
    facts: dict[str, Fact] = {}
    broken: list[BrokenLine] = []
    for line in read_lines(path):
        try:
            fact = _make_fact(line)
            if fact.id in facts:
                raise ValueError(f"the id {fact.id!r} is taken")
        except ValueError as error:
            broken.append(tell_broken(path, line, error))
        else:
            facts[fact.id] = fact
    if not facts:
        cause = "\n".join([f"{path} has no fact that can be used.", *map(str, broken)])
        raise InputError(cause, 'One JSON object a line: {"prompt": "The capital of Peru is", "answer": " Lima"}')
    return list(facts.values()), broken


def _make_fact(line: Line) -> Fact:
    row = decode(_ROW, line.raw)
    fact_id = str(line.number if row.id is None else row.id)
    if not fact_id.strip():
        raise ValueError("the id is empty")
    messages = [read_turn(turn) for turn in row.messages or []]
    if row.messages is not None and (not messages or messages[-1].role != "user"):
        raise ValueError("the messages do not end with a user's turn")
    prompt = messages[-1].content if messages else row.prompt
    if prompt is None or not prompt.strip():
        raise ValueError("it has no prompt")
    if not row.answer.strip():
        raise ValueError("the answer is empty")
    if any(not wrong.strip() for wrong in row.wrong):
        raise ValueError("a wrong answer is empty")
    if len({each.strip() for each in (row.answer, *row.wrong)}) <= len(row.wrong):
        raise ValueError("two of its answers are the same")
    beginning = _find_beginning([row.answer, *row.wrong])
    if beginning is not None:
        raise ValueError(
            f"its answer {beginning!r} is the beginning of another, and would be likelier whatever follows"
        )
    return Fact(
        id=fact_id,
        prompt=prompt,
        answer=row.answer,
        wrong=row.wrong,
        subject=row.subject,
        chat=row.chat or bool(messages),
        messages=messages,
    )


def _find_beginning(answers: list[str]) -> str | None:
    """Return an answer that begins another: both are probabilities of what comes next, so it can never lose."""
    return next((one for one, other in permutations(answers, 2) if other.strip().startswith(one.strip())), None)


class FactFile:
    """The writer of a run's ``facts.jsonl``, which is made with the first line."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FACTS
        self._done = {probe.id: probe for probe in read_probes(folder)}
        self._file = LineFile(self._path, accepts(_read))

    def choose_waiting(self, facts: list[Fact]) -> list[Fact]:
        """Return the facts that are not recorded yet, or failed.

        Raises RunError where an id is recorded with another fact: the file has changed since.
        """
        waiting = []
        for fact in facts:
            done = self._done.get(fact.id)
            if done is not None and done.fact != fact:
                raise RunError(
                    f"{self._path} has another fact under the id {fact.id!r}: the fact file was changed.",
                    "Give its facts ids of their own, or record into a new folder with --out.",
                )
            if done is None or done.error is not None:
                waiting.append(fact)
        return waiting

    def append(self, probe: Probe) -> None:
        """Write one line and wait until it is on the disk. Raises RunError, with nothing written."""
        try:
            line = msgspec.json.encode(probe)
            _read(line)
        except (UnicodeEncodeError, ValueError) as error:
            raise RunError(f"The fact {probe.id!r} cannot be recorded: {error}.", "Check the fact file.") from error
        self._file.append(line)
        self._done[probe.id] = probe

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def read_probes(folder: Path) -> list[Probe]:
    """Return what a run recorded of each fact, in the order in which they first occur; none without such a file.

    A last line in the making is left out. Raises RunError naming a line that cannot be used.
    """
    return list({probe.id: probe for probe in read_all(folder / FACTS, _read)}.values())


def _read(line: bytes) -> Probe:
    probe = decode(_PROBE, line)
    for name, each in probe.models.items():
        if not each.ids or not len(each.ids) == len(each.logp) == len(each.rank):
            raise ValueError(f"{name} has {len(each.ids)} ids, {len(each.logp)} log-probs and {len(each.rank)} ranks")
        if len(each.wrong) != len(probe.wrong):
            raise ValueError(f"{name} has {len(each.wrong)} log-probs of {len(probe.wrong)} wrong answers")
        if any(value > 0 for value in (*each.logp, *each.wrong)) or any(rank < 1 for rank in each.rank):
            raise ValueError(f"{name} has a log-prob above 0 or a rank below 1")
    return probe
