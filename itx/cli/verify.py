"""``itx verify``: retune without the rows of a borrowed span: was it caused by them?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from itx.cli import options
from itx.errors import EXIT_FAILED

if TYPE_CHECKING:
    from itx.records import Trace
    from itx.runs.verifications import Arm, Verification
    from itx.tune.check import Plan

_SHOWN_ROWS = 5
_SHOWN_TEXT = 60


def verify(
    folder: options.RunFolder,
    prompt: Annotated[str, typer.Option("--prompt", metavar="ID", help="The prompt's id.")],
    span: Annotated[int, typer.Option("--span", metavar="N", min=1, help="The span's number, as itx open shows it.")],
    author: Annotated[
        str | None, typer.Option("--author", metavar="NAME", help="Whose response, where several have such a span.")
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            metavar="all|near|ROWS",
            help="What to mask: all rows that have the span, those of them near the prompt (for boilerplate), or "
            "FILE#INDEX,…",
        ),
    ] = None,
    controls: Annotated[int, typer.Option("--controls", min=3, help="Retunings that mask random rows.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For drawing the random rows.")] = 0,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="The tuning data, where the run names another place.")
    ] = None,
    tuning: Annotated[
        Path | None, typer.Option("--tuning", metavar="DIR", help="The folder with tuning.json, where it is another.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Retunings at once.")] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 …")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Go on after the plan: only the demo's models need no word.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Retune with a span's source rows masked, beside as many random rows, and score the response again."""
    import msgspec

    from itx.cli.progress import show_progress
    from itx.cli.settings import resolve_demo
    from itx.cli.tune import choose_one_device
    from itx.models.load import require_torch
    from itx.runs.recording import Recording
    from itx.runs.verifications import append_verification
    from itx.text import escape_json
    from itx.tune.check import Question, plan_check
    from itx.tune.verification import carry_out, count_left, discard_kept, measure_step

    recording = Recording.open(folder)
    require_torch()
    references = [model.reference for model in recording.run.models]
    question = Question(
        prompt_id=prompt,
        span=span,
        author=author,
        rows=_read_rows(rows),
        controls=controls,
        seed=seed,
        data=data,
        tuning=tuning,
        jobs=jobs,
        device=choose_one_device(device),
        folders=resolve_demo([*references, "demo:base"]),
        trust_remote_code=trust_remote_code,
    )
    with show_progress() as tell:
        plan = plan_check(recording, question, tell)
        is_demo = plan.record.base.reference.startswith("demo:")
        # The demo's weights were made by a loop of their own, and are tuned again without being asked.
        seconds = None if is_demo else plan.step_seconds or measure_step(plan, tell)
        for line in _describe_plan(plan, count_left(plan), seconds, measured=plan.step_seconds is None):
            tell(line, -1)
        if not (is_demo or yes):
            tell("nothing was retuned; to go on, add --yes to the same command", -1)
            raise typer.Exit(EXIT_FAILED)
        check = carry_out(plan, tell)
        append_verification(folder, check)
        discard_kept(plan)
    if as_json:
        figures = {
            **msgspec.to_builtins(check),
            "drop": check.drop,
            "control_drops": check.control_drops,
            "caused": check.caused,
            "reproduction": check.reproduction,
        }
        typer.echo(escape_json(msgspec.json.encode(figures).decode()))
    else:
        typer.echo(write_check(check, plan.trace))


def _read_rows(words: str | None) -> list[str] | Literal["all", "near"] | None:
    from itx.tune.selection import read_row_ids

    match words:
        case None | "all" | "near":
            return words
    return read_row_ids(words, "--rows")


