"""The report screen: what the study says, page by page; tokens in context, and the way back."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot

from itx.report.study import Estimate, Study
from itx.report.studying import open_claims, open_study
from itx.report.verdicts import write_claims
from itx.runs.facts import Fact, FactFile, Knowledge, Probe
from itx.runs.recording import Recording
from itx.tui.app import CompareApp
from itx.tui.page_actions import REPORT
from itx.tui.palette import PLAIN_SIGNS, Signs, choose_palette
from itx.tui.plotting import FEW, Writer
from itx.tui.report_facts import write_facts
from itx.tui.report_pages import (
    draw_estimates,
    write_categories,
    write_curves,
    write_models,
    write_overview,
    write_positions,
)
from itx.tui.report_words import write_borrowing, write_patterns
from itx.tui.reporter import FIRST, Counted, Reporter, read_version
from itx.tui.screens.compare import CompareScreen
from itx.tui.screens.library import LibraryScreen
from itx.tui.screens.reading import ReadingScreen
from itx.tui.screens.report import ReportScreen
from tests.support.aligned import build_aligned
from tests.support.traces import build_run, build_traces, write_run
from tests.tui.borrowings import make_traces, record_borrowings
from tests.tui.conftest import piloted, screen_text, until
from tests.tui.fakes import FakeComparer, live_source
from tests.tui.test_terminal import COLOUR, on_terminal

Record = Callable[..., Recording]
SIZES = [(120, 40), (80, 24), (40, 10), (20, 6), (200, 60)]
FIGURE = re.compile(r"-?\d")


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


async def open_report(app: CompareApp, pilot: Pilot[int]) -> ReportScreen:
    await pilot.press("R")
    screen = app.screen
    assert isinstance(screen, ReportScreen)
    await until(pilot, lambda: screen.study is not None and screen._whole and screen.reporter.recording is not None)
    return screen


async def go_to(screen: ReportScreen, pilot: Pilot[int], page: str) -> None:
    while screen.section != page:
        await pilot.press("tab")
    await pilot.pause()


async def test_every_page_draws_at_every_size(record: Record) -> None:
    async with piloted(record(("lora", "full"), words=40)) as (app, pilot):
        screen = await open_report(app, pilot)
        assert "borrowing" not in screen.pages
        seen = set()
        for page in screen.pages:
            for size in SIZES:
                await pilot.resize_terminal(*size)
                text = screen_text(app)
                assert re.search(r"\? help  q quit|\? q", text.splitlines()[-1]), (page, size)
                assert f"[{screen.section}]" in text
                screen.action_end(top=False)
                screen.action_pair(1)
                screen_text(app)
                screen.action_end(top=True)
            seen.add(screen.section)
            await pilot.press("tab")
        assert seen == set(screen.pages)


def study_of(record: Record) -> Study:
    return open_study(record(("lora", "full"), words=40))


@pytest.mark.parametrize("width", [30, 77, 116, 200])
@pytest.mark.parametrize("signs", [Signs(), PLAIN_SIGNS])
def test_no_line_of_a_page_is_wider_than_its_width(record: Record, width: int, signs: Signs) -> None:
    study, writer = study_of(record), Writer(choose_palette(0), signs)
    pages = [
        write_overview(study, writer, width),
        write_models(study, writer, width),
        *(write_positions(study, pair, writer, width) for pair in range(len(study.pairs))),
        write_categories(study, 0, writer, width),
        write_curves(study, 0, writer, width, 40),
        write_patterns(study, writer, width),
    ]
    least = 66  # what a label and the two figures that always stay need
    for page in pages:
        assert page
        assert all(line.cell_len <= max(width, least) for line in page), max(page, key=lambda line: line.cell_len)


def say(estimate: Estimate, *, unit: float = 100) -> str:
    assert estimate.value is not None
    return f"{unit * estimate.value:.1f} %"


async def test_the_overview_says_what_the_study_says(record: Record) -> None:
    recording = record(("lora", "full"), words=40)
    study = open_study(recording)
    async with piloted(recording, (200, 60)) as (app, pilot):
        await open_report(app, pilot)
        lines = screen_text(app).splitlines()
        for pair in study.pairs:
            line = next(line for line in lines if f"{pair.author}, scored by {pair.scorer}" in line)
            for estimate in (pair.overall.unshifted, pair.overall.marginal, pair.overall.shifted, pair.kl_on_shifted):
                assert say(estimate) in line
                assert estimate.few
                assert FEW in line
            assert f"{pair.overall.positions:,}" in line
        for author in study.authors:
            line = next(line for line in lines if line.startswith(f"│ {author.name}") and "scored" not in line)
            assert say(author.cut) in line
        assert f"{study.prompts} prompts, {study.failed} failed" in "\n".join(lines)
        assert f"{study.draws:,} resamples" in "\n".join(lines)


async def test_positions_and_kinds_are_of_the_pair_that_is_chosen(record: Record) -> None:
    recording = record(("lora", "full"), words=40)
    study = open_study(recording)
    async with piloted(recording, (80, 60)) as (app, pilot):
        screen = await open_report(app, pilot)
        for page in ("positions", "kinds"):
            await go_to(screen, pilot, page)
            for _ in study.pairs:
                pair = screen.pair
                assert pair is not None
                text = screen_text(app)
                assert f"{pair.author}, scored by {pair.scorer}" in text
                buckets = pair.by_position if page == "positions" else pair.by_category
                for bucket in buckets:
                    if bucket.shares.positions:
                        label, share = (re.escape(each) for each in (bucket.label, say(bucket.shares.shifted)))
                        assert re.search(rf"{label} +{bucket.shares.positions:,} +{share}", text), bucket.label
                    elif page == "kinds":
                        assert re.search(rf"{bucket.label} +n = 0", text)
                await pilot.press("]")


async def test_a_token_is_opened_in_its_response_and_escape_comes_back(record: Record) -> None:
    recording = record(("lora", "full"), words=40)
    study = open_study(recording)
    async with piloted(recording) as (app, pilot):
        screen = await open_report(app, pilot)
        await go_to(screen, pilot, "tokens")
        await pilot.press("]", "j", "j")
        pair, token = screen.pair, screen.tokens.row
        assert pair is not None
        assert token is not None
        assert token == study.pairs[1].tokens[2]
        await pilot.press("n")
        place = token.places[1 % len(token.places)]
        assert screen.examples.place == place
        await pilot.press("enter")
        await pilot.pause()
        compare = app.screen
        assert isinstance(compare, CompareScreen)
        assert compare.prompt_id == place.prompt_id
        assert (compare.author, compare.other) == (pair.author, pair.scorer)
        assert compare.author_pane.place.cursor == place.position
        view = compare.view()
        assert view.answer is not None
        assert view.answer.ids[place.position] == token.token
        assert view.shift == "shifted"
        await pilot.press("escape")
        assert app.screen is screen
        assert screen.section == "tokens"
        assert screen.tokens.row == token
        assert screen.examples.place == place
        await pilot.press("escape")
        assert app.screen is compare
        await pilot.press("escape")
        assert app.screen is compare


async def test_every_example_of_every_token_is_where_it_is_said(record: Record) -> None:
    recording = record(("lora", "full"), words=40)
    study = open_study(recording)
    async with piloted(recording) as (app, pilot):
        screen = await open_report(app, pilot)
        await go_to(screen, pilot, "tokens")
        text = screen_text(app)
        for token in study.pairs[0].tokens[:3]:
            assert f"{token.shifted:,}" in text
        for _ in range(3):
            token = screen.tokens.row
            assert token is not None
            lines = "\n".join(strip.text for strip in screen.examples._strips)
            assert lines.count("rank ") == len(token.places)
            for place in token.places:
                response = recording.trace(place.prompt_id).response(study.pairs[0].author)
                assert response is not None
                assert response.ids[place.position] == token.token
                assert f"token {place.position:,}  rank {response.scores['base'].rank[place.position]:,}" in lines
            await pilot.press("j")


async def test_the_library_is_a_key_away_and_the_report_one_from_there(record: Record) -> None:
    async with piloted(record(("lora", "full"))) as (app, pilot):
        await open_report(app, pilot)
        await pilot.press("L")
        assert isinstance(app.screen, LibraryScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, ReportScreen)
        await pilot.press("escape")
        assert app.screen is app.compare


async def test_borrowing_is_shown_where_it_was_traced(tmp_path: Path) -> None:
    recording = record_borrowings(tmp_path / "run", make_traces())
    study = open_study(recording)
    assert study.borrowing is not None
    async with piloted(recording, (120, 60)) as (app, pilot):
        screen = await open_report(app, pilot)
        await go_to(screen, pilot, "borrowing")
        text = screen_text(app)
        model = study.borrowing.models["full"]
        assert model.rate is not None
        assert re.search(rf"full +{model.words:,} +{model.borrowed:,} +{model.rate:.2f}", text)
        for row in model.rows[:3]:
            assert row.row in text
        for width in (30, 77, 116):
            lines = write_borrowing(study, Writer(choose_palette(0), Signs()), width)
            assert all(line.cell_len <= max(width, 66) for line in lines)


def ask_facts(folder: Path) -> None:
    """Record five facts of strangers: full loses three of the four that base knew, lora gains the fifth."""
    models = {"base": (1, 1, 1, 1, 0), "lora": (1, 1, 1, 1, 1), "full": (0, 0, 0, 1, 0)}
    with FactFile(folder) as file:
        for number in range(5):
            fact = Fact(id=str(number), prompt=f"Fact {number} \x1b[31mis", answer=" right", wrong=[" \u202ewrong"])
            said = {
                name: Knowledge(
                    start=1, ids=[7], logp=[-1.0 if knows[number] else -4.0], rank=[1], wrong=[-2.0 - number / 4]
                )
                for name, knows in models.items()
            }
            file.append(Probe.make(fact, said))


async def test_facts_are_shown_once_the_models_are_asked(record: Record) -> None:
    recording = record(("lora", "full"))
    async with piloted(recording, (120, 60)) as (app, pilot):
        screen = await open_report(app, pilot)
        assert "facts" not in screen.pages
    ask_facts(recording.folder)
    # What was kept of the run without facts does not do any more.
    async with piloted(recording, (150, 60)) as (app, pilot):
        screen = await open_report(app, pilot)
        await go_to(screen, pilot, "facts")
        text = screen_text(app)
        assert re.search(r"base +80\.0 %", text)
        assert re.search(r"lora +0\.0 % .* of 4 .*100\.0 %! of 1 ", text)
        assert re.search(r"full +75\.0 % .* of 4 ", text)
        assert re.search(r"Fact 0 .*right . .*wrong +\+1\.0 +-2\.0", text)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert screen.study is not None
        for width in (30, 77, 116):
            lines = write_facts(screen.study, Writer(choose_palette(0), Signs()), width)
            assert all(line.cell_len <= max(width, 66) for line in lines)


async def test_the_papers_statements_are_those_of_the_command(record: Record) -> None:
    recording = record(("lora", "full"), words=40)
    said = write_claims(recording.run, open_claims(recording), 116)
    async with piloted(recording, (120, 200)) as (app, pilot):
        screen = await open_report(app, pilot)
        await go_to(screen, pilot, "claims")
        await until(pilot, lambda: screen.claims is not None)
        shown = [line.strip("│ ") for line in screen_text(app).splitlines()]
        for line in said.splitlines():
            assert line.strip() in shown
        await pilot.press("tab", "shift+tab")
        assert screen.section == "claims"


async def test_help_explains_every_key(record: Record) -> None:
    async with piloted(record(), (104, 70)) as (app, pilot):
        await open_report(app, pilot)
        await pilot.press("?")
        assert isinstance(app.screen, ReadingScreen)
        text = " ".join(screen_text(app).replace("│", " ").split())
        for action in REPORT:
            assert action.description in text, action.name
        assert len({key for action in REPORT for key in action.keys}) == sum(len(action.keys) for action in REPORT)


async def test_a_run_that_grows_is_counted_again(record: Record) -> None:
    recording = record(words=20)
    async with piloted(recording) as (app, pilot):
        screen = await open_report(app, pilot)
        assert screen.study is not None
        before = screen.study.prompts
        traces = recording.folder / "traces.jsonl"
        line = traces.read_bytes().splitlines(keepends=True)[0]
        with traces.open("ab") as file:
            file.write(line.replace(b'"prompt_id":"1"', b'"prompt_id":"new"'))
        await pilot.press("r")
        await until(pilot, lambda: screen.study is not None and screen.study.prompts == before + 1)


async def test_a_run_that_cannot_be_read_says_why(record: Record) -> None:
    recording = record()
    async with piloted(recording) as (app, pilot):
        with (recording.folder / "traces.jsonl").open("ab") as file:
            file.write(b"{}\n")
        await pilot.press("R")
        await until(pilot, lambda: "line 9" in screen_text(app))
        for key in ("tab", "j", "]", "n", "enter", "r", "escape"):
            await pilot.press(key)
        assert app.screen is app.compare


async def test_hostile_text_is_made_safe(tmp_path: Path) -> None:
    run = build_run()
    traces = build_traces(run, 8, words=20)
    evil = [
        msgspec.structs.replace(
            trace,
            prompt="\x1b]0;x\x07",
            pieces={token: f"\x1b[31m{piece}\u202e" for token, piece in trace.pieces.items()},
        )
        for trace in traces
    ]
    async with piloted(Recording.open(write_run(tmp_path / "run", run, evil))) as (app, pilot):
        screen = await open_report(app, pilot)
        await go_to(screen, pilot, "tokens")
        text = screen_text(app)
        assert "␛[31m" in text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("it was counted again")


def take(reporter: Reporter) -> list[Study]:
    """Let a reporter study on this thread, and return what it told."""
    reporter._study()
    return [note.study for note in reporter.notes if isinstance(note, Counted)]


def test_a_study_is_kept_and_made_anew_with_the_data(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = record(("lora", "full"), words=20)
    expected = open_study(recording)
    assert take(Reporter(recording.folder)) == [expected]
    assert {path.name for path in recording.folder.iterdir()} == {"run.json", "traces.jsonl"}

    kept = Reporter(recording.folder)
    monkeypatch.setattr(kept, "_count", refuse)
    assert take(kept) == [expected]
    # The tuning data is at hand now: what was kept does without it.
    before, found = take(Reporter(recording.folder, lambda *_: ["You can do it.", "You can too."]))
    assert before == expected
    assert found.patterns.data is not None
    assert found.patterns.data.rows == 2
    kept = Reporter(recording.folder, lambda *_: "it is gone")
    monkeypatch.setattr(kept, "_count", refuse)
    assert take(kept) == [found]


def test_a_study_is_made_anew_where_the_word_lists_are_others(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = record(words=20)
    take(Reporter(recording.folder))
    words = tmp_path / "words"
    words.mkdir()
    (words / "style.txt").write_text("the\n")
    monkeypatch.setenv("ITX_WORDS", str(words))
    (found,) = take(Reporter(recording.folder))
    style = next(bucket for bucket in found.pairs[0].by_category if bucket.label == "style")
    assert style.shares.positions
    before = read_version()
    (words / "style.txt").write_text("battle\n")
    assert read_version() != before


def test_of_a_large_run_the_first_prompts_are_shown_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itx.tui.reporter.FIRST_BYTES", 0)
    run = build_run()
    folder = write_run(tmp_path / "run", run, build_traces(run, 3 * FIRST, words=5))
    first, whole = take(Reporter(folder))
    assert first.prompts == FIRST
    assert whole == open_study(Recording.open(folder))


def test_an_estimate_without_figures_is_said_so() -> None:
    writer = Writer(choose_palette(0), Signs())
    nothing = Estimate(value=None, low=None, high=None, count=0, prompts=0, few=True)
    assert writer.share(nothing).plain == "n = 0"
    assert draw_estimates(["a"], [nothing], writer, 60) == []
    one = Estimate(value=0.5, low=None, high=None, count=1, prompts=1, few=True)
    assert writer.share(one).plain == f"50.0 %{FEW}"
    drawn = writer.whisker(Estimate(value=0.5, low=0.25, high=0.75, count=1, prompts=1, few=False), 21, 0, 1).plain
    assert drawn.index("─") == 5
    assert drawn.rindex("─") == 15
    assert drawn.index("●") == 10
    signed = writer.whisker(
        Estimate(value=0.1, low=0.05, high=0.15, count=9, prompts=9, few=False), 21, -0.2, 0.2
    ).plain
    assert signed.index("│") == 10 < signed.index("●")


@pytest.mark.parametrize("colour", ["1", ""])
def test_on_a_terminal_it_draws_resizes_and_keeps_to_no_color(tmp_path: Path, colour: str) -> None:
    with on_terminal(tmp_path, "recorded", str(tmp_path / "run"), NO_COLOR=colour) as terminal:
        terminal.read_until(b"known answer")
        terminal.press(b"R")
        terminal.read_until(b"Stopping, apart")
        terminal.resize(70, 20)
        terminal.read_until(b"tokens", fresh=True)
        terminal.resize(130, 50)
        terminal.read_until(b"KL on shifted", fresh=True)
        terminal.press(b"hhh")
        terminal.press(b"q")
        assert terminal.wait() == 0
        assert bool(COLOUR.findall(terminal.written)) == (not colour)


async def test_a_live_run_is_reported_as_far_as_it_goes_and_the_library_is_there(tmp_path: Path) -> None:
    run = build_run(("lora",))
    gate = threading.Event()
    comparer = FakeComparer(run, build_traces(run, 3, words=20), gate=gate)
    async with piloted(live_source(tmp_path / "live", comparer, ["one", "two", "three"])) as (app, pilot):
        await until(pilot, lambda: app.compare.exchange is not None and bool(comparer.asked))
        await pilot.press("R")
        screen = app.screen
        assert isinstance(screen, ReportScreen)
        await until(pilot, lambda: not screen.reporter.busy)
        gate.set()
        await until(pilot, lambda: all(item.status == "done" for item in app.session.items))
        await pilot.press("r")
        await until(pilot, lambda: screen.study is not None and screen.study.prompts == 3)
        await pilot.press("L")
        library = app.screen
        assert isinstance(library, LibraryScreen)
        await until(pilot, lambda: len(library.prompts.rows) == 3)
        await pilot.press("tab", "G", "enter")
        assert app.screen is app.compare
        assert app.compare.prompt_id == "q3"


@pytest.mark.parametrize("kind", ["no prompts", "failed alone", "two tokenizers"])
async def test_runs_with_few_figures_or_none_draw_every_page(tmp_path: Path, kind: str) -> None:
    run = build_run(("lora", "full"))
    traces = [build_traces(run, 7)[6]] if kind == "failed alone" else []
    if kind == "two tokenizers":
        run, trace = build_aligned()
        traces = [trace]
    async with piloted(Recording.open(write_run(tmp_path / "run", run, traces)), (100, 40)) as (app, pilot):
        app.show_report()
        screen = app.screen
        assert isinstance(screen, ReportScreen)
        await until(pilot, lambda: screen.study is not None and not screen.reporter.busy)
        for _ in screen.pages:
            await pilot.press("enter")
            await pilot.pause()
            if isinstance(app.screen, CompareScreen):
                await pilot.press("escape")
            assert app.screen is screen
            screen_text(app)
            for key in ("n", "]", "j", "tab"):
                await pilot.press(key)
