"""Where words come from, on the screen of a recorded run without its data: brackets, rows, marks, search, sorting."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from itx.errors import RunError
from itx.records import Borrowing, Example, Mark, Neighbour, Span
from itx.runs.borrowings import fingerprint_response
from itx.runs.marks import MarkBook
from itx.runs.recording import Recording
from itx.runs.verifications import Arm, Verification, append_verification
from itx.tui.actions import ACTIONS
from itx.tui.app import CompareApp
from itx.tui.carried import CarriedRows
from itx.tui.screens.marking import MarkingScreen
from itx.tui.screens.rows import RowsScreen
from itx.tui.spans import draw_spans
from tests.support.traces import build_run, build_traces, write_run
from tests.tui.borrowings import (
    BASE,
    FULL,
    LIKE,
    ROWS,
    locate,
    make_borrowing,
    make_traces,
    record_borrowings,
    write_borrowings,
)
from tests.tui.conftest import DEADLINE, piloted, screen_text, until
from tests.tui.test_hostile import EVIL, assert_clean

SIZES = [(120, 40), (80, 24), (100, 24), (200, 50)]
Record = Callable[..., Recording]
ARM: dict[str, Any] = {"response_logp": -9.0, "text": "so", "says": True, "last_loss": 0.1, "seconds": 1.0}


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return record_borrowings(tmp_path / "run", make_traces(6))


def flat(text: str) -> str:
    """Return the words of a screen in reading order, frames left out."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("size", SIZES)
async def test_borrowed_spans_stand_in_numbered_brackets_and_others_do_not(
    recording: Recording, size: tuple[int, int]
) -> None:
    async with piloted(recording, size) as (app, pilot):
        pane = app.compare.author_pane
        drawn = "".join(cell.text for line in pane._wrapping.lines for cell in line)
        assert drawn.startswith("Sure! Carry a [1 water bottle and sip from it throughout the day]. The battle was [2 ")
        assert drawn.replace("[1 ", "").replace("[2 ", "").replace("]", "") == FULL + "<end>"
        assert "[1 water" in screen_text(app)
        await pilot.press("a")
        await pilot.pause()
        assert "[3 small" in screen_text(app)
        await pilot.press("a")
        await pilot.pause()
        assert "[3" not in screen_text(app)


async def test_every_key_of_the_registry_works_where_there_is_data(recording: Recording) -> None:
    keys = [key for action in ACTIONS if action.name not in ("quit", "interrupt") for key in action.keys]
    async with piloted(recording, (120, 40)) as (app, pilot):
        assert "b/B borrowed" in screen_text(app).splitlines()[-1]
        for size in ((120, 40), (80, 24), (40, 10)):
            await pilot.resize_terminal(*size)
            for key in keys:
                await pilot.press(key)
                while len(app.screen_stack) > 1:
                    await pilot.press("escape")
            screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_b_goes_through_the_borrowed_spans_and_back(recording: Recording, size: tuple[int, int]) -> None:
    response = recording.trace("1").response("full")
    assert response is not None
    starts = [locate(response, phrase)[0] for phrase in ("water bottle", "fought near")]
    async with piloted(recording, size) as (app, pilot):
        pane = app.compare.author_pane
        await pilot.press("g")
        seen = []
        for key in ("b", "b", "b", "l", "B", "B", "B"):
            await pilot.press(key)
            seen.append(pane.place.cursor)
        assert seen == [starts[0], starts[1], starts[1], starts[1] + 1, starts[1], starts[0], starts[0]]
        await pilot.press("J", "b")
        assert "Nothing in this response is borrowed." in flat(screen_text(app))