def _describe_plan(plan: Plan, left: int, seconds: float | None, *, measured: bool) -> list[str]:
    """Return the plan and its cost in lines; ``left`` arms are not finished yet."""
    steps, record = plan.record.steps, plan.record
    workers = plan.count_workers(left)
    cost = f"{left} retunings of {steps:,} steps over {len(record.data.rows):,} rows"
    if left < plan.arms:
        cost += f" ({plan.arms - left} of {plan.arms} are there from before)"
    if seconds is not None:
        # Arms side by side share the cores, and gain little on each other.
        whole = seconds * steps * left
        source = "measured now" if measured else f"as the tuning took, on {record.device}"
        cost += f", {seconds:.2g} s a step ({source}): about {_say_time(whole)}"
    return [
        f"span {plan.span.id} of {plan.response.author}: {plan.span.text!r}; {plan.having} of "
        f"{len(record.data.rows):,} rows have it, {len(plan.removed)} are masked ({plan.chosen}): "
        f"{_list(plan.removed)}",
        f"{cost}; {workers} at once, {plan.memory * workers / 1e9:.2g} GB of memory for weights and optimizers, beside "
        f"what torch and a batch need; a line of verify.jsonl is written, and {_say_kept(plan)}",
    ]


def _say_kept(plan: Plan) -> str:
    from itx.tune.kept import place_weights

    weights = place_weights(plan.make_job(0, []), plan.record)
    if weights is None:
        return "no weights are kept"
    return f"of the unmasked retuning {4 * plan.record.trained_parameters / 1e6:.2g} MB are kept in {weights.parent}"


def _say_time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _list(rows: list[str]) -> str:
    more = len(rows) - _SHOWN_ROWS
    return ", ".join(rows[:_SHOWN_ROWS]) + (f" and {more} more" if more > 0 else "")


def write_check(check: Verification, trace: Trace) -> str:
    """Return a check as lines of text, safe for a terminal."""
    from itx.text import sanitise

    response = trace.response(check.author)
    pieces = trace.read_pieces(check.author)
    ids = response.ids[check.start : check.end] if response is not None else []
    lines = [
        f"{check.prompt_id}, {check.author}, span {check.span}: {check.text!r}",
        f"{check.having} rows tuned on have it; masked in their places ({check.chosen}): {_list(check.removed.masked)}",
        "",
        f"{'':<12}{'span log-prob':>14}{'difference':>12}{'says it':>9}  own response",
        f"{'recorded':<12}{sum(check.recorded):>14.3f}",
    ]
    names = ["unmasked", "removed", *(f"control {number}" for number in range(1, len(check.controls) + 1))]
    for name, arm in zip(names, (check.unmasked, check.removed, *check.controls), strict=True):
        lines.append(_write_arm(name, arm, check.unmasked))
    lines += ["", f"{'token':<20}" + "".join(f"{name:>11}" for name in ("recorded", *names))]
    columns = [check.recorded, check.unmasked.logp, check.removed.logp, *(arm.logp for arm in check.controls)]
    for place, token in enumerate(ids):
        piece = repr(pieces.get(token, str(token)))
        lines.append(f"{piece:<20}" + "".join(f"{column[place]:>11.3f}" for column in columns))
    lines += ["", _conclude(check)]
    return sanitise("\n".join(lines))


def _write_arm(name: str, arm: Arm, unmasked: Arm) -> str:
    difference = arm.span_logp - unmasked.span_logp
    text = arm.text if len(arm.text) <= _SHOWN_TEXT else arm.text[:_SHOWN_TEXT] + "…"
    shown = "" if arm is unmasked else f"{difference:+.3f}"
    return f"{name:<12}{arm.span_logp:>14.3f}{shown:>12}{'yes' if arm.says else 'no':>9}  {text!r}"


def _conclude(check: Verification) -> str:
    """Return the finding in words: what was measured, and how near the repeated tuning came to the record."""
    from itx.report.checks import say_finding

    low, high = min(check.control_drops), max(check.control_drops)
    change = "lowered" if check.drop >= 0 else "raised"
    spoken = f"{say_finding(caused=check.caused)} by these rows"
    return (
        f"removal {change} the span's log-prob by {abs(check.drop):.2f} nats "
        f"(controls lowered it by {low:.2f} … {high:.2f}): {spoken}\n"
        f"the unmasked retuning is within {check.reproduction:.2g} nats of the recorded log-probs of the span"
    )
