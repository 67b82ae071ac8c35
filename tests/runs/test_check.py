"""What a recorded score over two tokenizers must satisfy."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from itx.records import CommonSpan, Score, Trace
from itx.runs.check import check_trace, has_impossible_figure
from tests.support.aligned import SPANS, build_aligned


def change(**fields: Any) -> Trace:
    _, trace = build_aligned()
    response = trace.responses[0]
    score = msgspec.structs.replace(response.scores["base"], **fields)
    return msgspec.structs.replace(trace, responses=[msgspec.structs.replace(response, scores={"base": score})])


def test_it_is_read_back_as_it_was_written() -> None:
    run, trace = build_aligned()
    written = msgspec.json.encode(trace)
    assert check_trace(msgspec.json.decode(written, type=Trace), run) == trace
    assert b'"spans":[[0,1,0,2,-0.5,-2.0],' in written
    assert b'"rank":[null,null,null,1,40,2]' in written
    assert not has_impossible_figure(trace)


def test_a_score_of_one_tokenizer_is_written_as_the_contract_says() -> None:
    score = Score(logp=[], rank=[], ties=[], entropy=[], kl_author_scorer=[], kl_scorer_author=[], js=[], top=[])
    assert list(msgspec.json.decode(msgspec.json.encode(score)))[-1] == "exact"
    assert msgspec.json.decode(msgspec.json.encode(score))["exact"] is True


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"exact": True}, "lacks a figure"),
        ({"rank": [None, None, None, 0, 1, 1]}, "rank below 1"),
        ({"ties": [None, None, None, -1, 1, 1]}, "negative number of ties"),
        ({"logp": [None] * 5}, "5 entries for 6 positions"),
        ({"spans": [SPANS[1], SPANS[0]]}, "common spans"),
        ({"spans": [CommonSpan(5, 7, 0, 1, -1.0, -1.0)]}, "common spans"),
        ({"spans": [CommonSpan(0, 1, 0, 7, -1.0, -1.0)]}, "common spans"),
        ({"spans": [CommonSpan(0, 0, 0, 1, -1.0, -1.0)]}, "common spans"),
        ({"spans": [CommonSpan(0, 1, 0, 1, -1.0, -1e12)]}, "beyond"),
        ({"spans": SPANS, "ids": []}, "common spans"),
        ({"outside_author": [0.5]}, "outside_author has 1 entries"),
        ({"outside_scorer": [1.5] * 6}, "no probability"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], reason: str) -> None:
    run, _ = build_aligned()
    with pytest.raises(ValueError, match=reason):
        check_trace(change(**fields), run)


def test_pieces_are_of_known_models() -> None:
    run, trace = build_aligned()
    with pytest.raises(ValueError, match="unknown model"):
        check_trace(msgspec.structs.replace(trace, own_pieces={"stranger": {}}), run)
