"""Prompts that cannot be asked: each is named, the rest runs, and the exit code says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.conftest import PROMPTS, World
from tests.faults.running import read_traces, run_itx, write_prompts

pytestmark = pytest.mark.weights

SHORT = ("--max-new-tokens", "8", "--threads", "1", "--device", "cpu")


def test_broken_lines_and_a_context_beyond_the_window(world: World, tmp_path: Path) -> None:
    long = {"id": "long", "prompt": "knead the dough " * 400}
    rows = [PROMPTS[0], '{"id": "cut', long, {"id": "void"}, PROMPTS[1], PROMPTS[0]]
    file = write_prompts(tmp_path / "prompts.jsonl", rows)
    run = ("run", world.base, world.full, *SHORT, "--prompts", file, "--out", "run")
    done = run_itx(*run, folder=tmp_path)
    assert done.code == 3, done.text
    for line in ("line 2", "line 4", "line 6"):
        assert line in done.err
    assert "long" in done.err
    assert "512" in done.err, "the window's size is not named"
    traces = read_traces(tmp_path / "run")
    assert list(traces) == ["p1", "long", "p2"]
    assert traces["long"].error is not None
    assert all(trace.error is None for name, trace in traces.items() if name != "long")

    again = run_itx(*run, folder=tmp_path)
    assert again.code == 3
    assert "2 of 3" in again.err
    report = run_itx("report", "run", "--json", folder=tmp_path)
    assert report.code == 0
    figures = json.loads(report.out)["models"]
    assert figures["tuned"]["positions"] > 0
    export = run_itx("export", "run", "--format", "md", "-o", "run.md", folder=tmp_path)
    assert export.code == 0
    assert "window" in (tmp_path / "run.md").read_text()


def test_when_not_one_prompt_succeeds_the_run_has_failed(world: World, tmp_path: Path) -> None:
    file = write_prompts(tmp_path / "prompts.jsonl", [{"id": "long", "prompt": "knead the dough " * 400}])
    done = run_itx("run", world.base, world.full, *SHORT, "--prompts", file, "--out", "run", folder=tmp_path)
    assert done.code == 1
    assert "long" in done.err


def test_files_that_are_no_prompts(world: World, tmp_path: Path) -> None:
    models = ("run", world.base, world.full, "--out", "run")
    missing = run_itx(*models, "--prompts", "nowhere.jsonl", folder=tmp_path)
    assert missing.code == 2
    assert "nowhere.jsonl" in missing.err
    both = run_itx(*models, "--prompts", world.prompts, "--responses", world.prompts, folder=tmp_path)
    assert both.code == 2
    broken = run_itx(*models, "--prompts", write_prompts(tmp_path / "b.jsonl", ["{", "no"]), folder=tmp_path)
    assert broken.code == 1
    assert "line 1" in broken.err
    assert "line 2" in broken.err
    assert not (tmp_path / "run").exists()


def test_two_responses_that_turn_out_to_be_of_one_author(world: World, tmp_path: Path) -> None:
    """Which model a response without an author belongs to is known once the models are: the rest runs on."""
    rows = [
        {"id": "twice", "prompt": "bread?", "response": "Mix flour"},
        {"id": "twice", "prompt": "bread?", "response": "Mix water", "author": "tuned"},
        {"id": "blank", "prompt": "bread?", "response": "Mix flour", "author": " "},
        {"id": "blank", "prompt": "bread?", "response": "Mix water"},
        {"id": "good", "prompt": "bread?", "response": "Mix flour"},
        {"id": "good", "prompt": "bread?", "response": "Mix water", "author": "base"},
    ]
    file = write_prompts(tmp_path / "responses.jsonl", rows)
    done = run_itx("run", world.base, world.full, *SHORT, "--responses", file, "--out", "run", folder=tmp_path)
    assert done.code == 3, done.text
    assert "two responses of tuned" in done.err
    assert "line 4" in done.err, "what the file alone shows is told by its line"
    assert "overflow" not in done.err
    traces = read_traces(tmp_path / "run")
    assert traces["twice"].error is not None
    assert {response.author for response in traces["good"].responses} == {"tuned", "base"}
    assert [response.author for response in traces["blank"].responses] == ["tuned"]


def test_given_ids_that_no_model_knows(world: World, tmp_path: Path) -> None:
    rows = [
        {"id": "good", "prompt": "bread?", "response": "Mix flour"},
        {"id": "bad", "prompt": "bread?", "response_ids": [70, 99_999]},
        {"id": "who", "prompt": "bread?", "response": "Mix", "author": "nobody"},
    ]
    file = write_prompts(tmp_path / "responses.jsonl", rows)
    done = run_itx("run", world.base, world.full, *SHORT, "--responses", file, "--out", "run", folder=tmp_path)
    assert done.code == 3
    assert "99999" in done.err.replace(",", "")
    assert "nobody" in done.err
    traces = read_traces(tmp_path / "run")
    assert traces["good"].error is None
    assert traces["bad"].error is not None
    assert traces["who"].error is not None