@pytest.mark.parametrize("size", [(120, 40), (80, 36)])
async def test_the_rows_panel_shows_the_row_of_the_span_with_its_match(
    recording: Recording, size: tuple[int, int]
) -> None:
    async with piloted(recording, size) as (app, pilot):
        await pilot.press("g", "b", "enter")
        await pilot.pause()
        assert app.focused is app.compare.rows
        text = flat(screen_text(app))
        assert "1: rows.jsonl#812 · 9 rows · 0.90" in text
        assert "borrowed, raised +5.2 nats" in text
        assert "Q Give me a tip for hydration." in text
        written = " ".join("".join(strip.text for strip in app.compare.rows._strips).split())
        assert "A Carry a [water bottle and sip from it throughout the day], and eat fruit" in written
        match = next(
            span for line in app.compare.rows.write_lines(60) for span in line.spans if span.style == app.palette.match
        )
        assert app.palette.match.reverse
        assert match.end > match.start
        await pilot.press("j")
        await pilot.pause()
        text = flat(screen_text(app))
        assert "1: more.jsonl#5 · 9 rows" in text
        assert "row 2 of 2" in text
        await pilot.press("k", "enter")
        await pilot.pause()
        assert app.focused is app.compare.author_pane


async def test_what_verify_found_of_a_span_stands_with_its_rows(recording: Recording) -> None:
    """Also where the check is made while the run is open; one of another response is none."""
    trace = recording.trace("1")
    response = trace.response("full")
    borrowing = recording.borrowing("1", "full")
    assert response is not None
    assert borrowing is not None
    span = borrowing.spans[0]
    length = span.end - span.start

    def make_check(first: float, made_for: str) -> Verification:
        rest = [-0.5] * (length - 1)
        controls = [Arm(logp=[nats, *rest], **ARM) for nats in (-1.0, -0.75, -0.5)]
        return Verification(
            time="2026-11-25T08:00:00Z", prompt_id="1", author="full", span=span.id, start=span.start, end=span.end,
            text=span.text, response=made_for, chosen="all", having=1, seed=0, recorded=[-0.5, *rest],
            unmasked=Arm(logp=[-0.5, *rest], **ARM), removed=Arm(logp=[first, *rest], **ARM), controls=controls,
        )  # fmt: skip

    async with piloted(recording, (120, 40)) as (app, pilot):
        await pilot.press("g", "b", "enter")
        await pilot.pause()
        assert "masking" not in flat(screen_text(app))
        append_verification(recording.folder, make_check(-12.75, "sha256:of another response"))
        await pilot.press("enter", "l", "enter")
        await pilot.pause()
        assert "masking" not in flat(screen_text(app))
        for first, said in (
            (-12.75, "caused by these rows: masking these rows took 12.25 nats from it, random rows at most 0.50"),
            (-1.25, "not shown to be caused: masking its rows took 0.75 nats from it, random rows at most 0.50"),
        ):
            append_verification(recording.folder, make_check(first, fingerprint_response(response)))
            await pilot.press("enter", "g", "b", "enter")
            await pilot.pause()
            assert said in flat("\n".join(strip.text for strip in app.compare.rows._strips))


async def test_boilerplate_paraphrases_and_neighbours_are_labelled(recording: Recording) -> None:
    response = recording.trace("1").response("full")
    assert response is not None
    async with piloted(recording, (120, 40)) as (app, pilot):
        pane = app.compare.author_pane
        for phrase, said in (
            ("small steps help", "3: more.jsonl#5 · 412 rows verbatim, not counted as borrowed boilerplate"),
            (LIKE, "like: rows.jsonl#90 · 0.71 paraphrase: near in meaning, no verbatim source"),
            ("Sure", "near 1: rows.jsonl#812 · 0.90 nearest the prompt"),
        ):
            pane.move_to(locate(response, phrase)[0])
            await pilot.pause()
            panel = app.compare.rows
            written = " ".join(" ".join(strip.text for strip in panel._strips).split())
            assert said in written, phrase
        assert "[the meadow became a swamp]" not in written
        pane.move_to(locate(response, LIKE)[0])
        await pilot.pause()
        written = " ".join(" ".join(strip.text for strip in app.compare.rows._strips).split())
        assert "[the meadow became a swamp]" in written


