"""A run of two models with different tokenizers, written by hand so that every figure of it is known."""

from __future__ import annotations

import msgspec

from itx.records import CommonSpan, Context, Response, Run, Score, Trace
from tests.support.traces import build_run

TEXT = "Two cats ran."
OWN = ["Two", " c", "ats", " ran", ".", "<eos>"]
"""The author's pieces, ids 10 … 15."""
OTHERS = ["T", "wo", " cats", " ran", ".", "</s>"]
"""The scorer's, ids 10 … 15, too: the same numbers mean something else to it."""
SPANS = [
    CommonSpan(0, 1, 0, 2, -0.5, -2.0),
    CommonSpan(1, 3, 2, 3, -1.0, -4.0),
    CommonSpan(3, 4, 3, 4, -0.25, -0.125),
    CommonSpan(4, 5, 4, 5, -0.125, -6.0),
    CommonSpan(5, 6, 5, 6, -1.5, -0.5),
]


def build_aligned() -> tuple[Run, Trace]:
    """Return a run whose base has another tokenizer than ``full``, and its one trace."""
    run = build_run(("full",))
    models = [
        msgspec.structs.replace(model, exact=False, alignment="bytes") if model.role == "base" else model
        for model in run.models
    ]
    run = msgspec.structs.replace(run, models=models, warnings=["base has another tokenizer than full."])
    count = len(OWN)
    score = Score(
        logp=[-2.0, None, None, -0.125, -6.0, -0.5],
        rank=[None, None, None, 1, 40, 2],
        ties=[None, None, None, 0, 0, 0],
        entropy=[1.0, 2.0, None, 3.0, 4.0, 0.5],
        kl_author_scorer=[None] * count,
        kl_scorer_author=[None] * count,
        js=[None] * count,
        top=[[(11, -0.5)], [(12, -1.0)], [], [(13, -0.125)], [(10, -0.25)], [(14, -0.25)]],
        exact=False,
        ids=list(range(10, 16)),
        spans=SPANS,
    )
    response = Response(
        author="full",
        ids=list(range(10, 16)),
        text=TEXT,
        finish="eos",
        logp=[-0.5, -0.75, -0.25, -0.25, -0.125, -1.5],
        entropy=[0.5] * count,
        top=[[(place, -0.5)] for place in range(10, 16)],
        scores={"base": score},
        ends=[3, 5, 8, 12, 13, 13],
    )
    trace = Trace(
        prompt_id="1",
        prompt="What did they do?",
        contexts={"base": Context(ids=[1], text="<s>"), "full": Context(ids=[1, 2], text="<s>")},
        responses=[response],
        pieces=dict(enumerate(OWN, start=10)),
        own_pieces={"base": dict(enumerate(OTHERS, start=10))},
    )
    return run, trace
