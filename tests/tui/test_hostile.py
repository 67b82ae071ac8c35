"""Text from strangers: no control character of it is drawn, wherever it comes from."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import msgspec
import pytest

from itx.errors import WeightsError
from itx.records import ContextPolicy, DataReference, Trace
from itx.runs.recording import Recording
from itx.tui.app import CompareApp
from tests.support.traces import build_run, build_trace, write_run
from tests.tui.conftest import piloted, screen_text, until
from tests.tui.fakes import FakeComparer, live_source
from tests.tui.test_terminal import on_terminal

EVIL = "\x1b[31mred\x1b]0;title\x07\x9b2J\x08\x7f\r\u202eabc\u2066\ud7ff"
CONTROL = {"Cc", "Cs"}
HIDDEN = {"\u202e", "\u2066", "\u200b", "\u200e"}


def hostile_run(folder: Path) -> Recording:
    run = build_run(("full",), data=DataReference(reference=EVIL, fingerprint=EVIL, rows=3), warnings=[EVIL])
    evil = [msgspec.structs.replace(model, reference=EVIL) for model in run.models]
    policy = ContextPolicy(policy="same", template_source=EVIL)
    run = msgspec.structs.replace(run, models=evil, context=policy, command=[EVIL])
    trace = build_trace("1", f"Ask {EVIL}", {"base": f"Base {EVIL}", "full": f"Full {EVIL} end"}, reference=EVIL)
    pieces = dict.fromkeys(trace.pieces, EVIL)
    contexts = {name: msgspec.structs.replace(context, text=EVIL) for name, context in trace.contexts.items()}
    trace = msgspec.structs.replace(trace, pieces=pieces, contexts=contexts)
    failed = Trace(prompt_id=EVIL, prompt=EVIL, error=f"Broken {EVIL}\n{EVIL}")
    return Recording.open(write_run(folder, run, [trace, failed]))


def assert_clean(app: CompareApp) -> None:
    for character in screen_text(app).replace("\n", ""):
        assert unicodedata.category(character) not in CONTROL, repr(character)
        assert character not in HIDDEN


async def test_no_control_character_is_drawn_anywhere(tmp_path: Path) -> None:
    recording = hostile_run(tmp_path / "run")
    for size in ((120, 40), (80, 24)):
        async with piloted(recording, size) as (app, pilot):
            await until(pilot, lambda app=app: len(app.session.items) == 2)  # type: ignore[misc]
            for keys in (["n", "l"], ["v"], ["c"], ["escape", "?"], ["escape", ":"], ["escape", "o"]):
                await pilot.press(*keys)
                await pilot.pause()
                assert_clean(app)
            await pilot.press("escape")
            for key in ("e", "y", "J"):
                await pilot.press(key)
                await pilot.pause()
                assert_clean(app)
            assert "Broken ␛[31mred" in screen_text(app)


async def test_errors_and_loading_steps_are_made_safe(tmp_path: Path) -> None:
    comparer = FakeComparer(build_run(("lora",)), [])
    error = WeightsError(EVIL, EVIL)
    async with piloted(live_source(tmp_path / "run", comparer, error=error)) as (app, pilot):
        await until(pilot, lambda: "could not be loaded" in screen_text(app))
        assert "␛[31mred" in screen_text(app)
        assert_clean(app)


@pytest.mark.parametrize("size", [(100, 30), (60, 16)])
def test_nothing_of_it_reaches_a_real_terminal(tmp_path: Path, size: tuple[int, int]) -> None:
    hostile_run(tmp_path / "run")
    with on_terminal(tmp_path, "open", str(tmp_path / "run"), size=size) as terminal:
        terminal.read_until("␛[31mred".encode())
        terminal.press(b"nvlc")
        terminal.read_until(b"Every model")
        terminal.press(b"qq")
        assert terminal.wait() == 0
        assert b"\x1b[31mred" not in terminal.written
        assert b"\x1b]0;" not in terminal.written
        assert b"\x9b2J" not in terminal.written.replace("\x9b".encode(), b"")
        # What is sent is the screen's own: moves, styles, modes, device queries.
        rest = re.sub(rb"\x1b\[[\d;?>=<]*[A-Za-z$]*|\x1b\[\?[\d;]*\$p|\x1b\]22;\w+\x07", b"", terminal.written)
        assert b"\x1b" not in rest