async def test_figures_name_the_borrowed_words_with_their_null_and_the_session(recording: Recording) -> None:
    async with piloted(recording, (260, 50)) as (app, pilot):
        await until(pilot, lambda: app.compare.figures.total is not None and app.compare.figures.total.words == 120)
        text = flat(screen_text(app))
        assert "borrowed 8 of 20 words (null 0.4, random rows), raised 8" in text
        # 8 + 0 + 4, twice, of six times 20; the control has 0.4 of 20 each time.
        assert "session 20.0 % of 120 words (null 2.0 %, random rows)" in text
        await pilot.resize_terminal(100, 30)
        await pilot.pause()
        assert "borrowed 8 (null 0.4)" in flat(screen_text(app))


@pytest.mark.parametrize("size", [(120, 40), (100, 30), (100, 24), (99, 36), (80, 24), (60, 20), (40, 20), (300, 60)])
async def test_no_line_of_the_lower_panels_is_cut(recording: Recording, size: tuple[int, int]) -> None:
    async with piloted(recording, size) as (app, pilot):
        await until(pilot, lambda: app.session.provenance.has_read and not app.session.provenance.is_reading)
        await pilot.press("g", "b")
        for _ in range(3):
            await pilot.press("tab")
            await pilot.pause()
            for panel in (app.compare.figures, app.compare.token, app.compare.rows):
                if panel.region:
                    wide = [
                        strip.text
                        for strip in panel._strips
                        if strip.text.rstrip() != strip.text[: panel.room].rstrip()
                    ]
                    assert not wide, (panel.id, panel.room)
        if size[0] >= 100:
            figures = "\n".join(strip.text for strip in app.compare.figures._strips)
            assert "(null 0.4" in figures
            assert "(null 2.0 %" in figures
        if size[0] >= 100 and size[1] >= 36:
            assert app.compare.token.max_scroll_y == 0, "all ten alternatives are seen"


async def test_without_tuning_data_nothing_of_it_is_offered(tmp_path: Path) -> None:
    run = build_run()
    recording = Recording.open(write_run(tmp_path / "run", run, build_traces(run, 2)))
    async with piloted(recording, (120, 40)) as (app, pilot):
        await pilot.press("s", "b", "m", "enter")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert not app.compare.rows.display
        assert "b/B borrowed" not in screen_text(app)
        await pilot.press("?")
        await pilot.pause()
        assert "borrowed span" not in screen_text(app)


async def test_lines_that_are_written_while_it_is_open_are_found(recording: Recording) -> None:
    path = recording.folder / "borrow.jsonl"
    lines = path.read_bytes()
    path.write_bytes(b"")
    async with piloted(recording, (120, 40)) as (app, pilot):
        assert "This response was not traced." in screen_text(app)
        path.write_bytes(lines)
        await pilot.press("J", "K")
        await pilot.pause()
        assert "[1 water" in screen_text(app)


async def test_a_response_that_was_not_traced_says_so(recording: Recording) -> None:
    (recording.folder / "borrow.jsonl").write_bytes(
        (recording.folder / "borrow.jsonl").read_bytes().splitlines(keepends=True)[0]
    )
    async with piloted(Recording.open(recording.folder), (120, 40)) as (app, _):
        assert "This response was not traced." in screen_text(app)
        assert "b/B borrowed" not in screen_text(app).splitlines()[-1]


# Marks


