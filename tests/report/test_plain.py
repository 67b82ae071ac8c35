"""Plain text: widths, marks, and the same finding as everywhere."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.records import Decoding
from itx.report.cells import cut, measure, pad, wrap
from itx.report.figures import count_classes
from itx.report.plain import write_plain
from tests.support.traces import RESPONSES, build_run, build_trace, build_traces

UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e]")


@pytest.mark.parametrize("width", [40, 57, 80, 120])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("tuned", [("full",), ("lora", "full")])
def test_no_line_is_wider_and_nothing_reaches_the_terminal(
    tuned: tuple[str, ...], width: int, ascii_only: bool
) -> None:
    run = build_run(tuned)
    for trace in build_traces(run, 8):
        written = write_plain(run, trace, width, ascii_only)
        assert all(measure(line) <= width for line in written.splitlines())
        assert not UNSEEN.search(written)
        assert written.isascii() or not ascii_only


def test_the_findings_are_those_of_the_trace() -> None:
    run = build_run()
    trace = build_traces(run, 2, seed=4)[1]
    written = write_plain(run, trace, 120)
    for response in trace.responses:
        other = "full" if response.author == "base" else "base"
        score = response.scores[other]
        assert f"{response.author} answered, scored by {other}\n" in written
        counts = count_classes(response, score, run.thresholds)
        assert f"{counts.positions} positions: {counts.unshifted} (" in written
        part = written.split(f"{response.author} answered")[1].split("answered")[0]
        listed = [int(found) for found in re.findall(r"^ +(\d+)  '", part, flags=re.MULTILINE)]
        assert listed == [place for place, rank in enumerate(score.rank) if rank > 3]
        for place in listed:
            assert f"  {score.rank[place]}  " in part
    assert "{I'm}" in written or "{" in written


def test_marks_are_signs_the_responses_do_not_have() -> None:
    run = build_run()
    trace = build_trace("1", "p", {"base": "It {is} _long_.", "full": "a [[b]] ~c~ {d} _e_"}, seed=2)
    written = write_plain(run, trace)
    legend = " ".join(written.split())
    assert "{{shifted}}" in legend or "<<shifted>>" in legend
    assert "^marginal^" in legend


def test_failed_empty_and_unscored() -> None:
    run = build_run()
    traces = build_traces(run, 8)
    assert "This prompt failed\n  The context has 4,101 tokens, the window 4,096.\n" in write_plain(run, traces[6])
    assert "full answered, scored by base\n  (an empty response)\n" in write_plain(run, traces[3]).replace(
        " _<eos>_", ""
    )
    assert "(cancelled before its end)" in write_plain(run, traces[4])
    limited = build_run(decoding=Decoding(max_new_tokens=len(traces[2].responses[-1].ids)))
    assert "(stopped at the token limit)" in write_plain(limited, traces[2])
    alone = build_trace("1", "p", {"full": "It is."}, scorers={})
    assert "full answered; nobody scored it\n  It is.\n" in write_plain(run, alone)
    assert "Known answer\n  It was fought in 1815.\n" in write_plain(run, traces[0])


def test_hostile_names_and_text_are_visible() -> None:
    run = build_run(("fu\x1b[2Jll",))
    trace = build_trace("\x1b]0;x\x07", "a\x1b[31m\r\nb", {"base": "It.", "fu\x1b[2Jll": "x\x9b31m \u202e."})
    written = write_plain(run, msgspec.structs.replace(trace, pieces={}))
    assert not UNSEEN.search(written)
    assert "Prompt ␛]0;x␇\n" in written
    shifted = build_trace("2", "p", {"base": RESPONSES[0], "full": RESPONSES[3]}, seed=1)
    assert re.search(r"  id \d+ +0", write_plain(build_run(), msgspec.structs.replace(shifted, pieces={})))


@given(text=st.text(max_size=60), width=st.integers(1, 30))
def test_cut_pad_and_wrap_fit(text: str, width: int) -> None:
    line = text.replace("\n", "")
    assert measure(cut(line, width)) <= width
    assert measure(pad(cut(line, width), width)) == width
    wrapped = wrap(line, width)
    assert all(measure(part) <= width or len(part) == 1 for part in wrapped)
    assert "".join("".join(wrapped).split(" ")) == "".join(line.split(" "))


def test_wrap_by_hand() -> None:
    assert wrap("the king of 東京 rode", 8) == ["the king", "of 東京", "rode"]
    assert wrap("  indented text", 10) == ["  indented", "text"]
    assert wrap("abcdefgh", 3) == ["abc", "def", "gh"]
    assert wrap("", 5) == [""]
    assert (measure("東e\u0301"), cut("東京都", 5), cut("東京", 4), pad("東", 4, right=True)) == (
        3,
        "東京…",
        "東京",
        "  東",
    )
