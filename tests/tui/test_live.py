"""The compare screen on a live comparison: streaming, queueing, stopping, failing; nothing generated is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from itx.errors import RunError, WeightsError, WindowError
from itx.records import Prompt, Trace
from itx.runs.asked import fingerprint_prompt
from itx.runs.recorder import Recorder
from itx.runs.recording import Recording
from itx.tui.answers import Exchange
from itx.tui.live import LiveSession
from itx.tui.widgets.prompt_box import PromptBox
from tests.support.traces import build_run, build_traces
from tests.tui.conftest import piloted, screen_text, until
from tests.tui.fakes import FakeComparer, live_source


def make_comparer(words: int = 60, *, gated: bool = False, pause: float = 0.0) -> FakeComparer:
    run = build_run(("lora",))
    traces = [trace for trace in build_traces(run, 3, words=words) if trace.error is None]
    return FakeComparer(run, traces, pause=pause, gate=threading.Event() if gated else None)


def live(app: object) -> LiveSession:
    session = getattr(app, "session", None)
    assert isinstance(session, LiveSession)
    return session


async def test_a_streamed_answer_ends_as_the_recorded_one(tmp_path: Path) -> None:
    comparer = make_comparer()
    source = live_source(tmp_path / "run", comparer, ["one", "two"])
    async with piloted(source) as (app, pilot):
        await until(pilot, lambda: [item.status for item in app.session.items] == ["done", "done"])
        await until(pilot, lambda: app.compare.index == 1)
        shown = screen_text(app)
        seen = app.compare.view()
    recording = Recording.open(source.folder)
    recording.scan_all()
    assert [entry.prompt_id for entry in recording.entries] == ["q1", "q2"]
    trace = recording.trace("q2")
    again = Exchange.from_trace(trace)
    assert seen.exchange is not None
    assert seen.exchange.answers == again.answers
    async with piloted(recording) as (app, pilot):
        await until(pilot, lambda: len(app.session.items) == 2)
        await pilot.press("J")
        await pilot.pause()
        assert screen_text(app).splitlines()[:-1] == shown.splitlines()[:-1]


async def test_events_make_the_same_answer_as_the_trace(tmp_path: Path) -> None:
    comparer = make_comparer()
    source = live_source(tmp_path / "run", comparer, [])
    exchange = Exchange("x", "?")
    events = list(comparer.compare(Prompt(id="x", prompt="?"), lambda: False))
    for event in events[:-1]:
        exchange.apply(event)
    grown = {name: (answer.ids, answer.text, answer.end, answer.scores) for name, answer in exchange.answers.items()}
    exchange.apply(events[-1])
    whole = {name: (answer.ids, answer.text, answer.end, answer.scores) for name, answer in exchange.answers.items()}
    assert grown == whole
    assert source.prompts == []


async def test_text_is_dim_until_it_is_scored_and_the_view_follows(tmp_path: Path) -> None:
    comparer = make_comparer(words=400, gated=True)
    comparer.chunk = 200
    async with piloted(live_source(tmp_path / "run", comparer, ["one"]), (80, 24)) as (app, pilot):
        pane = app.compare.author_pane
        await until(pilot, lambda: pane.answer is not None and pane.answer.length == 200)
        await until(pilot, lambda: pane.scroll_offset.y > 0)
        assert pane.place.follow
        assert comparer.gate is not None
        await pilot.press("g")
        assert pane.scroll_offset.y == 0
        comparer.gate.set()
        await until(pilot, lambda: pane.answer is not None and pane.answer.length > 200)
        assert pane.scroll_offset.y == 0
        assert pane.place.cursor == 0


async def test_space_stops_and_keeps_what_is_there(tmp_path: Path) -> None:
    comparer = make_comparer(gated=True)
    source = live_source(tmp_path / "run", comparer, ["one"])
    async with piloted(source) as (app, pilot):
        await until(pilot, lambda: live(app).running == 0 and "space stop" in screen_text(app))
        await pilot.press("space")
        await until(pilot, lambda: app.session.items[0].status == "cancelled")
        assert "stopped" in screen_text(app)
        assert "space stop" not in screen_text(app)
    trace = Recording.open(source.folder).trace("q1")
    assert {response.finish for response in trace.responses} == {"cancelled"}
    assert sum(len(response.ids) for response in trace.responses) >= 32


async def test_prompts_are_written_while_models_load_and_while_one_runs(tmp_path: Path) -> None:
    comparer, loading = make_comparer(gated=True), threading.Event()
    async with piloted(live_source(tmp_path / "run", comparer, loading=loading)) as (app, pilot):
        await until(pilot, lambda: "Loading: reading base" in screen_text(app))
        assert "30 %" in screen_text(app)
        await pilot.press(*"first", "ctrl+j", *"line", "enter")
        assert app.session.items[0].prompt == "first\nline"
        loading.set()
        await until(pilot, lambda: live(app).running == 0)
        await pilot.press("p", *"second", "enter")
        assert [item.status for item in app.session.items] == ["running", "waiting"]
        assert comparer.gate is not None
        comparer.gate.set()
        await until(pilot, lambda: [item.status for item in app.session.items] == ["done", "done"])
    assert comparer.asked == ["1", "2"]


async def test_a_paste_of_several_lines_is_kept_and_made_safe(tmp_path: Path) -> None:
    from textual import events

    async with piloted(live_source(tmp_path / "run", make_comparer())) as (app, pilot):
        box = app.compare.query_one(PromptBox)
        box.post_message(events.Paste("a\r\nb\rc\n\x1b[31mred\tend"))
        await pilot.pause()
        assert box.text == "a\nb\nc\n␛[31mred\tend"
        await pilot.press("escape")
        assert not box.display
        await pilot.press("p")
        assert box.text.startswith("a\nb")
        await pilot.press("enter")
        await until(pilot, lambda: app.session.items[0].status == "done")
        assert "\x1b" not in screen_text(app)


async def test_r_runs_again_under_a_new_id(tmp_path: Path) -> None:
    comparer = make_comparer()
    source = live_source(tmp_path / "run", comparer, ["one"])
    async with piloted(source) as (app, pilot):
        await until(pilot, lambda: app.session.items[0].status == "done")
        await pilot.press("r")
        await until(pilot, lambda: [item.status for item in app.session.items] == ["done", "done"])
        assert app.compare.index == 1
    assert len(set(comparer.asked)) == 2


async def test_a_failing_load_says_cause_and_remedy(tmp_path: Path) -> None:
    error = WeightsError("The folder ./x holds no weights.", "Give a folder with safetensors.")
    async with piloted(live_source(tmp_path / "run", make_comparer(), error=error)) as (app, pilot):
        await until(pilot, lambda: "The models could not be loaded." in screen_text(app))
        text = screen_text(app)
        assert error.cause in text
        assert error.remedy in text
    assert live(app).failure is error
    assert not (tmp_path / "run").exists()


async def test_a_failing_prompt_is_named_and_the_next_one_runs(tmp_path: Path) -> None:
    comparer = make_comparer()
    comparer.fail_on["q1"] = WindowError("The context is too long.", "Shorten the prompt.")
    async with piloted(live_source(tmp_path / "run", comparer, ["one", "two"])) as (app, pilot):
        await until(pilot, lambda: [item.status for item in app.session.items] == ["failed", "done"])
        app.compare.show_prompt(0)
        await pilot.pause()
        assert "The context is too long." in screen_text(app)


async def test_a_full_disk_is_said_and_the_trace_stays_and_can_be_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True
    append = Recorder.append

    def refuse(recorder: Recorder, trace: Trace, prompt: Prompt) -> None:
        if full:
            raise RunError("No space is left for the run.", "Make room.")
        append(recorder, trace, prompt)

    monkeypatch.setattr(Recorder, "append", refuse)
    source = live_source(tmp_path / "run", make_comparer(), ["one"])
    async with piloted(source, (120, 40)) as (app, pilot):
        await until(pilot, lambda: app.session.items[0].status == "done")
        await until(pilot, lambda: "No space is left" in screen_text(app))
        assert [trace.prompt_id for trace in live(app).unsaved] == ["q1"]
        await pilot.press("e")
        await until(pilot, lambda: any(tmp_path.glob("itx-*.md")))
        full = False
    assert live(app).unsaved == []
    kept = Recording.open(source.folder).trace("q1")
    assert (kept.prompt, kept.asked) == ("one", fingerprint_prompt(source.prompts[0]))


async def test_leaving_while_a_prompt_runs_records_what_is_there(tmp_path: Path) -> None:
    source = live_source(tmp_path / "run", make_comparer(gated=True), ["one"])
    async with piloted(source) as (app, pilot):
        await until(pilot, lambda: live(app).running == 0)
        await pilot.press("ctrl+c", "ctrl+c")
        assert app.leaving
    trace = Recording.open(source.folder).trace("q1")
    assert [response.finish for response in trace.responses][-1] == "cancelled"


async def test_a_folder_that_has_a_run_is_gone_on_with(tmp_path: Path) -> None:
    source = live_source(tmp_path / "run", make_comparer(), ["one"])
    async with piloted(source) as (app, pilot):
        await until(pilot, lambda: app.session.items[0].status == "done")
    comparer = make_comparer()
    source = live_source(tmp_path / "run", comparer, ["one", "two"])
    async with piloted(source) as (app, pilot):
        await until(pilot, lambda: [item.status for item in app.session.items] == ["done", "done"])
    assert comparer.asked == ["q2"]


async def test_an_id_that_stands_for_another_prompt_now_is_refused(tmp_path: Path) -> None:
    source = live_source(tmp_path / "run", make_comparer(), ["one"])
    async with piloted(source) as (app, pilot):
        await until(pilot, lambda: app.session.items[0].status == "done")
    changed = live_source(tmp_path / "run", make_comparer(), ["two"])
    async with piloted(changed) as (app, pilot):
        await until(pilot, lambda: live(app).failure is not None)
        assert "another text under the id 'q1'" in str(live(app).failure)
    Recorder.begin(source.folder, build_run(("lora",)), source.prompts).close()


async def test_keys_work_at_200_tokens_a_second(tmp_path: Path) -> None:
    """How quickly is for the bench to say (keys)."""
    comparer = make_comparer(words=500, pause=0.005)
    async with piloted(live_source(tmp_path / "run", comparer, ["one"])) as (app, pilot):
        pane = app.compare.author_pane
        await until(pilot, lambda: pane.answer is not None and pane.answer.length > 50)
        await pilot.press("g")
        for _ in range(10):
            await pilot.press("l")
        assert pane.answer is not None
        assert pane.answer.finish is None
        assert pane.place.cursor == 10
        await pilot.press("space")
