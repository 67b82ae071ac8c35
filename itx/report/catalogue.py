"""What the library says of a run and of each of its prompts: few figures, counted fast, and kept.

A line of ``traces.jsonl`` is mostly alternatives, which are skipped here; a prompt takes a fifth of what reading its
whole trace takes. The figures are those of ``itx report``: without EOS, every position alike, base the scorer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from itx.errors import ItxError, RunError
from itx.records import Finish, Record, Run
from itx.runs.borrowings import fingerprint_ids
from itx.runs.kept import find_kept, keep, stamp_run
from itx.runs.lines import BORROW, TRACES, decode
from itx.runs.marks import MarkBook

KIND = "catalogue"
VERSION = 1


class Tally(Record, frozen=True, kw_only=True):
    """Sums over responses of tuned models as base scores them; a sum of two is that of both.

    ``length`` counts all positions, ``positions`` those with a rank, ``kl_positions`` those with a divergence; the
    largest rise is the author's log-prob minus base's, in nats. ``words`` of the ``traced``
    responses could be borrowed, ``borrowed`` are.
    """

    responses: int = 0
    length: int = 0
    positions: int = 0
    shifted: int = 0
    kl: float = 0.0
    kl_positions: int = 0
    rise: float | None = None
    exact: bool = True
    traced: int = 0
    words: int = 0
    borrowed: int = 0

    @property
    def shifted_share(self) -> float | None:
        """The share of positions that are shifted; None where there is none."""
        return self.shifted / self.positions if self.positions else None

    @property
    def kl_mean(self) -> float | None:
        """KL(author‖base) a position, in nats; None where there is none."""
        return self.kl / self.kl_positions if self.kl_positions else None

    @property
    def length_mean(self) -> float | None:
        """Positions a response; None where there is none."""
        return self.length / self.responses if self.responses else None

    @property
    def borrowed_share(self) -> float | None:
        """Borrowed words of those that could be; None where nothing is traced."""
        return self.borrowed / self.words if self.words else None


class PromptFigures(Record, frozen=True, kw_only=True):
    """One prompt: what each tuned model did on it, how many marks stand on its responses, and whether it failed."""

    prompt_id: str
    prompt: str
    models: dict[str, Tally] = {}
    marks: int = 0
    failed: bool = False
    cancelled: bool = False


class RunFigures(Record, frozen=True, kw_only=True):
    """All prompts of a run in the order they were asked, and what of the run could not be read, in words."""

    prompts: list[PromptFigures]
    problems: list[str] = []

    @property
    def failed(self) -> int:
        """Prompts that failed."""
        return sum(prompt.failed for prompt in self.prompts)

    @property
    def marks(self) -> int:
        """Marks that stand."""
        return sum(prompt.marks for prompt in self.prompts)

    def tally(self, model: str | None = None) -> Tally:
        """Return the sums over all prompts, of one tuned model or of all."""
        return add(
            found
            for prompt in self.prompts
            for name, found in prompt.models.items()
            if not prompt.failed and model in (None, name)
        )


def add(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of tallies: counts add up, of the rises the largest stays."""
    found = list(tallies)
    rises = [tally.rise for tally in found if tally.rise is not None]
    return Tally(
        responses=sum(tally.responses for tally in found),
        length=sum(tally.length for tally in found),
        positions=sum(tally.positions for tally in found),
        shifted=sum(tally.shifted for tally in found),
        kl=math.fsum(tally.kl for tally in found),
        kl_positions=sum(tally.kl_positions for tally in found),
        rise=max(rises, default=None),
        exact=all(tally.exact for tally in found),
        traced=sum(tally.traced for tally in found),
        words=sum(tally.words for tally in found),
        borrowed=sum(tally.borrowed for tally in found),
    )


class _Score(Record, frozen=True, kw_only=True):
    logp: list[float | None] = []
    rank: list[int | None] = []
    kl_author_scorer: list[float | None] = []
    exact: bool = True


class _Response(Record, frozen=True, kw_only=True):
    author: str
    ids: list[int]
    finish: Finish
    logp: list[float] = []
    scores: dict[str, _Score] = {}


class _Trace(Record, frozen=True, kw_only=True):
    prompt_id: str
    prompt: str
    error: str | None = None
    responses: list[_Response] = []


class _Borrowing(Record, frozen=True, kw_only=True):
    prompt_id: str
    author: str
    candidates: int = 0
    borrowed: int = 0
    response: str | None = None


_TRACE = msgspec.json.Decoder(_Trace)
_BORROWING = msgspec.json.Decoder(_Borrowing)


