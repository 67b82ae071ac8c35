"""The library: runs and prompts with their figures, sorted and filtered; opening one and coming back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from itx.report.catalogue import count, read_catalogue
from itx.runs.recording import Recording
from itx.tui.app import CompareApp
from itx.tui.librarian import Root
from itx.tui.page_actions import LIBRARY
from itx.tui.screens.compare import CompareScreen
from itx.tui.screens.library import LibraryScreen
from itx.tui.screens.reading import ReadingScreen
from itx.tui.screens.report import ReportScreen
from itx.tui.shelf import PROMPT_COLUMNS, RUN_COLUMNS, Column, arrange, fit_columns
from tests.support.traces import build_run, build_traces, write_run
from tests.tui.conftest import piloted, screen_text, until
from tests.tui.test_terminal import COLOUR, on_terminal

SIZES = [(120, 40), (80, 24), (100, 30), (99, 36), (40, 10), (200, 60), (20, 6)]


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_shelf(folder: Path) -> Path:
    """Write three runs: of two tuned models, of one, and a broken one."""
    for number, tuned in enumerate([("lora", "full"), ("full",)]):
        run = build_run(tuned, created=f"2026-11-2{number}T10:00:00Z")
        write_run(folder / "-".join(tuned), run, build_traces(run, 10 + number, seed=number))
    broken = folder / "broken"
    broken.mkdir()
    (broken / "run.json").write_text('{"schema": 99}')
    return folder


@asynccontextmanager
async def library(
    folder: Path, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[CompareApp, LibraryScreen, Pilot[int]]]:
    app = CompareApp(None, folders=[Root(folder)])
    async with app.run_test(size=size, notifications=True) as pilot:
        screen = app.screen
        assert isinstance(screen, LibraryScreen)
        await until(pilot, lambda: screen.listed and not screen.librarian.waiting and not screen.librarian.notes)
        yield app, screen, pilot
    for desk in app.desks:
        desk.close()
    if app.failure is not None:
        raise app.failure


def names(screen: LibraryScreen) -> list[str]:
    return [row.name for row in screen.runs.rows]


async def test_every_size_shows_the_runs_and_keeps_help_and_quit(tmp_path: Path) -> None:
    async with library(write_shelf(tmp_path / "runs")) as (app, screen, pilot):
        for size in SIZES:
            await pilot.resize_terminal(*size)
            text = screen_text(app)
            assert re.search(r"\? help  q quit|\? q", text.splitlines()[-1]), size
            if size[1] > 20:
                for wanted in ("lora-full", "broken", "prompts", "Tell me about"):
                    assert wanted in text, size
            for key in ("tab", "l", "G", "space"):
                await pilot.press(key)
            assert screen.focused is screen.prompts
            screen_text(app)
            await pilot.press("h", "g", "tab")
            assert screen.focused is screen.runs


async def test_its_figures_are_those_of_the_runs(tmp_path: Path) -> None:
    folder = write_shelf(tmp_path / "runs")
    async with library(folder) as (app, screen, _):
        assert sorted(names(screen)) == ["broken", "full", "lora-full"]
        for row in screen.runs.rows:
            if row.name == "broken":
                assert "schema 99" in row.shelved.problem
                continue
            assert row.shelved.run is not None
            assert row.shelved.figures == count(row.shelved.folder, row.shelved.run)
        text = screen_text(app)
        tally = next(row.tally for row in screen.runs.rows if row.name == "full")
        assert tally is not None
        assert tally.shifted_share is not None
        line = next(line for line in text.splitlines() if " full " in line and "2026-11-21" in line)
        assert f"{100 * tally.shifted_share:.1f} %" in line
        assert not any((folder / "full").glob("*.new"))


@pytest.mark.parametrize("table", ["runs", "of-run"])
async def test_every_figure_sorts_both_ways(tmp_path: Path, table: str) -> None:
    async with library(write_shelf(tmp_path / "runs")) as (app, screen, pilot):
        while screen.row is None or screen.row.name != "lora-full":
            await pilot.press("j")
        if table == "of-run":
            await pilot.press("tab")
        shown = screen.table
        columns = RUN_COLUMNS if table == "runs" else PROMPT_COLUMNS
        for _ in columns:
            await pilot.press("l")
            column = columns[shown.sorting]
            for reverse in (False, True):
                assert shown.reverse == reverse
                values = [column.value(row) for row in shown.rows]
                known = [value for value in values if value is not None]
                assert values == known + [None] * (len(values) - len(known)), column.name
                assert known == sorted(known, reverse=column.down != reverse), column.name
                head = next(line for line in screen_text(app).splitlines() if re.search("[▲▼]", line))
                assert re.search(f"[▲▼]{column.name}|{column.name} [▲▼]", screen_text(app)), (column.name, head)
                await pilot.press("r")
        assert screen.row is not None
        assert screen.row.name == "lora-full"


async def test_the_tuned_model_that_is_counted_can_be_chosen(tmp_path: Path) -> None:
    async with library(write_shelf(tmp_path / "runs")) as (app, screen, pilot):
        while screen.row is None or screen.row.name != "lora-full":
            await pilot.press("j")
        assert "all tuned models" in screen_text(app)
        await pilot.press("]")
        assert screen.model == "lora"
        for row in screen.prompts.rows:
            assert row.tally.positions == getattr(row.figures.models.get("lora"), "positions", 0)
        await pilot.press("[", "[")
        assert screen.model == "full"
        while screen.row is None or screen.row.name == "lora-full":
            await pilot.press("j" if screen.runs.chosen < 2 else "g")
        assert "all tuned models" not in screen_text(app)


async def test_typing_filters_runs_and_prompts_and_escape_leaves_the_filter(tmp_path: Path) -> None:
    async with library(write_shelf(tmp_path / "runs")) as (app, screen, pilot):
        await pilot.press("slash", *"LORA")
        assert names(screen) == ["lora-full"]
        await pilot.press("enter", "tab", "slash", *"q", "escape")
        assert isinstance(app.screen, LibraryScreen)
        assert screen.focused is screen.prompts
        every = len(screen.prompts.rows)
        await pilot.press("slash", *"measles", "enter")
        assert 0 < len(screen.prompts.rows) < every
        assert all("measles" in row.figures.prompt for row in screen.prompts.rows)
        await pilot.press("escape")
        assert len(screen.prompts.rows) == every
        await pilot.press("escape")
        assert screen.focused is screen.runs
        await pilot.press("escape")
        assert len(names(screen)) == 3
        await pilot.press("slash", *"xyzzy", "enter")
        assert "No run has these words." in screen_text(app)


async def test_enter_opens_the_run_at_the_prompt_and_escape_returns_to_it(tmp_path: Path) -> None:
    async with library(write_shelf(tmp_path / "runs")) as (app, screen, pilot):
        while screen.row is None or screen.row.name != "lora-full":
            await pilot.press("j")
        await pilot.press("tab", "j", "j", "j", "j", "enter")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and app.compare.prompt_id is not None)
        prompt = screen.prompts.row
        assert prompt is not None
        assert app.compare.prompt_id == prompt.figures.prompt_id == "5"
        await pilot.press("tab", "escape")
        assert isinstance(app.screen, CompareScreen)
        await pilot.press("escape")
        assert app.screen is screen
        assert app.desks == []
        assert screen.prompts.row is not None
        assert screen.prompts.row.figures.prompt_id == "5"
        await pilot.press("enter", "L")
        assert app.screen is screen
        assert app.desks == []


async def test_a_broken_run_is_said_and_cannot_be_opened(tmp_path: Path) -> None:
    async with library(write_shelf(tmp_path / "runs")) as (app, screen, pilot):
        while screen.row is None or screen.row.name != "broken":
            await pilot.press("j")
        assert "schema 99" in screen_text(app)
        await pilot.press("enter", "R")
        assert app.screen is screen
        assert app.desks == []


async def test_from_a_run_to_the_library_another_run_and_back(tmp_path: Path) -> None:
    folder = write_shelf(tmp_path / "runs")
    async with piloted(Recording.open(folder / "lora-full")) as (app, pilot):
        first = app.compare
        await pilot.press("J", "L")
        screen = app.screen
        assert isinstance(screen, LibraryScreen)
        await until(pilot, lambda: len(screen.runs.rows) == 3 and not screen.librarian.waiting)
        assert screen.row is not None
        assert screen.row.name == "lora-full"
        assert screen.prompts.row is not None
        assert screen.prompts.row.figures.prompt_id == "2"
        await pilot.press("enter")
        assert app.screen is first  # the run that is open already
        await pilot.press("L")
        screen = app.screen
        assert isinstance(screen, LibraryScreen)
        await until(pilot, lambda: len(screen.runs.rows) == 3 and not screen.librarian.waiting)
        while screen.row is None or screen.row.name != "full":
            await pilot.press("j" if screen.runs.chosen < 2 else "g")
        await pilot.press("enter")
        assert isinstance(app.screen, CompareScreen)
        assert app.compare is not first
        await pilot.press("escape", "escape")
        assert app.compare is first
        assert app.screen is first
        await pilot.press("escape")
        assert app.screen is first  # there is nowhere to go back to


async def test_the_report_of_the_marked_run_goes_back_to_the_library(tmp_path: Path) -> None:
    async with library(write_shelf(tmp_path / "runs")) as (app, screen, pilot):
        while screen.row is None or screen.row.name != "full":
            await pilot.press("j")
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, ReportScreen) and app.screen.study is not None)
        await pilot.press("escape")
        assert app.screen is screen
        assert app.desks == []


async def test_help_explains_every_key(tmp_path: Path) -> None:
    async with library(write_shelf(tmp_path / "runs"), (104, 60)) as (app, _, pilot):
        await pilot.press("?")
        assert isinstance(app.screen, ReadingScreen)
        text = " ".join(screen_text(app).replace("│", " ").split())
        for action in LIBRARY:
            assert action.description in text, action.name
        assert len({key for action in LIBRARY for key in action.keys}) == sum(len(action.keys) for action in LIBRARY)


async def test_a_run_that_grows_is_counted_again(tmp_path: Path) -> None:
    folder = write_shelf(tmp_path / "runs")
    async with library(folder) as (_, screen, pilot):
        traces = folder / "full" / "traces.jsonl"
        line = traces.read_bytes().splitlines(keepends=True)[0]
        with traces.open("ab") as file:
            file.write(line.replace(b'"prompt_id":"1"', b'"prompt_id":"new"'))
        await pilot.press("u")

        def grown() -> bool:
            row = next(row for row in screen.runs.rows if row.name == "full")
            return row.shelved.figures is not None and len(row.shelved.figures.prompts) == 12

        await until(pilot, grown)


async def test_hostile_names_and_prompts_are_made_safe(tmp_path: Path) -> None:
    run = build_run()
    traces = [msgspec.structs.replace(trace, prompt="\x1b[31mred\x07\u202e") for trace in build_traces(run, 2)]
    write_run(tmp_path / "runs" / "evil\x1b[2J", run, traces)
    async with library(tmp_path / "runs") as (app, _, _):
        text = screen_text(app)
        assert "␛[31mred" in text
        assert "evil␛[2J" in text
        assert "\x1b" not in text


async def test_no_runs_say_how_to_make_one(tmp_path: Path) -> None:
    async with library(tmp_path) as (app, _, pilot):
        assert "itx demo" in screen_text(app)
        for key in ("enter", "R", "tab", "j", "G", "l", "]", "escape"):
            await pilot.press(key)
        assert isinstance(app.screen, LibraryScreen)


async def test_a_hundred_runs_that_were_counted_before_list_at_once(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 8)
    for number in range(100):
        folder = write_run(tmp_path / "runs" / f"run-{number}", run, traces)
        read_catalogue(folder, run)
    started = monotonic()
    async with library(tmp_path / "runs") as (app, screen, _):
        assert monotonic() - started < 3  # far more than it takes: a machine may be busy
        assert len(screen.runs.rows) == 100
        assert "100 runs" in screen_text(app)


@given(st.lists(st.one_of(st.none(), st.integers(-5, 5))), st.booleans(), st.booleans())
def test_what_has_no_figure_comes_last_and_equal_ones_stay(values: list[int | None], down: bool, reverse: bool) -> None:
    rows = list(enumerate(values))
    column: Column[tuple[int, int | None]] = Column("x", 1, lambda row: row[1], str, 0, down=down)
    found = arrange(rows, column, reverse=reverse)
    assert sorted(found) == rows
    sign = -1 if down != reverse else 1
    assert found == sorted(rows, key=lambda row: (row[1] is None, sign * (row[1] or 0), row[0]))


@given(st.integers(0, 300), st.integers(0, len(RUN_COLUMNS) - 1))
def test_columns_fit_and_the_sorting_one_stays(width: int, sorting: int) -> None:
    found = fit_columns(RUN_COLUMNS, sorting, width)
    assert sorting in [index for index, _ in found]
    total = sum(cells for _, cells in found) + 2 * (len(found) - 1)
    least = sum(RUN_COLUMNS[index].width for index in {0, sorting}) + 2 * (len({0, sorting}) - 1)
    assert total <= max(width, least)
    if width >= 120:
        assert len(found) == len(RUN_COLUMNS)


def test_on_a_terminal_it_draws_resizes_and_leaves(tmp_path: Path) -> None:
    folder = write_shelf(tmp_path / "runs")
    with on_terminal(tmp_path, "library", str(folder), size=(120, 40)) as terminal:
        terminal.read_until(b"lora-full")
        terminal.read_until(b"largest rise")
        terminal.resize(70, 20)
        terminal.read_until(b"of 3 runs", fresh=True)
        terminal.resize(130, 50)
        terminal.read_until(b"marks", fresh=True)
        terminal.press(b"\tG\r")
        terminal.read_until(b"unshifted")
        terminal.press(b"L")
        terminal.press(b"q")
        assert terminal.wait() == 0


def test_without_colour_it_emits_none(tmp_path: Path) -> None:
    folder = write_shelf(tmp_path / "runs")
    with on_terminal(tmp_path, "library", str(folder), NO_COLOR="1") as terminal:
        terminal.read_until(b"largest rise")
        terminal.press(b"lr\tl?")
        terminal.read_until(b"Escape back")
        terminal.press(b"qq")
        terminal.wait()
        assert not COLOUR.findall(terminal.written)
        assert b"\x1b[1" in terminal.written