async def test_marks_are_written_at_once_and_seen_again(recording: Recording) -> None:
    async with piloted(recording, (120, 40)) as (app, pilot):
        await pilot.press("g", "m")
        assert len(app.screen_stack) == 1
        assert "No span of the tuning data is at the cursor" in flat(screen_text(app))
        await pilot.press("b", "m")
        assert isinstance(app.screen, MarkingScreen)
        await pilot.press(*"not so", "enter")
        await pilot.pause()
        assert "[1! water" in screen_text(app)
        marks = MarkBook(recording.folder).marks
        assert [(mark.verdict, mark.note, mark.row) for mark in marks] == [("hallucinated", "not so", None)]
        await pilot.press("enter", "m")
        await pilot.pause()
        assert "source of [1]: rows.jsonl#812" in screen_text(app)
        await pilot.press("down", "enter")
        await pilot.pause()
        assert "source rejected" in flat(screen_text(app))
    async with piloted(Recording.open(recording.folder), (80, 24)) as (app, pilot):
        await pilot.press("g", "b", "enter")
        await pilot.pause()
        text = flat(screen_text(app))
        assert "[1! water" in text
        assert "marked hallucinated: not so source rejected" in text
        await pilot.press("escape", "m", "down", "down", "enter")
        await pilot.pause()
        assert "[1 water" in screen_text(app)
    verdicts = [(mark.verdict, mark.row) for mark in MarkBook(recording.folder).marks]
    assert verdicts == [("rejected", "rows.jsonl#812")]


def said(app: CompareApp) -> list[str]:
    return [note.message for note in app._notifications]


async def test_what_m_says_where_there_is_nothing_to_mark_is_true(recording: Recording) -> None:
    async with piloted(recording, (120, 40)) as (app, pilot):
        await pilot.press("g", "m")
        assert said(app) == ["No span of the tuning data is at the cursor: b and B go to one."]
        await pilot.press("J", "m")
        assert app.compare.author_pane.drawn.stretches == ()
        assert said(app) == ["No span of the tuning data is at the cursor. Nothing in this response is borrowed."]
        assert len(app.screen_stack) == 1


async def test_a_marked_span_that_is_not_borrowed_is_drawn(recording: Recording) -> None:
    response = recording.trace("1").response("full")
    assert response is not None
    async with piloted(recording, (120, 40)) as (app, pilot):
        app.compare.author_pane.move_to(locate(response, "small steps")[0])
        await pilot.press("m", "down", "enter")
        await pilot.pause()
        assert "[3+ small" in screen_text(app)


async def test_a_mark_that_cannot_be_written_is_said_and_not_shown(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(book: MarkBook, mark: Mark) -> None:
        raise RunError("No space is left for the marks.", "Make room.")

    monkeypatch.setattr(MarkBook, "add", refuse)
    async with piloted(recording, (120, 40)) as (app, pilot):
        await pilot.press("g", "b", "m", "enter")
        await pilot.pause()
        assert "No space is left for the marks." in screen_text(app)
        assert "[1 water" in screen_text(app)


async def test_broken_marks_and_lines_are_said_and_the_run_still_opens(recording: Recording) -> None:
    (recording.folder / "marks.jsonl").write_text("{broken\n{broken\n")
    async with piloted(recording, (120, 40)) as (app, pilot):
        await until(pilot, lambda: "The marks could not be read" in screen_text(app))
        assert "[1 water" in screen_text(app)
    lines = (recording.folder / "borrow.jsonl").read_bytes().splitlines(keepends=True)
    (recording.folder / "marks.jsonl").unlink()
    first = msgspec.json.decode(lines[1])
    first["spans"][0]["end"] = 4000
    (recording.folder / "borrow.jsonl").write_bytes(
        b"".join([lines[0], msgspec.json.encode(first) + b"\n", *lines[2:]])
    )
    async with piloted(Recording.open(recording.folder), (120, 40)) as (app, pilot):
        await until(pilot, lambda: any("borrow.jsonl, line 2" in note.message for note in app._notifications))
        assert "Sure!" in screen_text(app)


# Rows


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_rows_that_the_run_carries_are_searched_by_words(recording: Recording, size: tuple[int, int]) -> None:
    async with piloted(recording, size) as (app, pilot):
        await until(pilot, lambda: app.session.provenance.has_read and not app.session.provenance.is_reading)
        await pilot.press("g", "s")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, RowsScreen)
        text = flat(screen_text(app))
        assert "The tuning data is not at hand" in text
        assert f"searches the {len(ROWS) + 1} rows" in text
        await pilot.press(*"meadow swamp", "enter")
        await pilot.pause()
        text = flat(screen_text(app))
        assert "1 of 1 row" in text
        assert "Because of the rain the meadow became a swamp" in text
        await pilot.press("slash", *"nothing", "tab", "enter")
        await pilot.pause()
        assert "No row has these words." in flat(screen_text(app))
        await pilot.press("escape")
        assert len(app.screen_stack) == 1
        await pilot.press("b", "s")
        await pilot.pause()
        assert isinstance(app.screen, RowsScreen)
        await until(pilot, lambda: "rows.jsonl#812" in screen_text(app))
        await pilot.press("j", "k", "G", "space", "escape")
        assert len(app.screen_stack) == 1


