"""What the doctor says: one finding a check and model, and the figures that it measured on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from itx.errors import ItxError
from itx.records import Floor, Record

Status = Literal["pass", "warn", "fail"]


class Finding(Record, frozen=True, kw_only=True):
    """One check of one model (``subject`` is its name). ``fail``: a comparison would be wrong, or is impossible."""

    check: str
    status: Status
    subject: str
    reason: str
    remedy: str = ""


class Distance(Record, frozen=True, kw_only=True):
    """How far what ``author`` wrote lies from ``scorer``, over ``positions`` greedy tokens.

    ``kl_mean`` is KL(author‖scorer) in nats, ``unshifted`` a fraction. ``kind``: ``tuning`` is tuned against base,
    ``merged`` an adapter against itself merged into the weights, ``quantisation`` weights as they are in their file
    against the same weights dequantised to float32 (an adapter on them: against itself on these).
    """

    kind: Literal["tuning", "merged", "quantisation"]
    author: str
    scorer: str
    kl_mean: float
    unshifted: float
    positions: int


class TemplateLoss(Record, frozen=True, kw_only=True):
    """The mean loss of a tuned model, in nats a token of the rows' responses, under a chat template."""

    model: str
    template: str
    loss: float
    rows: int
    tokens: int


class Diagnosis(Record, frozen=True, kw_only=True):
    """All that was found. ``floors`` are the noise floors; ``skipped`` says what could not be looked at, and why."""

    models: dict[str, str]
    findings: list[Finding]
    floors: list[Floor] = []
    distances: list[Distance] = []
    losses: list[TemplateLoss] = []
    skipped: list[str] = []

    @property
    def failed(self) -> bool:
        """Whether a comparison would be wrong."""
        return any(finding.status == "fail" for finding in self.findings)


def passed(check: str, subject: str, reason: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check=check, status="pass", subject=subject, reason=reason)


def warned(check: str, subject: str, reason: str, remedy: str) -> Finding:
    """Return a finding that a reader of the comparison must know."""
    return Finding(check=check, status="warn", subject=subject, reason=reason, remedy=remedy)


def failed(check: str, subject: str, reason: str, remedy: str) -> Finding:
    """Return a finding that forbids the comparison."""
    return Finding(check=check, status="fail", subject=subject, reason=reason, remedy=remedy)


def refused(check: str, subject: str, error: ItxError) -> Finding:
    """Return the finding of an error with which a comparison would stop."""
    return failed(check, subject, error.cause, error.remedy)


def judge(check: str, subject: str, well: str, remedy: str, look: Callable[[], list[str]]) -> list[Finding]:
    """Return a warning for each that ``look`` returns, a failure for what it raises (ItxError), else ``well``."""
    try:
        warnings = look()
    except ItxError as error:
        return [refused(check, subject, error)]
    return [warned(check, subject, warning, remedy) for warning in warnings] or [passed(check, subject, well)]
