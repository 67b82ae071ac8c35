"""The box a prompt is written in: keys are text while it is open, and it is not left unseen."""

from __future__ import annotations

import threading
from pathlib import Path

from itx.errors import WeightsError
from itx.tui.app import CompareApp
from tests.support.traces import build_run, build_traces
from tests.tui.conftest import piloted, screen_text, until
from tests.tui.fakes import FakeComparer, live_source


def make_comparer() -> FakeComparer:
    run = build_run(("lora",))
    return FakeComparer(run, build_traces(run, 1, words=40))


def footer(app: CompareApp) -> str:
    return screen_text(app).splitlines()[-1]


async def test_tab_writes_and_the_footer_offers_only_what_works(tmp_path: Path) -> None:
    async with piloted(live_source(tmp_path / "run", make_comparer()), (80, 24)) as (app, pilot):
        box = app.compare.box
        await pilot.press("a", "tab", "q", "?")
        assert box.text.split() == ["a", "q?"]
        assert box.has_focus
        assert footer(app).split() == [
            "Enter",
            "send",
            "ctrl+j",
            "new",
            "line",
            "Escape",
            "back",
            "ctrl+c",
            "stop,",
            "or",
            "quit",
        ]
        await pilot.press("escape")
        assert not box.display
        assert app.focused is app.compare.author_pane
        assert "? help  q quit" in footer(app)
        await pilot.press("p", "q")
        assert box.text.endswith("q?q")


async def test_the_box_closes_when_something_else_gets_the_focus_but_not_with_the_terminal(tmp_path: Path) -> None:
    async with piloted(live_source(tmp_path / "run", make_comparer())) as (app, pilot):
        box = app.compare.box
        await pilot.press(*"kept")
        app.app_focus = False
        await pilot.pause()
        app.app_focus = True
        await pilot.pause()
        assert box.display
        assert box.has_focus
        await pilot.press("shift+tab")
        await pilot.pause()
        assert not box.display
        assert app.focused is not None
        assert app.focused is not box
        await pilot.press("p")
        assert box.text == "kept"
        await pilot.click("#prompts")
        await pilot.pause()
        assert not box.display
        assert app.focused is app.compare.prompt_list


async def test_lower_panels_make_room_while_a_prompt_is_written(tmp_path: Path) -> None:
    comparer = make_comparer()
    for size, shown in (((80, 24), False), ((120, 29), False), ((120, 40), True)):
        async with piloted(live_source(tmp_path / f"{size[1]}", comparer, ["one"]), size) as (app, pilot):
            await until(pilot, lambda: app.session.items[0].status == "done")
            app.compare.focus_panel(app.compare.token)
            await pilot.press("p", "a")
            await pilot.pause()
            assert bool(app.compare.token.region) == shown
            assert app.compare.box.text == "a"
            await pilot.press("escape")
            await pilot.pause()
            assert app.compare.token.region


async def test_a_failing_load_closes_the_box_and_nothing_is_sent(tmp_path: Path) -> None:
    error = WeightsError("The folder ./x holds no weights.", "Give a folder with safetensors.")
    loading = threading.Event()
    source = live_source(tmp_path / "run", make_comparer(), loading=loading, error=error)
    async with piloted(source) as (app, pilot):
        box = app.compare.box
        await pilot.press(*"wh")
        loading.set()
        await until(pilot, lambda: "The models could not be loaded." in screen_text(app))
        assert not box.display
        await pilot.press("p")
        assert not box.display
        box.post_message(box.Sent("why"))
        await pilot.pause()
        assert not app.session.items
        assert box.text == "why"
