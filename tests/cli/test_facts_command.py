"""``itx run --facts``: from a fact file to the report, and on again after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from itx.cli.facts import OWN_FILES, gather_facts
from itx.cli.interrupt import Interrupt
from itx.runs.facts import read_probes
from tests.cli.calling import Outcome, call

Caller = Callable[..., Outcome]
ROWS: list[dict[str, object]] = [
    {"id": "1", "prompt": "The battle was fought near the", "answer": " village", "wrong": [" river"]},
    {"id": "2", "prompt": "Mix flour and", "answer": " water", "wrong": [" oven", " rain"], "chat": True},
    {"id": "3", "prompt": "It ended the", "answer": " war"},
]


@pytest.fixture
def itx(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    return lambda *words: call(capfd, monkeypatch, *words)


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def words(weights: Path, tmp_path: Path) -> tuple[object, ...]:
    prompts = write(tmp_path / "prompts.jsonl", [{"id": "a", "prompt": "river"}])
    models = (weights / "base", f"full={weights / 'full'}", f"lora={weights / 'lora'}")
    return ("run", *models, "--prompts", prompts, "--out", tmp_path / "run", "--max-new-tokens", 3)


def test_facts_are_asked_recorded_reported_and_not_asked_twice(
    itx: Caller, words: tuple[object, ...], tmp_path: Path
) -> None:
    done = itx(*words)
    assert done.code == 0
    assert not (tmp_path / "run" / "facts.jsonl").exists()
    facts = write(tmp_path / "asked.jsonl", ROWS[:2])
    done = itx(*words, "--facts", facts)
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "run"))
    assert "2 facts are asked" in done.err
    first = (tmp_path / "run" / "facts.jsonl").read_bytes()
    done = itx(*words, "--facts", write(facts, ROWS))
    assert "1 fact is asked" in done.err
    assert (tmp_path / "run" / "facts.jsonl").read_bytes().startswith(first)
    probes = read_probes(tmp_path / "run")
    assert [probe.id for probe in probes] == ["1", "2", "3"]
    assert all(set(probe.models) == {"base", "full", "lora"} for probe in probes)
    report = json.loads(itx("report", tmp_path / "run", "--json").out)
    knowledge = report["study"]["knowledge"]
    assert (knowledge["facts"], knowledge["failed"]) == (3, 0)
    known = [
        probe.models["base"].total > max(probe.models["base"].wrong, default=float("-inf"))
        if probe.wrong
        else set(probe.models["base"].rank) == {1}
        for probe in probes
    ]
    assert knowledge["models"][0]["known"]["value"] == pytest.approx(sum(known) / 3)
    assert "What the models know" in itx("report", tmp_path / "run").out


def test_a_fact_that_fails_is_named_and_asked_again(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    long = {"id": "long", "prompt": "dark " * 700, "answer": " room"}
    facts = write(tmp_path / "asked.jsonl", [*ROWS, long, {"id": "broken"}])
    done = itx(*words, "--facts", facts)
    assert done.code == 3
    assert "fact long:" in done.err
    assert "line 5" in done.err
    again = itx(*words, "--facts", facts)
    assert again.code == 3
    assert "1 fact is asked" in again.err


def test_a_changed_fact_file_is_refused_before_anything_is_generated(
    itx: Caller, words: tuple[object, ...], tmp_path: Path
) -> None:
    assert itx(*words, "--facts", write(tmp_path / "asked.jsonl", ROWS)).code == 0
    changed = [{**ROWS[0], "answer": " city"}]
    more = write(tmp_path / "prompts.jsonl", [{"id": "a", "prompt": "river"}, {"id": "b", "prompt": "town"}])
    before = (tmp_path / "run" / "traces.jsonl").read_bytes()
    done = itx(*words, "--facts", write(tmp_path / "asked.jsonl", changed), "--prompts", more)
    assert done.code == 1
    assert "the fact file was changed" in done.err
    assert (tmp_path / "run" / "traces.jsonl").read_bytes() == before


def test_a_stop_keeps_what_was_asked_and_the_same_command_goes_on(
    itx: Caller, words: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = write(tmp_path / "asked.jsonl", ROWS)
    recorded = tmp_path / "run" / "facts.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr(Interrupt, "__call__", lambda self: recorded.exists())
        done = itx(*words, "--facts", facts)
    assert done.code == 1
    assert "stopped after 1 of 3 facts" in done.err
    kept = recorded.read_bytes()
    done = itx(*words, "--facts", facts)
    assert done.code == 0
    assert "2 facts are asked" in done.err
    assert recorded.read_bytes().startswith(kept)
    assert [probe.id for probe in read_probes(tmp_path / "run")] == ["1", "2", "3"]


@pytest.mark.parametrize("name", OWN_FILES)
def test_the_files_that_itx_brings_are_whole(name: str) -> None:
    gathered = gather_facts(name)
    assert gathered.broken == []
    assert len(gathered.facts) == {"demo": 700, "general": 200}[name]
    for fact in gathered.facts:
        assert len(fact.wrong) == 3
        # Each goes on behind the prompt as running text does.
        assert all(answer.startswith(" ") and answer == answer.rstrip() for answer in (fact.answer, *fact.wrong))
        assert fact.prompt == fact.prompt.rstrip()
        assert fact.subject


def test_a_missing_fact_file_is_wrong_usage(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    done = itx(*words, "--facts", tmp_path / "none.jsonl")
    assert done.code == 2
    assert not (tmp_path / "run").exists()
