"""Sketches of a response that is being written: the spans of the whole, as far as there is text, and no more."""

from __future__ import annotations

import msgspec
import pytest

from itx.borrow.join import Joiner
from itx.records import Null, Response
from tests.borrow.test_join import MARKET, PROMPT, SIEGE, at, rows, trace_of

TEXT = f"Sure! {SIEGE} And more: {MARKET} That is all."


def test_a_sketch_of_all_the_text_has_the_spans_and_counts_of_the_whole() -> None:
    trace, joiner = trace_of({"base": "It ended with a truce.", "full": TEXT}), Joiner(rows())
    whole = joiner.borrow(trace, at(trace, "full"))
    sketch = joiner.sketch(msgspec.structs.replace(trace, responses=[]), at(trace, "full"))
    assert whole.borrowed > 0
    assert sketch == msgspec.structs.replace(
        whole,
        neighbours=[near for near in whole.neighbours if near.query == "prompt"],
        null=Null(),
        paraphrases=[],
        response=None,
    )


@pytest.mark.parametrize("words", range(0, 26, 5))
def test_spans_that_are_not_scored_to_their_end_have_no_rise(words: int) -> None:
    trace, joiner = trace_of({"base": "", "full": TEXT}), Joiner(rows())
    response = at(trace, "full")
    scores = {"base": msgspec.structs.replace(response.scores["base"], rank=response.scores["base"].rank[:words])}
    behind = msgspec.structs.replace(response, logp=response.logp[:words], scores=scores)
    whole, sketch = joiner.borrow(trace, response), joiner.sketch(trace, behind)
    assert [(span.start, span.end, span.borrowed) for span in sketch.spans] == [
        (span.start, span.end, span.borrowed) for span in whole.spans
    ]
    for full, part in zip(whole.spans, sketch.spans, strict=True):
        assert part.rise == (full.rise if full.end <= words else None)
        assert part.raised == (full.raised and full.end <= words)


def test_of_an_empty_response_there_are_the_rows_nearest_its_prompt() -> None:
    joiner = Joiner(rows())
    empty = Response(author="", ids=[], text="", finish="length")
    for prompt in (PROMPT, "What is sold at the market?", PROMPT):
        trace = trace_of({"full": TEXT}, prompt)
        sketch = joiner.sketch(trace, empty)
        whole = joiner.borrow(trace, at(trace, "full"))
        assert sketch.spans == []
        assert [near.row for near in sketch.neighbours] == [
            near.row for near in whole.neighbours if near.query == "prompt"
        ]
