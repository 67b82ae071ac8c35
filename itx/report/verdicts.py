"""The paper's statements as a table of text: ``itx claims RUN``."""

from __future__ import annotations

from itx.records import Run
from itx.report.cells import cut, wrap
from itx.report.claims import LEVEL, MOST_DRAWS, Claim, Claims
from itx.report.overview import lay_table
from itx.report.parts import Quoted, Table
from itx.report.wording import ABSENT
from itx.text import sanitise

_UNITS = {"share": (100.0, 1, " %"), "words per 100": (1.0, 1, " per 100"), "tokens": (1.0, 1, " tokens")}
_PATHS = {"own": "own path", "shared": "shared path", None: ""}


def write_claims(run: Run, claims: Claims, width: int) -> str:
    """Return every statement with its measurements, in lines of at most ``width`` cells."""
    lines = wrap("The paper's statements, measured on this run", width)
    lines += wrap(
        "Ghosh et al. 2024; LoRA is their LFT, full tuning their SFT. 95 % intervals resample prompts (! fewer than "
        f"30); for the sake of p here up to {MOST_DRAWS:,} times, so that an end may differ by some tenths from the "
        f"report's. A statement holds beyond its margin, and does not hold short of it, at p ≤ {LEVEL:g} after Holm's "
        f"correction over the {claims.compared} measurements of the table. Own path: each model's own responses, "
        "scored by base. Shared path: base's responses, scored by the tuned models.",
        width,
    )
    statements = list(dict.fromkeys(claim.statement for claim in claims.claims))
    for statement in statements:
        own = [claim for claim in claims.claims if claim.statement == statement]
        lines += ["", cut(statement, width)]
        for measure in dict.fromkeys(claim.measure for claim in own):
            those = [claim for claim in own if claim.measure == measure]
            margin, reason = say_margin(those[0]), those[0].reason
            lines += wrap(f"  {measure}; margin {margin}: {reason}", width)
            rows = [list_cells(claim) for claim in those]
            header = ["  model", "figure", "n", "p", "verdict"]
            lines += list(lay_table(Table(header=header, rows=rows, numbers=[1, 2, 3]), width))
            for claim in those:
                if claim.note:
                    lines += wrap(
                        f"  {_name(claim)}: {_plain(claim.note)}" if _name(claim) else f"  {claim.note}", width
                    )
    return "\n".join(lines) + "\n"


def list_cells(claim: Claim) -> list[str]:
    """Return model and path, the figure with its interval, its prompts, its adjusted p, and the verdict."""
    chance = ABSENT if claim.p is None else f"{claim.p:.3f}" if claim.p >= 0.001 else "< 0.001"
    prompts = "0" if claim.found is None else f"{claim.found.prompts:,}"
    return [Quoted(f"  {_name(claim)}"), say_figure(claim), prompts, chance, claim.verdict]


def say_figure(claim: Claim) -> str:
    """Return the figure in its unit with its interval."""
    found, (scale, digits, unit) = claim.found, _UNITS[claim.unit]
    if found is None or found.value is None:
        return ABSENT
    interval = ""
    if found.low is not None and found.high is not None:
        interval = f" ({_say(found.low * scale, digits)} to {_say(found.high * scale, digits)})"
    return f"{_say(found.value * scale, digits)}{unit}{interval}{'!' if found.few else ''}"


def say_margin(claim: Claim) -> str:
    """Return the margin in the claim's unit."""
    scale, digits, unit = _UNITS[claim.unit]
    return f"{_say(claim.margin * scale, digits)}{unit}"


def _say(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def _name(claim: Claim) -> str:
    return _plain(", ".join(filter(None, [" − ".join(claim.models), _PATHS[claim.path]])))


def _plain(text: str) -> str:
    return sanitise(text, keep_newlines=False)
