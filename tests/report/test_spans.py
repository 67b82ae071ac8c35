"""Two tokenizers in the reports: what exists is said, what does not is n/a, and nothing of it is called exact."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from itx.borrow.rise import is_raised, sum_rise
from itx.compare.crossing import empty_score
from itx.records import Thresholds, Trace
from itx.report.figures import largest_rises, summarise
from itx.report.markdown import write_markdown
from itx.report.plain import write_plain
from itx.report.spans import find_span, largest_spans, list_spans, read_span
from itx.report.summary import write_summary
from itx.report.table import COLUMNS, tidy_rows, write_csv, write_jsonl
from itx.runs.check import check_trace
from tests.support.aligned import SPANS, build_aligned
from tests.support.traces import build_run, build_traces


def with_outside(trace: Trace, author: list[float], scorer: list[float]) -> Trace:
    response = trace.responses[0]
    score = msgspec.structs.replace(response.scores["base"], outside_author=author, outside_scorer=scorer)
    response = msgspec.structs.replace(response, scores={"base": score})
    return msgspec.structs.replace(trace, responses=[response])


def test_figures_are_of_what_exists() -> None:
    run, trace = build_aligned()
    figures = summarise(run, [trace]).models["full"]
    assert (figures.positions, figures.unranked) == (2, 3)
    assert (figures.unshifted, figures.marginal, figures.shifted) == (0.5, 0.0, 0.5)
    assert (figures.kl_mean, figures.kl_median, figures.kl_reverse_mean, figures.js_mean) == (None,) * 4
    assert (figures.initiation_kl_mean, figures.later_kl_mean) == (None, None)
    assert (figures.aligned, figures.exact, figures.spans, figures.pairs) == (True, False, 4, 2)
    assert figures.span_rise_mean == pytest.approx((1.5 + 3.0 - 0.125 + 5.875) / 4)
    assert figures.rise_mean == pytest.approx((1.5 - 0.125 + 5.875) / 3)
    assert figures.scorer_entropy_mean == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert sum(counts.positions for counts in figures.categories.values()) == 2


def test_spans_are_found_and_ordered() -> None:
    _, trace = build_aligned()
    response = trace.responses[0]
    score = response.scores["base"]
    assert list_spans(response, score) == SPANS[:-1]
    assert [find_span(score, place) for place in range(6)] == [SPANS[place] for place in (0, 1, 1, 2, 3, 4)]
    assert largest_spans(response, score, 2) == [SPANS[3], SPANS[1]]
    assert [read_span(response, span) for span in SPANS] == ["Two", " cats", " ran", ".", ""]
    assert largest_rises(response, score) == [4, 0, 3, 5]


def test_a_rise_is_of_whole_spans_only() -> None:
    _, trace = build_aligned()
    response = trace.responses[0]
    score = response.scores["base"]
    assert sum_rise(response, score, 0, 3) == pytest.approx(4.5)
    assert sum_rise(response, score, 0, 2) is None
    assert sum_rise(response, score, 2, 4) is None
    assert is_raised(None, score, 4, 5, Thresholds())
    assert not is_raised(None, score, 0, 3, Thresholds())


def test_the_tidy_table_leaves_out_what_does_not_exist() -> None:
    run, trace = build_aligned()
    rows = list(tidy_rows(run, [trace]))
    assert [tuple(row) for row in rows] == [COLUMNS] * 6
    assert [row["rank"] for row in rows] == [None, None, None, 1, 40, 2]
    assert [row["shift"] for row in rows] == [None, None, None, "unshifted", "shifted", "marginal"]
    assert [row["scorer_logp"] for row in rows] == [-2.0, None, None, -0.125, -6.0, -0.5]
    assert {row["exact"] for row in rows} == {False}
    assert {row["kl_author_scorer"] for row in rows} == {None}
    assert [row["piece"] for row in rows][:3] == ["Two", " c", "ats"]
    assert json.loads(next(iter(write_jsonl(run, [trace]))))["js"] is None
    table = list(csv.DictReader(io.StringIO("".join(write_csv(run, [trace])))))
    assert [row["rank"] for row in table] == ["", "", "", "1", "40", "2"]


def test_every_report_says_so() -> None:
    run, trace = build_aligned()
    for written in (
        write_plain(run, trace, width=200),
        write_markdown(run, [trace]),
        write_summary(run, summarise(run, [trace])),
    ):
        flat = " ".join(written.split())
        assert "not exact" in flat
        assert "4 common spans of the text, 2 of them one token of each" in flat
        assert "On average full gives a span 2.56 nats more" in flat
        assert "n/a" in flat
        assert "≥" not in flat
    plain = write_plain(run, trace, width=200)
    assert "Two cats ran{.}_" not in plain
    assert "Two cats ran{.}" in plain
    (shifted,) = [line.split() for line in plain.splitlines() if line.split()[:1] == ["4"] and "40" in line.split()]
    assert shifted == ["4", "'T'", "0.78", "'.'", "0.88", "0.0025", "40", "n/a"], "base's ids have base's names"
    risen = [line.split()[1:4] for line in plain.splitlines() if ":" in line and line.split()[0] in {"0", "1", "4"}]
    assert risen[:3] == [["'.'", "1:1", "0.88"], ["'", "cats'", "2:1"], ["'Two'", "1:2", "0.61"]]
    markdown = write_markdown(run, [trace])
    assert "another tokenizer: aligned by bytes, not exact" in markdown
    assert "top-k only" not in markdown


@pytest.mark.parametrize("tokenised", [True, False])
def test_a_response_that_could_not_be_read_has_no_figures(tokenised: bool) -> None:
    run, trace = build_aligned()
    response = trace.responses[0]
    score = empty_score(len(response.ids))
    if tokenised:
        score = msgspec.structs.replace(score, ids=response.scores["base"].ids)
    trace = msgspec.structs.replace(trace, responses=[msgspec.structs.replace(response, scores={"base": score})])
    trace = check_trace(msgspec.json.decode(msgspec.json.encode(trace), type=Trace), run)
    figures = summarise(run, [trace]).models["full"]
    assert (figures.positions, figures.unshifted, figures.unranked) == (0, None, 5)
    assert (figures.aligned, figures.exact, figures.spans, figures.span_rise_mean) == (True, False, 0, None)
    for written in (
        write_plain(run, trace),
        write_markdown(run, [trace]),
        write_summary(run, summarise(run, [trace])),
    ):
        flat = " ".join(written.split())
        assert "another tokenizer than full" in flat
        assert "0 common spans of the text" in flat
        assert "No span is common to both" in flat
        assert "bound" not in flat
    assert [row["exact"] for row in tidy_rows(run, [trace])] == [False] * 6
    assert sum_rise(response, score, 0, 1) is None


def test_probability_outside_is_said_where_there_is_some() -> None:
    run = build_run(("full",))
    trace = next(trace for trace in build_traces(run, 8) if trace.responses and trace.error is None)
    author = msgspec.structs.replace(trace, responses=[r for r in trace.responses if r.author == "full"])
    count, counted = len(author.responses[0].ids), author.responses[0].length
    for share, said in ((0.25, True), (0.0, False)):
        outside = with_outside(author, [0.0] * count, [share] * counted + [1.0] * (count - counted))
        figures = summarise(run, [outside])
        assert figures.models["full"].outside_scorer == pytest.approx(share)
        assert figures.models["full"].outside_author == 0.0
        for written in (write_plain(run, outside), write_markdown(run, [outside]), write_summary(run, figures)):
            assert ("0.25 of base's probability" in " ".join(written.split())) == said
    assert "eft out, on ids" not in write_markdown(run, [author])
