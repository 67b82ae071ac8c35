"""What the tests of the screen share: a clean environment, recorded runs, an app under a pilot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from textual.pilot import Pilot

from itx.runs.recording import Recording
from itx.tui.app import CompareApp
from itx.tui.live import Live, LiveSession
from itx.tui.session import RecordedSession
from tests.support.traces import build_run, build_traces, write_run

Source = Recording | Live
DEADLINE = 20.0


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Recording]:
    """Return a maker of recorded runs."""

    def make(tuned: tuple[str, ...] = ("full",), count: int = 8, words: int = 0) -> Recording:
        run = build_run(tuned)
        folder = tmp_path / f"run-{'-'.join(tuned)}-{count}-{words}"
        return Recording.open(write_run(folder, run, build_traces(run, count, words=words)))

    return make


def open_app(source: Source) -> CompareApp:
    """Return the app of a source, as ``run_app`` makes it."""
    return CompareApp(LiveSession(source) if isinstance(source, Live) else RecordedSession(source))


@asynccontextmanager
async def piloted(source: Source, size: tuple[int, int] = (120, 40)) -> AsyncIterator[tuple[CompareApp, Pilot[int]]]:
    """Run the app without a terminal; end its worker afterwards."""
    app = open_app(source)
    try:
        async with app.run_test(size=size, notifications=True) as pilot:
            await pilot.pause()
            yield app, pilot
    finally:
        if isinstance(app.session, LiveSession):
            app.session.close()
    if app.failure is not None:
        raise app.failure


async def until(pilot: Pilot[int], condition: Callable[[], bool], what: str = "") -> None:
    """Wait until ``condition`` holds; fail after a deadline."""
    deadline = monotonic() + DEADLINE
    while not condition():
        assert monotonic() < deadline, f"not reached: {what or condition}"
        await pilot.pause(0.02)
    await pilot.pause()


def screen_text(app: CompareApp) -> str:
    """Return the characters on the screen, line by line."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    assert len(lines) == height
    assert all(strip.cell_length == width for strip in lines)
    return "\n".join(strip.text for strip in lines)
