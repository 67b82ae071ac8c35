"""The recorded run in the repository: it opens without weights, its figures are possible, its exports are today's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from itx.records import Trace
from itx.report.figures import summarise
from itx.report.markdown import write_markdown
from itx.report.summary import write_summary
from itx.runs.recording import Recording

SAMPLE = Path(__file__).parents[2] / "sample_runs" / "gemma-270m"


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


def test_the_committed_exports_are_what_this_version_writes(recording: Recording) -> None:
    written = (SAMPLE / "report.md").read_text(encoding="utf-8")
    assert written == write_summary(recording.run, summarise(recording.run, recording.traces()))
    findings = (SAMPLE / "findings.md").read_text(encoding="utf-8")
    assert findings == write_markdown(recording.run, recording.traces())


def test_nothing_of_the_machine_it_was_made_on_is_in_it() -> None:
    for name in ("run.json", "traces.jsonl", "findings.md", "report.md", "tuning.json"):
        text = (SAMPLE / name).read_text(encoding="utf-8")
        assert not [place for place in ("/home/", "/root/", "/tmp/", "/work/") if place in text], name
