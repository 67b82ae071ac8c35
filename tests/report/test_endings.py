"""How a response ended is said alike in plain text and in Markdown."""

from __future__ import annotations

import msgspec
import pytest

from itx.records import Decoding
from itx.report.markdown import write_markdown
from itx.report.plain import write_plain
from tests.support.traces import build_run, build_trace

TRACE = build_trace("1", "p", {"full": "It is"}, finish={"full": "length"})
COUNT = len(TRACE.responses[0].ids)


@pytest.mark.parametrize(
    ("limit", "said"),
    [(COUNT, "(stopped at the token limit)"), (COUNT + 1, "(stopped at the end of the model's window)")],
)
def test_where_a_response_was_cut(limit: int, said: str) -> None:
    run = build_run(decoding=Decoding(max_new_tokens=limit))
    assert said in write_plain(run, TRACE)
    assert said in write_markdown(run, [TRACE])


@pytest.mark.parametrize("limit", [COUNT - 1, COUNT, COUNT + 1])
def test_a_given_text_is_whole_where_it_stops(limit: int) -> None:
    run = build_run(decoding=Decoding(max_new_tokens=limit))
    trace = msgspec.structs.replace(TRACE, responses=[msgspec.structs.replace(TRACE.responses[0], given=True)])
    for written in (write_plain(run, trace), write_markdown(run, [trace])):
        assert "stopped" not in written
        assert "given" in written
