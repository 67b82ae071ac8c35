"""What a report is made of: sections of tables and plots, and figures with their intervals as text."""

from __future__ import annotations

from itx.records import Record
from itx.report.study import Estimate
from itx.report.wording import ABSENT, say_nats

NOTHING = "n = 0"
FLAG = "!"


class Quoted(str):
    """A stranger's words, or a name, which stand apart from ours."""

    __slots__ = ()


class Table(Record, frozen=True, kw_only=True):
    """Cells as plain text; the columns in ``numbers`` are set to the right. The last columns are the least needed."""

    header: list[str]
    rows: list[list[str]]
    numbers: list[int]
    title: str = ""


class Plot(Record, frozen=True, kw_only=True):
    """Values by position, None where there is no figure; ``name`` is fit for a file's name."""

    name: str
    title: str
    values: list[float | None]


class Section(Record, frozen=True, kw_only=True):
    """A heading, what must be known of it, and what it shows."""

    title: str
    notes: list[str] = []
    tables: list[Table] = []
    plots: list[Plot] = []


def say_estimate(found: Estimate, scale: float = 100.0, digits: int = 1) -> str:
    """Return ``14.6 (12.1–17.3)``, in per cent unless scaled otherwise; ``!`` marks fewer than 30 prompts."""
    if found.value is None:
        return NOTHING if not found.count else ABSENT
    value = say_rounded(found.value * scale, digits)
    return f"{value}{_say_interval(found, scale, digits)}{FLAG if found.few else ''}"


def say_rounded(value: float, digits: int) -> str:
    """Return a number with a minus sign that is one."""
    return f"{value:.{digits}f}".replace("-", "−")


def _say_interval(found: Estimate, scale: float, digits: int) -> str:
    if found.low is None or found.high is None:
        return ""
    low, high = (say_rounded(end * scale, digits) for end in (found.low, found.high))
    return f" ({low}{' to ' if found.low < 0 else '–'}{high})"


def say_divergence(found: Estimate, exact: bool = True) -> str:
    """Return a mean divergence in nats with its interval."""
    if found.value is None:
        return NOTHING if not found.count else ABSENT
    interval = ""
    if found.low is not None and found.high is not None:
        interval = f" ({say_nats(found.low)}–{say_nats(found.high)})"
    return f"{say_nats(found.value, exact)}{interval}{FLAG if found.few else ''}"
