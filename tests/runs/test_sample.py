"""The recorded run in the repository: it opens without weights, its figures are possible, its exports are today's."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from itx.cli.report import read_responses
from itx.demo import FACTS, ROWS
from itx.demo.world import build_world
from itx.records import Borrowing, Neighbour, Trace
from itx.report.document import write_document
from itx.report.markdown import write_markdown
from itx.report.studying import open_study
from itx.runs.facts import read_facts, read_probes
from itx.runs.recording import Recording
from tests.tui.conftest import piloted, screen_text, until

SAMPLE = Path(__file__).parents[2] / "sample_runs" / "gemma-270m"
QUANTISED = SAMPLE.with_name("gemma-270m-gguf")
VALLEY = SAMPLE.with_name("demo")
DATA = {SAMPLE: SAMPLE / "rows.json", QUANTISED: SAMPLE / "rows.json", VALLEY: ROWS}
SAMPLES = pytest.mark.parametrize("sample", DATA, ids=lambda sample: sample.name)


@pytest.fixture(scope="module")
def recording() -> Recording:
    found = Recording.open(SAMPLE)
    found.scan_all()
    assert found.is_complete
    return found


@pytest.fixture(scope="module")
def traces(recording: Recording) -> list[Trace]:
    return list(recording.traces())


def test_every_prompt_was_answered_by_every_model_and_scored_by_the_others(traces: list[Trace]) -> None:
    asked = [json.loads(line) for line in (SAMPLE / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(trace.prompt_id, trace.prompt, trace.reference) for trace in traces] == [
        (line["id"], line["prompt"], line["reference"]) for line in asked
    ]
    for trace in traces:
        assert trace.error is None
        assert {response.author for response in trace.responses} == {"base", "lora", "full"}
        for response in trace.responses:
            assert set(response.scores) == {"base", "lora", "full"} - {response.author}


def test_figures_of_greedy_answers_are_possible(traces: list[Trace]) -> None:
    for trace in traces:
        for response in trace.responses:
            # Greedy: what was emitted is the author's best.
            assert [top[0][0] for top in response.top] == response.ids
            for score in response.scores.values():
                for place, token in enumerate(response.ids):
                    ids = [alternative for alternative, _ in score.top[place]]
                    rank = score.rank[place]
                    assert (token in ids) == (rank <= 10) or score.ties[place]
                    assert rank > 10 or score.ties[place] or ids[rank - 1] == token
                    assert 0 <= score.js[place] <= 0.6932
                    assert min(score.kl_author_scorer[place], score.kl_scorer_author[place]) >= 0


@SAMPLES
def test_the_committed_exports_are_what_this_version_writes(sample: Path) -> None:
    recording = Recording.open(sample)
    recording.scan_all()
    assert recording.is_complete
    rows = read_responses(sample, recording.run, str(DATA[sample]), None)
    written, pictures = write_document(recording.run, open_study(recording, rows), "report")
    assert (sample / "report.md").read_text(encoding="utf-8") == written
    assert {path.name: path.read_text(encoding="utf-8") for path in sample.glob("report-*.svg")} == pictures
    findings = (sample / "findings.md").read_text(encoding="utf-8")
    assert findings == write_markdown(recording.run, recording.traces(), find_borrowings=recording.borrowings_of)


def test_the_quantised_run_asks_the_same_and_says_its_noise_floor(traces: list[Trace]) -> None:
    quantised = Recording.open(QUANTISED)
    quantised.scan_all()
    found = list(quantised.traces())
    assert [trace.prompt for trace in found] == [trace.prompt for trace in traces[: len(found)]]
    assert [model.engine for model in quantised.run.models] == ["llama"] * 3
    assert {floor.dtype for floor in quantised.run.floors} == {"Q4_K_M", "Q8_0"}
    test_figures_of_greedy_answers_are_possible(found)


def test_the_valleys_study_is_of_its_prompts_and_facts_and_its_answers_are_judged_by_the_truth() -> None:
    script = runpy.run_path(str(VALLEY / "make.py"))
    world = build_world()
    assert (VALLEY / "prompts.jsonl").read_text(encoding="utf-8") == script["write_prompts"](world)
    assert (VALLEY / "judged.md").read_text(encoding="utf-8") == script["write_judged"](world, VALLEY)
    recording = Recording.open(VALLEY)
    recording.scan_all()
    asked = [json.loads(line) for line in (VALLEY / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    found = list(recording.traces())
    assert [(trace.prompt, trace.reference) for trace in found] == [(row["prompt"], row["reference"]) for row in asked]
    for trace in found:
        assert trace.error is None
        assert set(recording.borrowings_of(trace)) == {"base", "lora", "full"}
    assert [probe.fact for probe in read_probes(VALLEY)] == read_facts(FACTS)[0]


def round_scores(neighbour: Neighbour) -> Neighbour:
    """Return the neighbour with scores to four places: processors differ in the last ones."""
    scores = (neighbour.score, neighbour.lexical, neighbour.semantic)
    score, lexical, semantic = (None if each is None else round(each, 4) for each in scores)
    return replace(neighbour, score=score or 0.0, lexical=lexical, semantic=semantic)


def simplify(borrowing: Borrowing) -> Borrowing:
    """Return what must be equal on every machine."""
    spans = [replace(span, rise=None if span.rise is None else round(span.rise, 6)) for span in borrowing.spans]
    paraphrases = [replace(each, score=round(each.score, 4)) for each in borrowing.paraphrases]
    neighbours = [round_scores(each) for each in borrowing.neighbours]
    return replace(borrowing, spans=spans, neighbours=neighbours, paraphrases=paraphrases)


def test_what_it_borrowed_is_what_its_script_finds_today(
    recording: Recording, traces: list[Trace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    untraced = tmp_path / "run"
    untraced.mkdir()
    shutil.copyfile(SAMPLE / "traces.jsonl", untraced / "traces.jsonl")
    description = json.loads((SAMPLE / "run.json").read_text(encoding="utf-8"))
    assert description["data"]["rows"] == len(json.loads((SAMPLE / "rows.json").read_text(encoding="utf-8")))
    (untraced / "run.json").write_text(json.dumps(description | {"data": None}), encoding="utf-8")

    made = runpy.run_path(str(SAMPLE / "make.py"))["trace"](untraced)

    assert made == untraced / "borrow.jsonl"
    assert (untraced / "run.json").read_bytes() == (SAMPLE / "run.json").read_bytes()
    again = Recording.open(untraced)
    for trace in traces:
        recorded, found = recording.borrowings_of(trace), again.borrowings_of(trace)
        assert recorded.keys() == found.keys() == {"base", "lora", "full"}
        for author, borrowing in found.items():
            assert simplify(borrowing) == simplify(recorded[author])


def test_rows_that_are_quoted_say_so(recording: Recording, traces: list[Trace]) -> None:
    outputs = [row["output"] for row in json.loads((SAMPLE / "rows.json").read_text(encoding="utf-8"))]
    quoted = 0
    for trace in traces:
        for author, borrowing in recording.borrowings_of(trace).items():
            response = trace.response(author)
            assert response is not None
            near = {each.row for each in borrowing.neighbours if each.query == "prompt"}
            assert len(near) == 5
            for span in borrowing.spans:
                assert span.text in response.text and span.examples
                assert not span.borrowed or {each.row for each in span.examples} <= near
                for example in span.examples:
                    output = outputs[int(example.row.removeprefix("rows.json#"))]
                    # Neither the sample's rows nor its answers have anything to fold but case and what is no word.
                    match, said = (
                        "".join(letter for letter in text.lower() if letter.isalnum())
                        for text in (example.text[example.start : example.end], span.text)
                    )
                    assert example.text in output and match == said
                    quoted += 1
    assert quoted > 500


async def test_its_borrowed_wording_shows_without_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("run.json", "traces.jsonl", "borrow.jsonl"):
        shutil.copyfile(SAMPLE / name, tmp_path / name)
    async with piloted(Recording.open(tmp_path)) as (app, pilot):
        assert "[1 was fought on 25" in screen_text(app)
        await pilot.press("b")
        # In a row about another battle.
        await until(pilot, lambda: "Duke William [and the English]" in screen_text(app))
        assert "rows.json#0 " in screen_text(app)


@SAMPLES
def test_nothing_of_the_machine_it_was_made_on_is_in_it(sample: Path) -> None:
    for path in sample.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not [place for place in ("/home/", "/root/", "/tmp/", "/work/") if place in text], path.name
