"""The compare screen on a recorded run: every size, every key, what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from rich.text import Text

from itx.records import Decoding, Trace
from itx.report.figures import count_classes, largest_rises
from itx.runs.recording import Recording
from itx.tui.actions import ACTIONS
from itx.tui.screens.choosing import Choices, ChoosingScreen
from itx.tui.screens.reading import ReadingScreen
from itx.tui.shape import divide
from itx.tui.wrapping import Piece, Wrapping
from tests.support.traces import build_run, build_trace, build_traces, write_run
from tests.tui.conftest import piloted, screen_text, until

Record = Callable[..., Recording]
SIZES = [(80, 24), (120, 40), (40, 10), (200, 60), (100, 24), (99, 36), (20, 6), (120, 12), (300, 90)]


@pytest.mark.parametrize("size", SIZES)
async def test_every_size_draws_the_answer_and_keeps_help_and_quit(record: Record, size: tuple[int, int]) -> None:
    async with piloted(record(), size) as (app, pilot):
        text = screen_text(app)
        assert "tips" in text
        assert re.search(r"\? help  q quit|\? q", text.splitlines()[-1])
        for key in ("n", "n", "v", "tab", "j", "J", "G", "g", "tab", "k"):
            await pilot.press(key)
        screen_text(app)


@pytest.mark.parametrize("tuned", [("full",), ("lora", "full")])
async def test_every_key_of_the_registry_works_at_every_layout(record: Record, tuned: tuple[str, ...]) -> None:
    keys = [key for action in ACTIONS if action.name not in ("quit", "interrupt") for key in action.keys]
    async with piloted(record(tuned), (120, 40)) as (app, pilot):
        for size in ((120, 40), (80, 24), (40, 10)):
            await pilot.resize_terminal(*size)
            for key in keys:
                await pilot.press(key)
                while len(app.screen_stack) > 1:
                    await pilot.press("escape")
            screen_text(app)


async def test_resizing_through_all_layouts_keeps_the_token(record: Record) -> None:
    async with piloted(record(words=120)) as (app, pilot):
        for _ in range(5):
            await pilot.press("n")
        cursor = app.compare.author_pane.place.cursor
        assert cursor is not None
        for size in ((80, 24), (40, 10), (200, 60), (100, 30), (30, 8), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            screen_text(app)
            pane = app.compare.author_pane
            assert pane.place.cursor == cursor
            line = pane._line_of(cursor)
            assert pane.scroll_offset.y <= line < pane.scroll_offset.y + pane._page, size


async def test_it_opens_on_the_first_shifted_token_and_n_goes_through_all(record: Record) -> None:
    recording = record(words=60)
    trace = recording.trace("1")
    response = trace.response("full")
    assert response is not None
    ranks = response.scores["base"].rank
    shifted = [position for position, rank in enumerate(ranks) if rank > 3]
    assert len(shifted) > 3
    async with piloted(recording) as (app, pilot):
        seen = [app.compare.author_pane.place.cursor]
        for _ in shifted[1:]:
            await pilot.press("n")
            seen.append(app.compare.author_pane.place.cursor)
        assert seen == shifted
        await pilot.press("n")
        assert app.compare.author_pane.place.cursor == shifted[-1]
        await pilot.press("N")
        assert app.compare.author_pane.place.cursor == shifted[-2]


async def test_rises_come_largest_first_as_in_the_report(record: Record) -> None:
    recording = record(words=60)
    response = recording.trace("1").response("full")
    assert response is not None
    expected = largest_rises(response, response.scores["base"])[:6]
    async with piloted(recording) as (app, pilot):
        seen = []
        for _ in expected:
            await pilot.press(">")
            await pilot.pause()
            seen.append(app.compare.author_pane.place.cursor)
        assert seen == expected


async def test_counts_on_the_screen_are_the_reports(record: Record) -> None:
    recording = record(words=60)
    run, response = recording.run, recording.trace("1").response("full")
    assert response is not None
    counts = count_classes(response, response.scores["base"], run.thresholds)
    async with piloted(recording) as (app, _):
        text = screen_text(app)
        assert f"{counts.shifted} of {counts.positions} shifted for base" in text
        for name in ("unshifted", "marginal", "shifted"):
            assert re.search(rf"│ {name}\s+rank \S+( \d)?\s+{getattr(counts, name)} ", text), name


async def test_the_inspector_says_what_the_trace_says(record: Record) -> None:
    recording = record(words=40)
    trace = recording.trace("1")
    response = trace.response("full")
    assert response is not None
    score = response.scores["base"]
    async with piloted(recording) as (app, _):
        cursor = app.compare.author_pane.place.cursor
        assert cursor is not None
        text = screen_text(app)
        assert f"token #{cursor} of {response.length}" in text
        assert f"id {response.ids[cursor]}" in text
        assert f"rank {score.rank[cursor]:,}" in text
        rows = [line for line in text.splitlines() if re.search(r"│ [> ] ?\d+ '", line)]
        assert len(rows) == 10
        for index, row in enumerate(rows):
            for top in (response.top[cursor], score.top[cursor]):
                assert trace.pieces[top[index][0]].strip().replace("\n", "\\n")[:6] in row


async def test_the_scorers_choice_stands_beside_the_token(record: Record) -> None:
    recording = record(words=40)
    trace = recording.trace("1")
    response = trace.response("full")
    assert response is not None
    async with piloted(recording) as (app, pilot):
        cursor = app.compare.author_pane.place.cursor
        assert cursor is not None
        choice = trace.pieces[response.scores["base"].top[cursor][0][0]].strip()
        assert f"{trace.pieces[response.ids[cursor]].strip()}‹{choice}›" in screen_text(app)
        unshifted = response.scores["base"].rank.index(1)
        app.compare.author_pane.move_to(unshifted)
        await pilot.pause()
        assert "‹" not in screen_text(app)


async def test_swapping_makes_base_the_author(record: Record) -> None:
    recording = record()
    base = recording.trace("1").response("base")
    assert base is not None
    async with piloted(recording) as (app, pilot):
        await pilot.press("v")
        view = app.compare.view()
        assert (view.author, view.scorer) == ("base", "full")
        assert view.score == base.scores["full"]
        await pilot.press("v")
        assert app.compare.view().author == "full"


async def test_pairs_of_three_models(record: Record) -> None:
    async with piloted(record(("lora", "full"))) as (app, pilot):
        seen = []
        for _ in range(4):
            seen.append((app.compare.names, app.compare.view().scorer))
            await pilot.press("]")
        assert seen == [
            (("base", "lora"), "base"),
            (("base", "full"), "base"),
            (("lora", "full"), "base"),
            (("base", "lora"), "base"),
        ]
        await pilot.press("[")
        assert app.compare.names == ("base", "lora") or app.compare.names == ("base", "full")


async def test_two_models_have_no_pairs_to_choose(record: Record) -> None:
    async with piloted(record()) as (app, pilot):
        assert "[ ] models" not in screen_text(app)
        await pilot.press("]")
        assert app.compare.pair == 0


async def test_the_end_and_parts_of_characters_can_be_stood_on(record: Record) -> None:
    recording = record(count=1)
    response = recording.trace("1").response("base")
    assert response is not None
    async with piloted(recording) as (app, pilot):
        await pilot.press("v", "G")
        assert app.compare.author_pane.place.cursor == len(response.ids) - 1
        text = screen_text(app)
        assert "<end>" in text
        assert "ends the response, not counted" in text
        await pilot.press("h", "h")
        assert "part of a character" in screen_text(app)
        await pilot.press("l")
        assert "part of a character" not in screen_text(app)


async def test_failed_empty_stopped_and_cut_responses_say_so(record: Record) -> None:
    recording = record()
    cut = recording.trace("3").responses[-1]
    recording.run = msgspec.structs.replace(recording.run, decoding=Decoding(max_new_tokens=len(cut.ids)))
    async with piloted(recording) as (app, pilot):
        wanted = {2: "cut at the limit", 4: "stopped", 6: "This prompt failed."}
        for index in range(8):
            app.compare.show_prompt(index)
            await pilot.pause()
            text = screen_text(app)
            for at, words in wanted.items():
                assert (words in text) == (at == index), (index, words)
        app.compare.show_prompt(6)
        await pilot.pause()
        assert "The context has 4,101 tokens" in screen_text(app)


@pytest.mark.parametrize(("given", "said"), [(False, "cut at the window's end"), (True, ", given")])
async def test_a_text_that_ends_below_the_limit_is_not_cut_at_it(tmp_path: Path, given: bool, said: str) -> None:
    run = build_run()
    trace = build_trace("1", "p", {"full": "It is"}, scorers={"full": ["base"]}, finish={"full": "length"})
    response = msgspec.structs.replace(trace.responses[0], given=given)
    trace = msgspec.structs.replace(trace, responses=[response])
    async with piloted(Recording.open(write_run(tmp_path / "run", run, [trace]))) as (app, _):
        text = screen_text(app)
        assert said in text
        assert "limit" not in text
        assert ("window" in text) is not given


async def test_prompts_are_chosen_by_keys_and_list(record: Record) -> None:
    async with piloted(record(), (120, 40)) as (app, pilot):
        await pilot.press("J", "J")
        assert app.compare.index == 2
        await pilot.press("K")
        assert app.compare.index == 1
        await pilot.press("o", "j", "j")
        assert app.compare.index == 3
        await pilot.press("G")
        assert app.compare.index == 7
    async with piloted(record(), (80, 24)) as (app, pilot):
        await pilot.press("o")
        assert isinstance(app.screen, ChoosingScreen)
        await pilot.press("j", "j", "enter")
        await pilot.pause()
        assert app.compare.index == 2


async def test_the_place_in_a_response_is_kept(record: Record) -> None:
    async with piloted(record(words=60)) as (app, pilot):
        await pilot.press("n", "n", "l")
        cursor = app.compare.author_pane.place.cursor
        await pilot.press("J", "n", "K")
        assert app.compare.author_pane.place.cursor == cursor
        await pilot.press("v", "v")
        assert app.compare.author_pane.place.cursor == cursor


async def test_tab_goes_round_the_panels_and_j_scrolls_the_focused_one(record: Record) -> None:
    async with piloted(record(words=60), (100, 24)) as (app, pilot):
        first = app.focused
        seen = []
        for _ in range(5):
            await pilot.press("tab")
            seen.append(app.focused.id if app.focused else None)
        assert seen == ["figures", "token", "prompts", "first", first.id if first else None]
        await pilot.press("tab", "tab")
        token = app.compare.query_one("#token")
        await pilot.press("j", "j")
        assert token.scroll_offset.y == 2
        await pilot.press("g")
        assert token.scroll_offset.y == 0


async def test_small_screens_show_one_lower_panel(record: Record) -> None:
    async with piloted(record(), (80, 24)) as (app, pilot):
        assert "full wanted" in screen_text(app)
        await pilot.press("tab")
        assert "unshifted" in screen_text(app)
        assert "full wanted" not in screen_text(app)
        await pilot.press("tab")
        assert "full wanted" in screen_text(app)


async def test_help_palette_and_contexts(record: Record) -> None:
    async with piloted(record()) as (app, pilot):
        await pilot.press("?")
        assert isinstance(app.screen, ReadingScreen)
        text = screen_text(app)
        assert "go to the next shifted token" in text
        assert "write a prompt" not in text
        await pilot.press("escape", "c")
        await pilot.pause()
        text = screen_text(app)
        assert "Every model sees exactly the same tokens." in text
        assert "### Instruction:" in text
        assert "1 <bos>" in text
        await pilot.press("q", ":", *"swap", "enter")
        await pilot.pause()
        assert app.compare.author == "base"
        await pilot.press("ctrl+p", "escape")
        assert len(app.screen_stack) == 1


async def test_a_thousand_prompts_are_read_in_steps(record: Record) -> None:
    async with piloted(record(count=300)) as (app, pilot):
        assert "Sure!" in screen_text(app)
        await until(pilot, lambda: len(app.session.items) == 300)
        assert "1/300" in screen_text(app)
        await pilot.press("o", "G")
        assert app.compare.index == 299


async def test_quit_keys(record: Record) -> None:
    async with piloted(record()) as (app, pilot):
        await pilot.press("q")
        assert app.leaving
    async with piloted(record()) as (app, pilot):
        await pilot.press("ctrl+c")
        assert not app.leaving
        await pilot.press("ctrl+c")
        assert app.leaving


async def test_the_answer_beside_can_be_read_and_keeps_its_place(record: Record) -> None:
    for size in ((120, 30), (80, 24)):
        async with piloted(record(words=300), size) as (app, pilot):
            cursor = app.compare.author_pane.place.cursor
            app.compare.focus_panel(app.compare.other_pane)
            await pilot.press("j", "j", "j")
            await pilot.pause()
            assert app.compare.other_pane.scroll_offset.y == 3
            await pilot.press("G")
            await pilot.pause()
            bottom = app.compare.other_pane.scroll_offset.y
            assert bottom == app.compare.other_pane.max_scroll_y > 3
            assert app.compare.author_pane.place.cursor == cursor
            await pilot.press("J", "K")
            await pilot.pause()
            # A prompt without a known answer has one line more, which the way over it takes off the bottom.
            assert app.compare.other_pane.scroll_offset.y in (bottom - 1, bottom)
            await pilot.press("v")
            await pilot.pause()
            pane = app.compare.author_pane
            assert pane.place.cursor is not None
            assert pane.scroll_offset.y <= pane._line_of(pane.place.cursor) < pane.scroll_offset.y + pane._page
            assert pane.scroll_offset.y > 3
            await pilot.press("v")
            assert app.compare.author_pane.place.cursor == cursor
            await pilot.press("J")
            await pilot.pause()
            assert app.compare.other_pane.scroll_offset.y == 0


async def test_enter_and_escape_lead_from_the_list_back_to_the_answer(record: Record) -> None:
    for key in ("enter", "escape"):
        async with piloted(record(), (120, 40)) as (app, pilot):
            await pilot.press("o", "j", key, "l")
            assert app.focused is app.compare.author_pane
            assert app.compare.index == 1


async def test_a_notice_replaces_the_one_before_and_escape_puts_it_away(record: Record) -> None:
    async with piloted(record()) as (app, pilot):
        await pilot.press("G", "n", "n", "n")
        assert len(app._notifications) == 1
        await pilot.press("escape")
        assert not app._notifications


async def test_the_whole_prompt_and_known_answer_can_be_read_even_of_a_failed_one(tmp_path: Path) -> None:
    run = build_run()
    prompt = "Tell me why. " * 30 + "THE END"
    traces = [
        build_trace("first", prompt, {"base": "No.", "full": "Yes."}, reference="known " * 40 + "LAST"),
        Trace(prompt_id="second", prompt=prompt, error="The context has 4,101 tokens."),
    ]
    async with piloted(Recording.open(write_run(tmp_path / "run", run, traces)), (80, 40)) as (app, pilot):
        await pilot.press("c")
        await pilot.pause()
        text = screen_text(app)
        assert "Prompt first" in text
        assert "THE END" in text
        assert "LAST" in text
        await pilot.press("escape", "J")
        assert "c context" in screen_text(app).splitlines()[-1]
        await pilot.press("c")
        await pilot.pause()
        text = screen_text(app)
        assert "THE END" in text
        assert "4,101 tokens" in text
        assert "No context is recorded." in text


async def test_names_stay_in_the_header_without_references_or_cut(tmp_path: Path) -> None:
    run = build_run(("qwen2.5-1.5b-instruct-lora-r16",))
    models = [msgspec.structs.replace(model, reference=f"./models/{model.name}-of-today") for model in run.models]
    run = msgspec.structs.replace(run, models=models)
    recording = Recording.open(write_run(tmp_path / "run", run, build_traces(run, 1)))
    async with piloted(recording, (80, 24)) as (app, pilot):
        assert "base ⇄ qwen2.5-1.5b-instruct-lora-r16 " in screen_text(app).splitlines()[0]
        await pilot.resize_terminal(30, 20)
        await pilot.pause()
        assert "base ⇄ qwen2" in screen_text(app).splitlines()[0]


async def test_nothing_is_wrapped_before_the_first_layout(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    append = Wrapping.append

    def watch(wrapping: Wrapping, piece: Piece) -> int:
        widths.append(wrapping.width)
        return append(wrapping, piece)

    monkeypatch.setattr(Wrapping, "append", watch)
    async with piloted(record(words=60), (120, 40)):
        assert min(widths) > 20


async def test_lists_draw_only_what_is_seen_and_follow_the_terminal(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with piloted(record(count=300), (80, 40)) as (app, pilot):
        await until(pilot, lambda: len(app.session.items) == 300)
        await pilot.press("o")
        choices = app.screen.query_one(Choices)
        written: list[int] = []
        write = choices.write_line

        def watch(index: int, width: int) -> Text:
            written.append(index)
            return write(index, width)

        monkeypatch.setattr(choices, "write_line", watch)
        await pilot.press("j")
        await pilot.pause()
        assert set(written) <= set(range(40))
        await pilot.resize_terminal(80, 20)
        await pilot.pause()
        assert app.screen.query_one("#chooser").region.height <= 20


@pytest.mark.parametrize("height", range(14, 23))
def test_half_of_a_wide_terminal_is_text(height: int) -> None:
    for reference in (False, True):
        shape = divide(120, height, reference=reference)
        text = height - 2 - shape.question - reference - shape.lower
        assert text >= shape.lower


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_failed_prompt_that_kept_answers_shows_them_and_its_cause(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    whole = build_trace("1", "p", {"base": "Yes, it is.", "full": ""})
    cause = "The device ran out of memory.\nTake fewer tokens."
    kept = msgspec.structs.replace(whole, error=cause)
    alone = msgspec.structs.replace(kept, prompt_id="2", responses=whole.responses[:1])
    recording = Recording.open(write_run(tmp_path / "run", build_run(), [kept, alone]))
    async with piloted(recording, size) as (app, pilot):
        await until(pilot, lambda: len(app.session.items) == 2)
        for index in range(2):
            app.compare.show_prompt(index)
            await pilot.pause()
            text = screen_text(app)
            assert "Yes, it is." in text
            assert ("This prompt failed." in text) == (index == 1)
            assert re.search(r"failed +The device ran out of memory\.", text)
