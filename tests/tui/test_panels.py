"""The lower panels: every figure is shown whole at every size, whatever the models are called."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rich.text import Text

from itx.records import Trace
from itx.report.wording import say_nats, say_probability
from itx.runs.recording import Recording
from itx.tui.widgets.panel import Panel
from itx.tui.wording import flow
from tests.support.traces import build_run, build_traces, write_run
from tests.tui.conftest import piloted, screen_text

LONG = "qwen2.5-1.5b-instruct-lora-r16-alpaca-cleaned"
SIZES = [(120, 40), (100, 30), (100, 24), (99, 36), (80, 24), (60, 20), (40, 20), (30, 24), (24, 36)]


def far_ranks(trace: Trace) -> Trace:
    """Return the trace with ranks of five digits, tied, so that the lines of figures become long."""
    responses = []
    for response in trace.responses:
        scores = {
            name: msgspec.structs.replace(score, rank=[12_345] * len(score.rank), ties=[17] * len(score.rank))
            for name, score in response.scores.items()
        }
        responses.append(msgspec.structs.replace(response, scores=scores))
    return msgspec.structs.replace(trace, responses=responses)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["full", LONG])
async def test_every_figure_is_shown_whole(tmp_path: Path, size: tuple[int, int], name: str) -> None:
    run = build_run((name,))
    traces = [far_ranks(trace) for trace in build_traces(run, 2, words=300)]
    async with piloted(Recording.open(write_run(tmp_path / "run", run, traces)), size) as (app, pilot):
        for key in ("tab", "tab", "l", "l"):
            await pilot.press(key)
        for panel in [panel for panel in app.compare.query(Panel) if panel.region]:
            too_long = [
                strip.text for strip in panel._strips if strip.text.rstrip() != strip.text[: panel.room].rstrip()
            ]
            assert not too_long, (panel.id, panel.room)
        view = app.compare.view()
        assert view.answer is not None
        assert view.score is not None
        assert view.cursor is not None
        written = "\n".join(line.plain for line in app.compare.token.write_lines(app.compare.token.room))
        assert "rank 12,345" in written
        for value in (view.score.kl_author_scorer, view.score.kl_scorer_author, view.score.js):
            assert say_nats(value[view.cursor]) in written
        for logp in (view.answer.logp, view.score.logp):
            assert f" {say_probability(logp[view.cursor])}" in written
        assert written.count(" wanted") == 2
        shown = screen_text(app)
        if size[1] >= 20 and size[0] >= 60:
            counts = view.answer.counts(view.scorer, view.thresholds)
            assert f"{counts['shifted']} of {sum(counts.values())} shifted" in shown
        if app.compare.figures.display and app.compare.shape.lower:
            assert "100 %" in "\n".join(strip.text for strip in app.compare.figures._strips)


def test_parts_flow_whole_onto_lines() -> None:
    parts = [Text("rank 12,345"), Text("base 0.31"), Text("JS 0.69")]
    assert [line.plain for line in flow(parts, 22)] == ["rank 12,345  base 0.31", "JS 0.69"]
    assert [line.plain for line in flow(parts, 4)] == ["rank 12,345", "base 0.31", "JS 0.69"]


async def test_a_failed_prompt_awaits_no_figures(tmp_path: Path) -> None:
    run = build_run()
    async with piloted(Recording.open(write_run(tmp_path / "run", run, build_traces(run)))) as (app, pilot):
        app.compare.show_prompt(6)
        await pilot.pause()
        assert [strip.text for strip in app.compare.figures._strips] == ["No figures."]
