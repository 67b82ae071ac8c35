"""``itx verify``: from a span that was retrieved in some rows to what the tuning does without these rows.

The tuning is repeated from its ``tuning.json``: once as it was (``unmasked``), once with the loss of the span's source
rows masked in their places (``removed``), and at least three times with as many random rows masked (the controls). A
masked row is read as before, so that every batch keeps its shape, its order and its other rows' weights. Each arm
scores the recorded response. The controls say how far masking any rows moves the span; the unmasked arm, how near a
repeated tuning comes to the recorded weights.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from itx.data.folding import fold_words
from itx.runs.borrowings import fingerprint_response
from itx.runs.verifications import Arm, Verification
from itx.tune.check import Plan
from itx.tune.kept import discard_figures, find_figures, keep_figures, place_weights
from itx.tune.retuning import Job, Retuned
from itx.tune.sources import has_words
from itx.tune.workers import run_jobs

_MEASURED = 3
"""Steps that are measured."""


def measure_step(plan: Plan, tell: Callable[[str, float], None]) -> float:
    """Return the seconds of a step as they are here, from a few steps of the tuning. Raises ItxError."""
    job = replace(_share_cores(plan, [plan.make_job(0, [])], 1)[0], most_steps=_MEASURED)
    done = run_jobs([job], 1, lambda number, step, fraction: tell("measuring a few steps", fraction))[0]
    return done.seconds / max(1, done.steps)


def count_left(plan: Plan) -> int:
    """Return how many arms must still be tuned: the others were, for a check that was ended or for another span."""
    found = _find_finished(plan)
    return sum(
        job.number not in found and not ((weights := place_weights(job, plan.record)) and weights.is_file())
        for job in plan.make_jobs()
    )


def carry_out(plan: Plan, tell: Callable[[str, float], None]) -> Verification:
    """Retune as planned and return what came of it.

    Raises ItxError; at Ctrl-C every process is ended. What was finished until then is kept for the next time.
    """
    found = _find_finished(plan)
    jobs = [job for job in plan.make_jobs() if job.number not in found]
    # The unmasked arm may have its weights already, and otherwise is the one for which most cores are left.
    jobs.sort(key=lambda job: not job.masked)
    fractions = dict.fromkeys((job.number for job in jobs), 0.0)
    workers = plan.count_workers(len(jobs))
    label = f"{count_left(plan)} of {plan.arms} retunings" + (f", {workers} at once" if workers > 1 else "")

    def note(number: int, step: str, fraction: float) -> None:
        if step == "tuning":
            fractions[number] = fraction
            tell(label, sum(fractions.values()) / len(fractions))

    def keep(done: Retuned) -> None:
        if done.notice:
            tell(done.notice, -1)
        try:
            keep_figures(plan.make_jobs()[done.number], plan.record, done)
        except OSError as error:
            tell(f"the figures of a retuning are not kept until the check is recorded: {error.strerror or error}", -1)

    if jobs:
        tell(label, 0.0)
        placed = [replace(job, weights=place_weights(job, plan.record)) for job in jobs]
        found |= run_jobs(_share_cores(plan, placed, workers), workers, note, keep)
    arms = [_describe(plan, job, found[job.number]) for job in plan.make_jobs()]
    span, response = plan.span, plan.response
    return Verification(
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        prompt_id=plan.trace.prompt_id,
        author=response.author,
        span=span.id,
        start=span.start,
        end=span.end,
        text=span.text,
        response=fingerprint_response(response),
        chosen=plan.chosen,
        having=plan.having,
        seed=plan.seed,
        recorded=response.logp[span.start : span.end],
        unmasked=arms[0],
        removed=arms[1],
        controls=arms[2:],
    )


def discard_kept(plan: Plan) -> None:
    """Forget the arms of a check that is recorded, but for the unmasked weights."""
    for job in plan.make_jobs():
        discard_figures(job, plan.record)


def _find_finished(plan: Plan) -> dict[int, Retuned]:
    found = {job.number: find_figures(job, plan.record) for job in plan.make_jobs()}
    return {number: done for number, done in found.items() if done is not None}


def _share_cores(plan: Plan, jobs: list[Job], workers: int) -> list[Job]:
    """Return the jobs with their threads: those that come last are fewer where the workers do not divide them."""
    last = len(jobs) % workers or workers
    early = len(jobs) - last
    return [
        replace(job, request=replace(job.request, threads=max(1, plan.cores // (workers if place < early else last))))
        for place, job in enumerate(jobs)
    ]


def _describe(plan: Plan, job: Job, done: Retuned) -> Arm:
    return Arm(
        masked=job.masked,
        tokens=done.masked_tokens,
        logp=done.logp[plan.span.start : plan.span.end],
        response_logp=sum(done.logp),
        text=done.text,
        says=has_words(done.text, fold_words(plan.span.text)),
        last_loss=done.last_loss,
        seconds=done.seconds,
    )