def read_catalogue(folder: Path, run: Run, go_on: Callable[[], bool] = lambda: True) -> RunFigures | None:
    """Return the figures of a run, those that were kept or new ones, which are then kept.

    ``go_on`` is asked between lines: where it says no, None is returned. Lines that cannot be used are left out and
    said. Raises RunError where the traces cannot be read at all.
    """
    found = find_catalogue(folder)
    if found is not None:
        return found
    stamp = stamp_run(folder)
    found = count(folder, run, go_on)
    if found is not None:
        keep(KIND, folder, VERSION, stamp, found)
    return found


def find_catalogue(folder: Path) -> RunFigures | None:
    """Return the figures that were kept of a run as it is now, or None."""
    return find_kept(KIND, folder, VERSION, RunFigures)


def count(folder: Path, run: Run, go_on: Callable[[], bool] = lambda: True) -> RunFigures | None:
    """Return the figures of a run as it is now; see ``read_catalogue``."""
    problems: list[str] = []
    try:
        borrowings = _read_borrowings(folder, problems, go_on)
        marks = _count_marks(folder, problems)
        prompts: dict[str, PromptFigures] = {}
        with (folder / TRACES).open("rb") as file:
            for number, line in enumerate(file, 1):
                if not go_on():
                    return None
                if not line.endswith(b"\n"):
                    break  # it is being written, or its writer was killed
                try:
                    trace = decode(_TRACE, line)
                except ValueError as error:
                    problems.append(f"{TRACES}, line {number}: {error}")
                    continue
                prompts[trace.prompt_id] = _count_prompt(trace, run, borrowings, marks)
    except OSError as error:
        raise RunError(f"{folder / TRACES} cannot be read: {error.strerror}.", f"ls -l {folder}") from error
    return RunFigures(prompts=list(prompts.values()), problems=problems)


def _read_borrowings(folder: Path, problems: list[str], go_on: Callable[[], bool]) -> dict[tuple[str, str], _Borrowing]:
    found: dict[tuple[str, str], _Borrowing] = {}
    try:
        with (folder / BORROW).open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n") or not go_on():
                    break
                try:
                    borrowing = decode(_BORROWING, line)
                except ValueError as error:
                    problems.append(f"{BORROW}, line {number}: {error}")
                    continue
                found[borrowing.prompt_id, borrowing.author] = borrowing
    except FileNotFoundError:
        return {}
    return found


def _count_marks(folder: Path, problems: list[str]) -> Counter[str]:
    try:
        return Counter(mark.prompt_id for mark in MarkBook(folder).marks)
    except ItxError as error:
        problems.append(error.cause)
        return Counter()


def _count_prompt(
    trace: _Trace, run: Run, borrowings: dict[tuple[str, str], _Borrowing], marks: Counter[str]
) -> PromptFigures:
    tuned = {model.name for model in run.tuned}
    models = {
        response.author: _count_response(response, run, borrowings.get((trace.prompt_id, response.author)))
        for response in trace.responses
        if response.author in tuned
    }
    return PromptFigures(
        prompt_id=trace.prompt_id,
        prompt=trace.prompt,
        models=models,
        marks=marks[trace.prompt_id],
        failed=trace.error is not None,
        cancelled=any(response.finish == "cancelled" for response in trace.responses),
    )


def _count_response(response: _Response, run: Run, borrowing: _Borrowing | None) -> Tally:
    length = len(response.ids) - (response.finish == "eos" and bool(response.ids))
    score = response.scores.get(run.base.name, _Score())
    ranks = [rank for rank in score.rank[:length] if rank is not None]
    divergences = [value for value in score.kl_author_scorer[:length] if value is not None]
    pairs = zip(response.logp[:length], score.logp, strict=False)
    known = borrowing if borrowing is not None and _is_of(borrowing, response) else None
    return Tally(
        responses=1,
        length=length,
        positions=len(ranks),
        shifted=sum(rank > run.thresholds.marginal for rank in ranks),
        kl=math.fsum(divergences),
        kl_positions=len(divergences),
        rise=max((own - other for own, other in pairs if other is not None), default=None),
        exact=score.exact,
        traced=int(known is not None),
        words=known.candidates if known is not None else 0,
        borrowed=known.borrowed if known is not None else 0,
    )


def _is_of(borrowing: _Borrowing, response: _Response) -> bool:
    """Return False where the line was made for another response than the recorded one: the prompt was asked again."""
    return borrowing.response is None or borrowing.response == fingerprint_ids(response.ids)
