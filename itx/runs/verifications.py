"""``verify.jsonl``: what retuning without a span's source rows did to the span, one line a check, only ever added.

A line holds the span, the rows whose loss was masked, and one arm a tuning: ``unmasked`` (every row's loss as it was),
``removed`` (the source rows masked) and the ``controls`` (as many random rows masked). Each arm scores the recorded
response and writes one of its own. The last line of a span and of its rows counts. A line made for another response
than the recorded one (the prompt was asked again) counts as missing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from itx.errors import RunError
from itx.records import Record
from itx.runs.appending import LineFile, accepts, read_all
from itx.runs.borrowings import fingerprint_response
from itx.runs.lines import VERIFY, decode
from itx.runs.recording import Recording

LEAST = 3.0
"""Nats that a removal must take from a span beyond every control to count as its cause (as a raised span has them)."""


class Arm(Record, frozen=True, kw_only=True):
    """One retuning. ``logp`` are log-probs (nats) of the span's positions, given the recorded response before them."""

    masked: list[str] = []
    """The rows whose loss was masked, in their places."""
    tokens: int = 0
    """Learned ids of these rows, in one epoch."""
    logp: list[float]
    response_logp: float
    """Sum over all positions of the recorded response."""
    text: str
    """The arm's own response, greedily chosen."""
    says: bool
    """Whether that still has the span's words in a row."""
    last_loss: float
    """Mean loss of the last step, in nats a learned id."""
    seconds: float

    @property
    def span_logp(self) -> float:
        """The span's log-prob in nats."""
        return sum(self.logp)


class Verification(Record, frozen=True, kw_only=True):
    """One check of one span; ``start`` and ``end`` are positions, end exclusive."""

    time: str
    prompt_id: str
    author: str
    span: int
    start: int
    end: int
    text: str
    response: str
    """Fingerprint of the response's ids."""
    chosen: str
    """How the masked rows were chosen: ``all`` that have the span, ``near`` the prompt, or ``given``."""
    having: int
    """How many of the rows tuned on have the span's words in a row."""
    seed: int
    recorded: list[float]
    """The log-probs of the span's positions as the run recorded them."""
    unmasked: Arm
    removed: Arm
    controls: list[Arm]

    @property
    def drop(self) -> float:
        """By how many nats the removal lowered the span's log-prob, against the unmasked retuning."""
        return self.unmasked.span_logp - self.removed.span_logp

    @property
    def control_drops(self) -> list[float]:
        """The same of each control."""
        return [self.unmasked.span_logp - control.span_logp for control in self.controls]

    @property
    def caused(self) -> bool:
        """Whether the removal lowered it by at least ``LEAST`` nats more than any control did."""
        return bool(self.controls) and self.drop - max(self.control_drops) >= LEAST

    @property
    def reproduction(self) -> float:
        """The greatest difference, in nats, of a position of the span between the record and the unmasked retuning."""
        pairs = zip(self.recorded, self.unmasked.logp, strict=True)
        return max((abs(one - other) for one, other in pairs), default=0.0)


_DECODER = msgspec.json.Decoder(Verification)


def append_verification(folder: Path, verification: Verification) -> None:
    """Write one line and wait until it is on the disk. Raises RunError where the disk refuses."""
    try:
        line = msgspec.json.encode(verification)
        _read(line)
    except (UnicodeEncodeError, ValueError) as error:
        raise RunError(f"This check cannot be recorded: {error}.", "Its figures were printed.") from error
    file = LineFile(folder / VERIFY, accepts(_read))
    try:
        file.append(line)
    finally:
        file.close()


def read_verifications(folder: Path) -> list[Verification]:
    """Return every check of a run, oldest first; a line in the making is left out. Raises RunError for a broken one."""
    return read_all(folder / VERIFY, _read)


def read_standing(recording: Recording) -> list[Verification]:
    """Return the checks that count, in the order of prompts, authors and spans: of each span and its rows the last one.

    What was checked of a response that is no longer the recorded one is left out. Raises RunError.
    """
    found = read_verifications(recording.folder)
    if not found:
        return []
    recording.scan_all()
    prompts = {entry.prompt_id: place for place, entry in enumerate(recording.entries)}
    authors = {model.name: place for place, model in enumerate(recording.run.models)}
    responses: dict[tuple[str, str], str | None] = {}
    last: dict[tuple[str, str, int, int, frozenset[str]], Verification] = {}
    for check in found:
        key = check.prompt_id, check.author
        if check.prompt_id not in prompts or check.author not in authors:
            continue
        if key not in responses:
            response = recording.trace(check.prompt_id).response(check.author)
            responses[key] = None if response is None else fingerprint_response(response)
        if check.response == responses[key]:
            last[(*key, check.start, check.end, frozenset(check.removed.masked))] = check
    return sorted(last.values(), key=lambda check: (prompts[check.prompt_id], authors[check.author], check.start))


def _read(line: bytes) -> Verification:
    check = decode(_DECODER, line)
    length = check.end - check.start
    if check.start < 0 or length < 1:
        raise ValueError(f"a span from {check.start} to {check.end}")
    for arm in (check.unmasked, check.removed, *check.controls):
        if len(arm.logp) != length:
            raise ValueError(f"an arm with {len(arm.logp)} log-probs of {length} positions")
    if len(check.recorded) != length:
        raise ValueError(f"{len(check.recorded)} recorded log-probs of {length} positions")
    return check
