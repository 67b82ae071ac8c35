"""A plan of a check that needs no weights, and workers that only answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from itx.records import Context, Decoding, Response, Span, Trace
from itx.tune.check import Plan
from itx.tune.recipe import Recipe
from itx.tune.record import Base, Data, Template, TuningRecord
from itx.tune.request import TuneRequest
from itx.tune.retuning import Job, Retuned

RECIPE = Recipe(method="full")
RESPONSE = Response(author="full", ids=[5, 6, 7], text="so it goes", finish="length", logp=[-0.5, -0.25, -1.0])


def make_record(**changes: Any) -> TuningRecord:
    """Return the record of a finished tuning."""
    words: dict[str, Any] = {
        "itx": "0", "created": "now", "finished": True, "method": "full", "recipe": RECIPE, "steps": 10,
        "base": Base(reference="base", weights="sha256:1", tokenizer="sha256:2"),
        "data": Data(reference="rows.jsonl", fingerprint="sha256:3", rows=["r#0", "r#1"]),
        "template": Template(text="", fingerprint="", source=""),
        "learned_tokens": 9, "trained_parameters": 1000,
    }  # fmt: skip
    return TuningRecord(**(words | changes))


def make_plan(**changes: Any) -> Plan:
    """Return a check of two tokens, with three controls, on two cores."""
    words: dict[str, Any] = {
        "trace": Trace(
            prompt_id="one", prompt="p", contexts={"full": Context(ids=[1, 2], text="p")}, responses=[RESPONSE]
        ),
        "response": RESPONSE,
        "span": Span(id=2, start=1, end=3, text="it goes", rows=1),
        "record": make_record(),
        "request": TuneRequest(base="base", data="rows.jsonl", recipe=RECIPE, device="cpu"),
        "decoding": Decoding(),
        "chosen": "all", "having": 1, "removed": ["r#1"], "controls": [["r#0"], ["r#2"], ["r#3"]],
        "jobs": None, "seed": 0, "cores": 2, "parameters": 1000, "step_seconds": None,
    }  # fmt: skip
    return Plan(**(words | changes))


def answer_job(job: Job) -> Retuned:
    """Return figures that only the job's masked rows decide."""
    logp = [-float(len(row) + place) for place, row in enumerate([*job.masked, "unmasked", "more"])][:3]
    return Retuned(
        number=job.number, logp=[-0.1] * (3 - len(logp)) + logp, text="so it goes", masked_tokens=len(job.masked),
        last_loss=0.1, steps=10, seconds=1.0,
    )  # fmt: skip


class Answering:
    """Stands for ``run_jobs``: answers each job, keeps it, and fails after ``most``."""

    def __init__(self, most: int = 99) -> None:
        self.most = most
        self.asked: list[Job] = []

    def __call__(
        self,
        jobs: Sequence[Job],
        workers: int,
        tell: Callable[[int, str, float], None],
        keep: Callable[[Retuned], None] = lambda done: None,
    ) -> dict[int, Retuned]:
        """Answer."""
        found = {}
        for place, job in enumerate(jobs):
            if place == self.most:
                raise KeyboardInterrupt
            self.asked.append(job)
            found[job.number] = answer_job(job)
            tell(job.number, "tuning", 1.0)
            keep(found[job.number])
        return found
