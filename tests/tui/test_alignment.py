"""Two tokenizers on the screen: the inspector says which span, and no figure stands where there is none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from itx.compare.crossing import empty_score
from itx.compare.events import Emitted, Scored, Started
from itx.records import Prompt, Trace
from itx.runs.recording import Recording
from itx.tui.answers import Exchange
from itx.tui.widgets.panel import Panel
from tests.support.aligned import build_aligned
from tests.support.traces import write_run
from tests.tui.conftest import piloted


@pytest.mark.parametrize("size", [(120, 40), (100, 30), (80, 24), (60, 20), (30, 24)])
async def test_the_inspector_says_what_there_is(tmp_path: Path, size: tuple[int, int]) -> None:
    run, trace = build_aligned()
    async with piloted(Recording.open(write_run(tmp_path / "run", run, [trace])), size) as (app, pilot):
        await pilot.press("g")
        seen = []
        for _ in range(len(trace.responses[0].ids)):
            view = app.compare.view()
            assert view.cursor is not None
            written = " ".join("\n".join(line.plain for line in app.compare.token.write_lines(60)).split())
            seen.append((view.cursor, written))
            for panel in [panel for panel in app.compare.query(Panel) if panel.region]:
                assert all(strip.text.rstrip() == strip.text[: panel.room].rstrip() for strip in panel._strips)
            await pilot.press("l")
        app.compare.figures.show(app.compare.view())
        figures = " ".join("\n".join(line.plain for line in app.compare.figures.write_lines(60)).split())
    assert [cursor for cursor, _ in seen] == list(range(6))
    for (_, written), (tokens, rise) in zip(
        seen, [("1:2", "+1.50"), ("2:1", "+3.00"), ("2:1", "+3.00"), ("1:1", "-0.12"), ("1:1", "+5.88")], strict=False
    ):
        assert f"span {tokens} tokens" in written
        assert f"rise {rise} nats" in written
        assert "not exact" in written
        assert "JS" not in written
    assert "rank n/a" in seen[0][1]
    assert "rank 40" in seen[4][1]
    assert "' cats'" in seen[1][1], "base's alternatives have base's names"
    assert "4 common spans, 2 one token of each; rise +2.56 nats a span" in figures
    assert "KL mean" not in figures


async def test_the_screen_says_that_nothing_was_read(tmp_path: Path) -> None:
    run, trace = build_aligned()
    response = msgspec.structs.replace(trace.responses[0], scores={"base": empty_score(6)})
    trace = msgspec.structs.replace(trace, responses=[response])
    async with piloted(Recording.open(write_run(tmp_path / "run", run, [trace])), (120, 40)) as (app, pilot):
        await pilot.press("g")
        token = " ".join("\n".join(line.plain for line in app.compare.token.write_lines(60)).split())
        app.compare.figures.show(app.compare.view())
        figures = " ".join("\n".join(line.plain for line in app.compare.figures.write_lines(60)).split())
    assert "Other tokenizer: no span of base's here" in token
    assert "0 common spans" in figures
    assert "JS" not in token + figures
    assert "≥" not in token + figures


def test_what_is_told_live_is_what_is_recorded() -> None:
    _, trace = build_aligned()
    (response,) = trace.responses
    live = Exchange("1", trace.prompt)
    live.apply(Started(prompt=Prompt(id="1", prompt=""), contexts=trace.contexts, authors=["full"], apart=["base"]))
    for place, token in enumerate(response.ids):
        text = response.text[slice(*response.span(place))]
        piece, is_eos = trace.pieces[token], place == len(response.ids) - 1
        live.apply(Emitted(author="full", position=place, id=token, piece=piece, text=text, is_eos=is_eos))
    own = {"logp": response.logp, "entropy": response.entropy, "top": response.top}
    live.apply(Scored(author="full", start=0, **own, scores={}, pieces=trace.pieces))
    assert live.answers["full"].scored("base") == 0
    empty = {"logp": [], "entropy": [], "top": []}
    live.apply(Scored(author="full", start=6, **empty, scores=response.scores, pieces={}, own_pieces=trace.own_pieces))
    recorded = Exchange.from_trace(trace)
    assert live.answers["full"].scores == recorded.answers["full"].scores == response.scores
    assert [live.name(token, "base") for token in range(10, 16)] == list(trace.own_pieces["base"].values())
    assert [live.name(token, "full") for token in range(10, 16)] == list(trace.pieces.values())
    assert isinstance(live.trace, Trace | None)
