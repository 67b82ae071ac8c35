"""Tracing while an answer is written: seen before it ends, recorded once and whole, and never in the way of a token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from itx.compare.events import Cancel, Event, Loading
from itx.errors import InputError
from itx.records import Borrowing, Prompt, Response, Trace
from itx.runs.recording import Recording
from itx.tui.app import CompareApp
from itx.tui.live import LiveSession
from itx.tui.notes import Live
from tests.support.traces import build_run
from tests.tui.borrowings import FULL, ROWS, FakeTracer, locate, make_traces
from tests.tui.conftest import piloted, screen_text, until
from tests.tui.fakes import FakeComparer, live_source
from tests.tui.test_origins import flat

SHOWN = "water bottle and sip"


def gated_source(
    folder: Path, tracer: FakeTracer, *, chunk: int = 22, prompts: tuple[str, ...] = ("one",), loading: bool = False
) -> tuple[Live, threading.Event]:
    """Return a source whose answers stop after ``chunk`` tokens (or models that load) until the event is set."""
    gate = threading.Event()
    comparer = FakeComparer(build_run(), make_traces(3), chunk=chunk, gate=None if loading else gate)
    source = live_source(folder, comparer, prompts, loading=gate if loading else None)
    return Live(loader=source.loader, folder=folder, prompts=source.prompts, tracer=lambda tell: tracer), gate


def panel_text(app: CompareApp) -> str:
    return flat("\n".join(strip.text for strip in app.compare.rows._strips))


def lines_of(folder: Path) -> list[Borrowing]:
    path = folder / "borrow.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Borrowing) for line in lines]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_spans_and_rows_are_seen_before_an_answer_ends(tmp_path: Path, size: tuple[int, int]) -> None:
    source, gate = gated_source(tmp_path / "run", FakeTracer())
    async with piloted(source, size) as (app, pilot):
        await until(pilot, lambda: "[1 water" in screen_text(app))
        assert app.session.items[0].status == "running"
        answer = app.compare.author_pane.answer
        assert answer is not None
        assert answer.finish is None
        if size[0] >= 100:
            # The answer, its figures and the rows are three widgets: each is drawn when its own turn comes.
            await until(pilot, lambda: "1: rows.jsonl#812 · 9 rows" in panel_text(app))
            await until(pilot, lambda: "borrowed 4 of 20 words so far" in flat(screen_text(app)))
            assert "null" not in flat(screen_text(app))
        await pilot.press("g", "b")
        await pilot.pause()
        assert app.compare.author_pane.place.cursor == locate_in(answer.text, SHOWN)
        assert lines_of(source.folder) == []
        gate.set()
        await until(pilot, lambda: len(lines_of(source.folder)) == 2)
        await until(pilot, lambda: app.compare.view().settled)
        if size[0] >= 100:
            await until(pilot, lambda: "borrowed 8 (null 0.4" in flat(screen_text(app)))
        assert app.compare.author_pane.place.cursor == locate_in(answer.text, SHOWN)


async def test_figures_left_out_for_the_pace_are_drawn_though_nothing_more_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itx.tui.screens.compare.FIGURES_SECONDS", 3.0)
    tracer = FakeTracer(sketch_gate=threading.Event())
    source, _ = gated_source(tmp_path / "run", tracer)
    assert tracer.sketch_gate is not None
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "KL mean" in screen_text(app))
        app.compare.show_panels()
        tracer.sketch_gate.set()
        await until(pilot, lambda: "[1 water" in screen_text(app))
        await until(pilot, lambda: "borrowed 4 of 20 words so far" in flat(screen_text(app)))


def locate_in(text: str, phrase: str) -> int:
    response = make_traces(1)[0].response("full")
    assert response is not None
    assert response.text.startswith(text[:60])
    return locate(response, phrase)[0]


async def test_only_the_whole_tracing_is_recorded_and_once(tmp_path: Path) -> None:
    tracer = FakeTracer()
    source, gate = gated_source(tmp_path / "run", tracer, prompts=("one", "two"))
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "[1 water" in screen_text(app))
        gate.set()
        await until(pilot, lambda: [item.status for item in app.session.items] == ["done", "done"])
        await until(pilot, lambda: len(lines_of(source.folder)) == 4)
    assert any(text and text != FULL for _, _, text in tracer.sketched)
    assert sorted(tracer.traced) == [("q1", "base"), ("q1", "full"), ("q2", "base"), ("q2", "full")]
    recording = Recording.open(source.folder)
    for line in lines_of(source.folder):
        assert line.null.random is not None, "a sketch has no control"
        assert recording.borrowing(line.prompt_id, line.author) == line
    assert [span.text[:5] for span in lines_of(source.folder)[1].spans] == ["water", "fough", "small"]


async def test_a_stopped_answer_is_traced_as_far_as_it_got(tmp_path: Path) -> None:
    source, _ = gated_source(tmp_path / "run", FakeTracer())
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "[1 water" in screen_text(app))
        await pilot.press("space")
        await until(pilot, lambda: app.session.items[0].status == "cancelled")
        await until(pilot, lambda: app.compare.view().settled)
        assert "[1 water" in screen_text(app)
    trace = Recording.open(source.folder).trace("q1")
    (line,) = lines_of(source.folder)
    response = trace.response(line.author)
    assert response is not None
    assert response.finish == "cancelled"
    assert response.text.endswith("throughout the day. The battle was")
    assert [span.text for span in line.spans] == ["water bottle and sip from it throughout the day"]


async def test_an_answer_that_fails_leaves_no_bracket(tmp_path: Path) -> None:
    class Failing(FakeComparer):
        def compare(self, prompt: Prompt, cancel: Cancel) -> Iterator[Event]:
            for event in super().compare(prompt, cancel):
                if self.gate is not None and self.gate.is_set():
                    raise InputError("The engine is gone.", "Start again.")
                yield event

    tracer, gate = FakeTracer(), threading.Event()
    comparer = Failing(build_run(), make_traces(3), chunk=40, gate=gate)
    source = live_source(tmp_path / "run", comparer, ("one",))
    source = Live(loader=source.loader, folder=source.folder, prompts=source.prompts, tracer=lambda tell: tracer)
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "[1 water" in screen_text(app))
        gate.set()
        await until(pilot, lambda: app.session.items[0].status == "failed")
        assert "[1 water" not in screen_text(app)
    assert tracer.traced == []
    assert lines_of(source.folder) == []


async def test_a_slow_tracer_delays_no_token(tmp_path: Path) -> None:
    tracer = FakeTracer(sketch_gate=threading.Event(), gate=threading.Event())
    sketching = threading.Event()
    comparer = FakeComparer(build_run(), make_traces(3), chunk=4, gate=sketching)
    source = live_source(tmp_path / "run", comparer, ("one", "two"))
    source = Live(loader=source.loader, folder=source.folder, prompts=source.prompts, tracer=lambda tell: tracer)
    assert tracer.gate is not None
    assert tracer.sketch_gate is not None
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: len(tracer.sketched) == 1)
        sketching.set()
        # The tracer answers nothing; every token comes, and every answer is recorded.
        await until(pilot, lambda: [item.status for item in app.session.items] == ["done", "done"])
        assert Recording.open(source.folder).trace("q2").error is None
        assert len(tracer.sketched) == 1
        tracer.sketch_gate.set()
        tracer.gate.set()
        await until(pilot, lambda: len(lines_of(source.folder)) == 4)


async def test_what_is_told_while_the_screens_close_is_not_drawn(tmp_path: Path) -> None:
    """Timers tick on after the last screen is gone."""
    source, gate = gated_source(tmp_path / "run", FakeTracer())
    async with piloted(source, (120, 40)) as (app, pilot):
        gate.set()
        await until(pilot, lambda: app.session.items[0].status == "done")
        desk = app.desk
    tracing = desk.session.provenance.tracing
    assert tracing is not None
    assert not app.screen_stack
    tracing.notes.append(Loading(what="tuning data"))
    desk._take_sources()
    desk._take_notes()


async def test_rows_near_a_prompt_are_seen_before_there_is_an_answer(tmp_path: Path) -> None:
    source, gate = gated_source(tmp_path / "run", FakeTracer(), prompts=(), loading=True)
    async with piloted(source, (120, 40)) as (app, pilot):
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: "near 1: rows.jsonl#812 · 0.90 nearest the prompt" in panel_text(app))
        assert app.session.run is None
        assert "b/B borrowed" not in screen_text(app).splitlines()[-1]
        gate.set()
        await until(pilot, lambda: app.session.items[0].status == "done")


async def test_the_row_that_is_read_stays_while_the_answer_grows(tmp_path: Path) -> None:
    tracer = FakeTracer()
    steps = threading.Semaphore(0)
    comparer = FakeComparer(build_run(), make_traces(3), chunk=8, steps=steps)
    source = live_source(tmp_path / "run", comparer, ("one",))
    source = Live(loader=source.loader, folder=source.folder, prompts=source.prompts, tracer=lambda tell: tracer)
    async with piloted(source, (120, 40)) as (app, pilot):
        rows = app.compare.rows
        await until(pilot, lambda: "near 1:" in panel_text(app))
        await until(pilot, lambda: rows.borrowing is not None and rows.borrowing.author == "full")
        await pilot.press("tab", "tab", "tab", "j", "j")
        await pilot.pause()
        wanted = list(ROWS)[2]
        first = rows.borrowing
        assert rows.source is not None
        assert rows.source.row == wanted
        steps.release()
        await until(pilot, lambda: rows.borrowing is not first)
        assert rows.source.row == wanted
        steps.release()
        await until(pilot, lambda: rows.borrowing is not None and bool(rows.borrowing.spans))
        assert app.session.items[0].status == "running"
        assert rows.source.row == wanted


async def test_a_mark_waits_until_the_answer_is_whole(tmp_path: Path) -> None:
    source, gate = gated_source(tmp_path / "run", FakeTracer())
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "[1 water" in screen_text(app))
        await pilot.press("g", "b", "m")
        assert len(app.screen_stack) == 1
        assert "Marks wait until the answer is whole and traced." in flat(screen_text(app))
        gate.set()
        await until(pilot, lambda: app.compare.view().settled)
        await pilot.press("m", "enter")
        await until(pilot, lambda: "[1! water" in screen_text(app))


@pytest.mark.parametrize("error", [OSError("the index is gone"), ValueError("rows out of range")])
async def test_what_one_answer_fails_at_ends_no_other(tmp_path: Path, error: Exception) -> None:
    class Choosy(FakeTracer):
        def borrow(self, trace: Trace, response: Response) -> Borrowing:
            if (trace.prompt_id, response.author) == ("q1", "full"):
                raise error
            return super().borrow(trace, response)

    tracer = Choosy()
    comparer = FakeComparer(build_run(), make_traces(3))
    source = live_source(tmp_path / "run", comparer, ("one", "two", "three"))
    source = Live(loader=source.loader, folder=source.folder, prompts=source.prompts, tracer=lambda tell: tracer)
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: any("prompt q1" in (note.title or "") for note in app._notifications))
        assert "full's answer to prompt q1 could not be traced" in flat(screen_text(app))
        assert str(error) in flat(screen_text(app))
        await until(pilot, lambda: len(lines_of(source.folder)) == 5)
        assert {(line.prompt_id, line.author) for line in lines_of(source.folder)} == {
            (prompt, author) for prompt in ("q1", "q2", "q3") for author in ("base", "full")
        } - {("q1", "full")}
        app.compare.show_prompt(0)
        await pilot.pause()
        assert f"could not be traced: {type(error).__name__}: {error}" in panel_text(app)
        app.compare.show_prompt(2)
        await until(pilot, lambda: "[1 water" in screen_text(app))
        await pilot.press("s", *"waterloo", "enter")
        await until(pilot, lambda: "rows.jsonl#17" in screen_text(app))


async def test_a_sketch_that_fails_is_said_once_and_the_whole_is_still_traced(tmp_path: Path) -> None:
    tracer = FakeTracer(sketch_error=OSError("the index is busy"))
    source, gate = gated_source(tmp_path / "run", tracer, chunk=16)
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "could not be traced: OSError: the index is busy" in panel_text(app))
        gate.set()
        await until(pilot, lambda: "[1 water" in screen_text(app))
        assert "could not be traced" not in panel_text(app)
    assert len([1 for _, author, _ in tracer.sketched if author == "full"]) == 1
    assert len(lines_of(source.folder)) == 2


async def test_without_tuning_data_no_event_is_kept_for_tracing(tmp_path: Path) -> None:
    comparer = FakeComparer(build_run(), make_traces(1))
    async with piloted(live_source(tmp_path / "run", comparer, ("one",)), (120, 40)) as (app, pilot):
        await until(pilot, lambda: app.session.items[0].status == "done")
        assert isinstance(app.session, LiveSession)
        assert app.session.provenance._near == set()
        assert app.session.provenance.tracing is None