async def test_keys_go_on_while_carried_rows_are_searched(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = threading.Event(), threading.Event()
    search = CarriedRows.search

    def wait(rows: CarriedRows, text: str, limit: int) -> list[Neighbour]:
        begun.set()
        gate.wait(DEADLINE)
        return search(rows, text, limit)

    monkeypatch.setattr(CarriedRows, "search", wait)
    async with piloted(recording, (120, 40)) as (app, pilot):
        await until(pilot, lambda: app.session.provenance.has_read and not app.session.provenance.is_reading)
        await pilot.press("g", "s", *"meadow", "enter")
        await until(pilot, begun.is_set)
        assert "Searching." in flat(screen_text(app))
        await pilot.press(*" swamp")
        assert "meadow swamp" in flat(screen_text(app))
        gate.set()
        await until(pilot, lambda: "1 of 1 row" in flat(screen_text(app)))


def test_carried_rows_are_found_the_rarest_words_first_also_while_others_come() -> None:
    rows = CarriedRows()
    texts = {"a": "the red fox", "b": "the red hen", "c": "the barn", "d": "a longer barn owl"}
    for name, text in texts.items():
        near = [Neighbour(row=name, score=0.0, text=text)]
        rows.take(Borrowing(prompt_id=name, author="full", neighbours=near))
        assert [found.row for found in rows.search(text, 1)] == [name]
    assert [found.row for found in rows.search("Red, hen!", 9)] == ["b", "a"]
    assert rows.search("red hen", 9)[0].score == pytest.approx(1.0)
    longer = Neighbour(row="a", score=0.0, text="the red fox and the owl")
    rows.take(Borrowing(prompt_id="e", author="full", neighbours=[longer]))
    assert {found.row for found in rows.search("owl", 9)} == {"a", "d"}
    assert rows.search("nothing", 9) == []


# Prompts


async def test_prompts_are_sorted_by_borrowed_words_and_by_rise(recording: Recording) -> None:
    from itx.tui.survey import find_rise

    rises = {}
    for index in range(6):
        response = recording.trace(str(index + 1)).response("full")
        assert response is not None
        rise = find_rise(response, "base")
        own, other = response.logp, response.scores["base"].logp
        assert rise == max(own[place] - other[place] for place in range(response.length))
        rises[index] = rise
    async with piloted(recording, (120, 40)) as (app, pilot):
        await until(pilot, lambda: app.session.provenance.has_read and not app.session.provenance.is_reading)
        assert app.compare.order() == [0, 1, 2, 3, 4, 5]
        await pilot.press("O")
        await pilot.pause()
        assert app.compare.order() == [0, 3, 2, 5, 1, 4]
        assert "most borrowed words" in screen_text(app)
        await pilot.press("J", "J")
        assert app.compare.index == 2
        await pilot.press("o", "j")
        assert app.compare.index == 5
        await pilot.press("O")
        await pilot.pause()
        assert app.compare.order() == sorted(rises, key=lambda index: -rises[index])
        assert f"{max(rises.values()):+.1f}" in screen_text(app)
        await pilot.press("O")
        assert app.compare.order() == [0, 1, 2, 3, 4, 5]


async def test_rises_are_sorted_without_tuning_data_too(tmp_path: Path) -> None:
    run = build_run()
    recording = Recording.open(write_run(tmp_path / "run", run, build_traces(run, 5, words=30)))
    async with piloted(recording, (80, 24)) as (app, pilot):
        await pilot.press("O")
        assert app.compare.sorting == "rise"
        await until(pilot, lambda: app.session.provenance.has_read and not app.session.provenance.is_reading)
        values = app.compare.values()
        ordered = [values[index] for index in app.compare.order()]
        known = [float(value) for value in ordered if value]
        assert len(known) == 4
        assert known == sorted(known, reverse=True)
        assert ordered[-1] == "", "the empty response comes last"


# Text from strangers


def evil_borrowing() -> Borrowing:
    trace = make_traces(1)[0]
    response = trace.response("full")
    assert response is not None
    plain = make_borrowing("1", response)
    text = f"{EVIL} water {EVIL}\x1b[2J"
    spans = [
        msgspec.structs.replace(span, text=EVIL, examples=[Example(row=f"{EVIL}#1", text=text, start=0, end=len(EVIL))])
        for span in plain.spans
    ]
    neighbours = [Neighbour(row=f"{EVIL}#1", score=0.5, text=text, instruction=EVIL)]
    like = [msgspec.structs.replace(one, passage=EVIL, row=EVIL, text=EVIL) for one in plain.paraphrases]
    return msgspec.structs.replace(plain, spans=spans, neighbours=neighbours, paraphrases=like)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_no_control_character_of_a_row_is_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = write_run(tmp_path / "run", build_run(), make_traces(1))
    write_borrowings(folder, [evil_borrowing()])
    async with piloted(Recording.open(folder), size) as (app, pilot):
        response = make_traces(1)[0].response("full")
        assert response is not None
        for keys in (["g", "b", "enter"], ["escape", "b", "m"], ["escape", "tab", "tab", "m"], ["escape", "s"]):
            await pilot.press(*keys)
            await pilot.pause()
            assert_clean(app)
        await pilot.press(*"water", "enter")
        await pilot.pause()
        assert_clean(app)
        if size[0] >= 100:
            assert "␛[31m" in screen_text(app)
        await pilot.press("escape", "escape")
        for phrase in (LIKE, "Sure"):
            app.compare.author_pane.move_to(locate(response, phrase)[0])
            await pilot.pause()
            assert_clean(app)
        written = "".join(strip.text for strip in app.compare.rows._strips)
        assert not [sign for sign in written if unicodedata.category(sign) == "Cc"]


def test_base_is_bracketed_like_any_author() -> None:
    trace = make_traces(1)[0]
    base = trace.response("base")
    assert base is not None
    assert base.text == BASE
    start, end = locate(base, "cool and dark")
    span = Span(id=1, start=start, end=end, text="cool and dark", rows=1, borrowed=True)
    drawn = draw_spans(Borrowing(prompt_id="1", author="base", spans=[span]), lambda _: "fine")
    assert drawn.openings == {start: "[1+ "}
    assert drawn.closings == {end - 1: "]"}


async def test_an_exported_prompt_has_its_borrowed_spans_and_marks(recording: Recording, tmp_path: Path) -> None:
    async with piloted(recording, (120, 40)) as (_, pilot):
        await pilot.press("g", "b", "m", "enter", "e")
        await until(pilot, lambda: any(tmp_path.glob("itx-*.md")))
    (file,) = tmp_path.glob("itx-*.md")
    text = file.read_text(encoding="utf-8")
    assert "water bottle and sip from it" in text
    assert "rows.jsonl#812" in text.replace("\\", "")
    assert "hallucinated" in text
