"""Causal checks: what retuning without a span's source rows did to it, as figures and as a section of the report."""

from __future__ import annotations

from collections.abc import Sequence

from itx.report.parts import Quoted, Section, Table, say_rounded
from itx.report.study import Check
from itx.report.wording import ABSENT
from itx.runs.verifications import LEAST, Verification

_SHOWN = 36
"""Characters of a span that are shown."""


def list_checks(checks: Sequence[Verification]) -> list[Check]:
    """Return the figures of each check, in their order."""
    return [
        Check(
            prompt_id=check.prompt_id,
            author=check.author,
            span=check.span,
            start=check.start,
            end=check.end,
            text=check.text,
            recorded=sum(check.recorded),
            unmasked=check.unmasked.span_logp,
            removed=check.removed.span_logp,
            controls=[control.span_logp for control in check.controls],
            drop=check.drop,
            control_drops=check.control_drops,
            caused=check.caused,
            says=check.removed.says,
            retunings=2 + len(check.controls),
            reproduction=check.reproduction,
            chosen=check.chosen,
            having=check.having,
            masked=len(check.removed.masked),
        )
        for check in checks
    ]


def say_finding(*, caused: bool) -> str:
    """Return the verdict on a span: what masking its rows showed."""
    return "caused" if caused else "not shown to be caused"


def say_check(check: Verification) -> str:
    """Return what a check found in one sentence: the verdict, and the nats that it rests on."""
    rows = "these rows" if check.caused else "its rows"
    found = f"caused by {rows}" if check.caused else say_finding(caused=False)
    most = say_log(max(check.control_drops, default=0.0))
    return f"{found}: masking {rows} took {say_log(check.drop)} nats from it, random rows at most {most}"


def say_log(nats: float) -> str:
    """Return a difference of log-probs with two digits; what rounds to nothing has no sign."""
    return say_rounded(round(nats, 2) + 0.0, 2)


def say_drops(drops: Sequence[float]) -> str:
    """Return the nats that a span lost with each set of random rows masked, the least first."""
    return ", ".join(say_log(drop) for drop in sorted(drops)) or ABSENT


def say_masked(check: Check) -> str:
    """Return how many rows were masked: of those that have the span, but where they were named."""
    if check.chosen == "given":
        return f"{check.masked:,} given"
    return f"{check.masked:,} ({check.chosen}) of {check.having:,}"


def show_checks(checks: Sequence[Check]) -> Section:
    """Return the section: each span with what masking its rows took from its log-prob, beside random rows."""
    rows = [
        [
            Quoted(f"{check.author} [{check.span}] {check.prompt_id}"),
            say_finding(caused=check.caused),
            say_log(check.drop),
            say_drops(check.control_drops),
            f"{check.retunings:,}",
            say_masked(check),
            say_log(check.recorded),
            say_log(check.unmasked),
            "yes" if check.says else "no",
            Quoted(_shorten(check.text)),
        ]
        for check in checks
    ]
    header = ["author [span] prompt", "finding", "nats lost", "random rows", "retunings", "rows masked"]
    header += ["recorded", "unmasked", "still says it", "words"]
    return Section(
        title="Causal checks",
        notes=[
            "itx verify repeated the tuning with the loss of a span's source rows masked, and with that of as many "
            "random rows. Nats lost: by how much that lowered the span's log-prob against a retuning with no row "
            f"masked. Caused: at least {LEAST:.0f} nats more than with any random rows. Recorded, unmasked: the span's "
            "log-prob in the run and after that retuning.",
        ],
        tables=[Table(header=header, rows=rows, numbers=list(range(2, 8)))],
    )


def _shorten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[: _SHOWN - 1]}…"
