"""Tracing beside a live comparison: on its own thread, recorded, never in the way; failures are said."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from itx.compare.events import Loading
from itx.errors import InputError, ItxError, RunError
from itx.records import Borrowing, DataReference, Response
from itx.runs.borrowings import BorrowingWriter
from itx.runs.recording import Recording
from itx.tui.app import CompareApp
from itx.tui.live import Live, LiveSession
from itx.tui.screens.rows import RowsScreen
from itx.tui.session import RecordedSession
from itx.tui.tracer import Query, Tracer
from itx.tui.tracing import Tracing
from tests.support.traces import build_run, write_run
from tests.tui.borrowings import FakeTracer, make_borrowing, make_traces
from tests.tui.conftest import piloted, screen_text, until
from tests.tui.fakes import FakeComparer, live_source
from tests.tui.test_origins import flat


def traced_source(
    folder: Path,
    tracer: FakeTracer,
    *,
    opening: threading.Event | None = None,
    error: ItxError | None = None,
    gate: threading.Event | None = None,
    prompts: tuple[str, ...] = ("one", "two"),
) -> Live:
    """Return a live source whose index opens when ``opening`` is set, or fails."""

    def load(tell: Callable[[Loading], None]) -> Tracer:
        tell(Loading(what="reading rows.jsonl", done=1, total=4))
        if opening is not None:
            opening.wait()
        if error is not None:
            raise error
        return tracer

    comparer = FakeComparer(build_run(), make_traces(3), gate=gate)
    source = live_source(folder, comparer, prompts)
    return Live(loader=source.loader, folder=folder, prompts=source.prompts, tracer=load)


def session_of(app: CompareApp) -> LiveSession:
    assert isinstance(app.session, LiveSession)
    return app.session


def panel_text(app: CompareApp) -> str:
    return " ".join(" ".join(strip.text for strip in app.compare.rows._strips).split())


async def test_responses_are_traced_when_finished_and_recorded_beside_the_run(tmp_path: Path) -> None:
    tracer = FakeTracer()
    source = traced_source(tmp_path / "run", tracer, prompts=("one",))
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "[1 water" in screen_text(app))
        assert "9 rows" not in screen_text(app)
        await pilot.press("g", "b")
        await pilot.pause()
        assert "1: rows.jsonl#812 · 9 rows" in screen_text(app)
        await pilot.press("m", "enter")
        await pilot.pause()
        assert "[1! water" in screen_text(app)
        shown = [line for line in screen_text(app).splitlines()[2:-1] if line]
    assert set(tracer.traced) == {("q1", "base"), ("q1", "full")}
    recording = Recording.open(source.folder)
    found = recording.borrowing("q1", "full")
    assert found is not None
    assert next(span.text for span in found.spans if span.borrowed).startswith("water bottle")
    async with piloted(recording, (120, 40)) as (app, pilot):
        await pilot.press("g", "b")
        await until(pilot, lambda: app.compare.figures.total is not None)
        assert [line for line in screen_text(app).splitlines()[2:-1] if line] == shown


async def test_streaming_and_keys_go_on_while_tracing_is_slow(tmp_path: Path) -> None:
    tracer = FakeTracer(gate=threading.Event())
    source = traced_source(tmp_path / "run", tracer)
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: [item.status for item in app.session.items] == ["done", "done"])
        await pilot.press("K", "l")
        assert app.compare.index == 0
        await pilot.pause()
        assert "Being traced." in screen_text(app)
        assert "[1 " not in screen_text(app)
        cursor = app.compare.author_pane.place.cursor
        assert tracer.gate is not None
        tracer.gate.set()
        await until(pilot, lambda: "[1 water" in screen_text(app))
        assert app.compare.author_pane.place.cursor == cursor


async def test_the_index_loads_in_the_background_and_says_how_far_it_is(tmp_path: Path) -> None:
    opening, gate = threading.Event(), threading.Event()
    source = traced_source(tmp_path / "run", FakeTracer(), opening=opening, gate=gate, prompts=("one",))
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "rows 25 %" in screen_text(app))
        await until(pilot, lambda: session_of(app).running == 0)
        await until(pilot, lambda: app.compare.view().answer is not None)
        assert "Reading the tuning data (reading rows.jsonl): 25 %." in panel_text(app)
        gate.set()
        await until(pilot, lambda: app.session.items[0].status == "done")
        assert "[1 " not in screen_text(app)
        opening.set()
        await until(pilot, lambda: "[1 water" in screen_text(app))
        assert "rows 25 %" not in screen_text(app)


async def test_the_run_names_its_data_once_that_is_open(tmp_path: Path) -> None:
    opening = threading.Event()
    data = DataReference(reference="rows.jsonl", fingerprint="sha256:1", rows=812)
    source = traced_source(tmp_path / "run", FakeTracer(), opening=opening, prompts=("one",))
    source = dataclasses.replace(source, data=lambda: data)
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: app.session.items[0].status == "done")
        # The answer is on the disk; a process that is killed now leaves a run that can be traced later.
        assert Recording.open(source.folder).trace("q1").error is None
        assert Recording.open(source.folder).run.data is None
        assert "rows.jsonl (812)" not in screen_text(app)
        opening.set()
        await until(pilot, lambda: "[1 water" in screen_text(app))
        await until(pilot, lambda: "rows.jsonl (812)" in screen_text(app))
        assert app.session.run is not None
        assert app.session.run.data == data
    recording = Recording.open(source.folder)
    assert recording.run.data == data
    assert recording.borrowing("q1", "full") is not None


async def test_an_index_that_fails_is_said_with_its_cause_and_answers_go_on(tmp_path: Path) -> None:
    error = InputError("rows.jsonl has no row that can be read.", "itx index rows.jsonl")
    source = traced_source(tmp_path / "run", FakeTracer(), error=error, prompts=("one",))
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: app.session.items[0].status == "done")
        await until(pilot, lambda: "rows.jsonl has no row that can be read." in flat(screen_text(app)))
        await pilot.press("b")
        assert "b/B borrowed" not in screen_text(app).splitlines()[-1]
        await pilot.press("s")
        await pilot.pause()
        assert isinstance(app.screen, RowsScreen)
        assert "rows.jsonl has no row that can be read." in flat(screen_text(app))
    assert not (source.folder / "borrow.jsonl").exists()
    assert Recording.open(source.folder).trace("q1").error is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_tracer_that_crashes_takes_nothing_with_it(tmp_path: Path) -> None:
    class Broken(FakeTracer):
        def borrow(self, trace: object, response: object) -> Borrowing:
            raise ZeroDivisionError("no rows")

    source = traced_source(tmp_path / "run", Broken())
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: [item.status for item in app.session.items] == ["done", "done"])
        await until(pilot, lambda: "ZeroDivisionError" in screen_text(app))
    assert Recording.open(source.folder).trace("q2").error is None


async def test_a_full_disk_loses_no_borrowing_from_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(writer: BorrowingWriter, borrowing: Borrowing, response: Response) -> None:
        raise RunError("No space is left for what was borrowed.", "Make room.")

    monkeypatch.setattr(BorrowingWriter, "append", refuse)
    source = traced_source(tmp_path / "run", FakeTracer(), prompts=("one",))
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "[1 water" in screen_text(app))
        await until(pilot, lambda: "No space is left for what was borrowed." in flat(screen_text(app)))


async def test_leaving_traces_what_is_finished_first(tmp_path: Path) -> None:
    tracer = FakeTracer(gate=threading.Event())
    source = traced_source(tmp_path / "run", tracer, prompts=("one",))
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: app.session.items[0].status == "done")
        await until(pilot, lambda: session_of(app).provenance.tracing is not None)
        assert tracer.gate is not None
        tracer.gate.set()
        await pilot.press("q")
    assert Recording.open(source.folder).borrowing("q1", "full") is not None


async def test_a_run_gone_on_with_knows_what_was_traced_before(tmp_path: Path) -> None:
    source = traced_source(tmp_path / "run", FakeTracer(), prompts=("one",))
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "[1 water" in screen_text(app))
    tracer = FakeTracer()
    again = traced_source(tmp_path / "run", tracer, prompts=("one",))
    async with piloted(again, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "[1 water" in screen_text(app))
    assert tracer.traced == []


# Searching


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_rows_are_searched_in_four_ways(tmp_path: Path, size: tuple[int, int]) -> None:
    tracer = FakeTracer()
    async with piloted(traced_source(tmp_path / "run", tracer, prompts=()), size) as (app, pilot):
        await pilot.press("escape", "s")
        await pilot.pause()
        assert isinstance(app.screen, RowsScreen)
        assert "[words] meaning near verbatim" in flat(screen_text(app))
        await pilot.press(*"waterloo", "enter")
        await until(pilot, lambda: "rows.jsonl#17" in screen_text(app))
        text = flat(screen_text(app))
        assert "Q Where did the two armies meet?" in text
        assert "Nobody slept." in text
        await pilot.press("tab")
        await until(pilot, lambda: len(tracer.searched) == 2)
        assert "words [meaning] near verbatim" in flat(screen_text(app))
        await pilot.press("tab")
        await until(pilot, lambda: len(tracer.searched) == 3)
        await pilot.press("tab")
        await until(pilot, lambda: len(tracer.searched) == 4)
        await pilot.press("slash", *"armies", "enter")
        await until(pilot, lambda: len(tracer.searched) == 5)
        await pilot.press("escape", "s")
        await pilot.pause()
        await until(pilot, lambda: len(tracer.searched) == 6)
        await pilot.press("escape")
    assert tracer.searched == [
        ("waterloo", "words"),
        ("waterloo", "meaning"),
        ("waterloo", "near"),
        ("waterloo", "verbatim"),
        ("armies", "verbatim"),
        ("armies", "verbatim"),
    ]


async def test_a_search_that_fails_says_why(tmp_path: Path) -> None:
    tracer = FakeTracer(error=InputError("The index is gone.", "itx index rows.jsonl"))
    async with piloted(traced_source(tmp_path / "run", tracer, prompts=()), (80, 24)) as (app, pilot):
        await pilot.press("escape", "s", *"water", "enter")
        await until(pilot, lambda: "The search failed: The index is gone." in flat(screen_text(app)))


async def test_a_recorded_run_with_its_data_is_traced_now(tmp_path: Path) -> None:
    tracer = FakeTracer()
    recording = Recording.open(write_run(tmp_path / "run", build_run(), make_traces(2)))
    app = CompareApp(RecordedSession(recording, lambda tell: tracer))
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: "[1 water" in screen_text(app))
    finally:
        app.session.close()
    assert ("1", "full") in tracer.traced


def test_the_last_search_counts_and_goes_before_traces() -> None:
    gate = threading.Event()
    tracer = FakeTracer(gate=gate)
    tracing = Tracing(lambda tell: tracer)
    traces = make_traces(2)
    for trace in traces:
        tracing.trace(trace)
    tracing.search(Query("one", "words"))
    tracing.search(Query("two", "meaning"))
    gate.set()
    tracing.start()
    while tracing.loading is not None:
        tracing.take()
    tracing.close(10)
    assert tracer.searched == [("two", "meaning")]
    assert len(tracer.traced) == 4


def test_borrowings_that_are_made_here_are_such_as_a_run_takes(tmp_path: Path) -> None:
    trace = make_traces(1)[0]
    with BorrowingWriter(write_run(tmp_path / "run", build_run(), [trace])) as writer:
        for response in trace.responses:
            writer.append(make_borrowing("1", response), response)
    found = Recording.open(tmp_path / "run").borrowing("1", "full")
    assert found is not None
    assert found == make_borrowing("1", trace.responses[1])


def test_what_is_queued_is_traced_on_leaving_even_where_nobody_took_the_notes() -> None:
    tracer, opened = FakeTracer(gate=threading.Event()), threading.Event()

    def load(tell: Callable[[Loading], None]) -> Tracer:
        opened.set()
        return tracer

    tracing = Tracing(load)
    tracing.trace(make_traces(1)[0])
    tracing.trace(msgspec.structs.replace(make_traces(2)[1], error="Out of memory."))
    tracing.start()
    opened.wait(10)
    assert tracer.gate is not None
    threading.Timer(0.1, tracer.gate.set).start()
    while not tracing.notes:
        pass
    tracing.close(10)
    assert tracer.traced == [("1", "base"), ("1", "full")]


async def test_a_response_that_cannot_be_traced_says_why(tmp_path: Path) -> None:
    tracer = FakeTracer(error=InputError("The index is gone.", "itx index rows.jsonl"))
    async with piloted(traced_source(tmp_path / "run", tracer, prompts=("one",)), (120, 40)) as (app, pilot):
        await until(pilot, lambda: "This response could not be traced: The index is gone." in panel_text(app))


async def test_a_failure_that_comes_when_all_is_drawn_is_drawn(tmp_path: Path) -> None:
    tracer = FakeTracer(gate=threading.Event(), error=InputError("The index is gone.", "itx index rows.jsonl"))
    async with piloted(traced_source(tmp_path / "run", tracer, prompts=("one",)), (120, 40)) as (app, pilot):
        # The rows near the prompt may have been found meanwhile: then they are shown, and not that it is being traced.
        await until(pilot, lambda: app.compare.exchange is not None and app.compare.exchange.trace is not None)
        await pilot.pause(0.5)  # what else is drawn at the end of an answer is drawn by then
        tracer.gate.set()
        await until(pilot, lambda: "This response could not be traced: The index is gone." in panel_text(app))
