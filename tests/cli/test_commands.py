"""The commands from words to files, on random tiny weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from itx.records import Trace
from itx.runs.recording import Recording
from tests.cli.calling import Outcome, call
from tests.support.traces import build_run, build_traces, write_run

Caller = Callable[..., Outcome]


@pytest.fixture
def itx(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    return lambda *words: call(capfd, monkeypatch, *words)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"id": "a", "prompt": "river"}\n{"id": "b", "prompt": "town", "reference": "Known."}\n')
    return path


def read(folder: Path) -> dict[str, Trace]:
    return {trace.prompt_id: trace for trace in Recording.open(folder).traces()}


def test_run_records_every_pair_and_resumes(itx: Caller, weights: Path, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("run", weights / "base", f"full={weights / 'full'}", f"lora={weights / 'lora'}",
             "--out", out, "--max-new-tokens", 6, "--prompts", prompts)  # fmt: skip
    first = itx(*words, "--limit", 1)
    assert (first.code, first.out.strip()) == (0, str(out))
    whole = itx(*words)
    assert whole.code == 0
    assert "1 of 2 prompts are recorded already" in whole.err
    traces = read(out)
    assert list(traces) == ["a", "b"]
    assert traces["b"].reference == "Known."
    for trace in traces.values():
        pairs = {(response.author, scorer) for response in trace.responses for scorer in response.scores}
        assert pairs == {(a, s) for a in ("base", "full", "lora") for s in ("base", "full", "lora") if a != s}
    assert json.loads((out / "run.json").read_text())["command"][:2] == ["itx", "run"]


def test_resuming_with_other_decoding_is_refused(itx: Caller, weights: Path, prompts: Path, tmp_path: Path) -> None:
    words = ("run", weights / "base", weights / "full", "--prompts", prompts, "--out", tmp_path / "run")
    assert itx(*words, "--max-new-tokens", 3, "--authors", "tuned").code == 0
    again = itx(*words, "--max-new-tokens", 4, "--authors", "tuned")
    assert again.code != 0
    assert "max-new-tokens was 3, now 4" in again.err
    others = itx(*words, "--max-new-tokens", 3, "--authors", "all")
    assert others.code == 1
    assert "authors was" in others.err


def test_broken_lines_are_named_and_the_rest_runs(itx: Caller, weights: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"id": "a", "prompt": "river"}\n{"id": "b"\n')
    done = itx("run", weights / "base", weights / "full", "--prompts", prompts, "--out", tmp_path / "run",
               "--max-new-tokens", 3)  # fmt: skip
    assert done.code == 3
    assert "line 2" in done.err
    assert list(read(tmp_path / "run")) == ["a"]


def test_given_responses_are_scored_and_not_generated(itx: Caller, weights: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.jsonl"
    given.write_text('{"id": "a", "prompt": "river", "response": "The river is long.", "author": "base"}\n')
    done = itx("run", weights / "base", f"full={weights / 'full'}", "--responses", given, "--out", tmp_path / "run")
    assert done.code == 0
    (response,) = read(tmp_path / "run")["a"].responses
    assert (response.author, response.given, response.text) == ("base", True, "The river is long.")
    assert set(response.scores) == {"full"}


def test_changed_responses_are_not_taken_for_those_recorded(itx: Caller, weights: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.jsonl"
    words = ("run", weights / "base", f"full={weights / 'full'}", "--max-new-tokens", 3, "--out", tmp_path / "run")
    given.write_text('{"id": "a", "prompt": "river", "response": "FIRST"}\n')
    assert itx(*words, "--responses", given).code == 0
    assert itx(*words, "--responses", given).code == 0
    given.write_text('{"id": "a", "prompt": "river", "response": "SECOND"}\n')
    for option in ("--responses", "--prompts"):
        changed = itx(*words, option, given)
        assert changed.code == 1
        assert "under the id 'a'" in changed.err
        assert "--out" in changed.err
    assert read(tmp_path / "run")["a"].responses[0].text == "FIRST"


def test_run_needs_one_of_prompts_and_responses(itx: Caller, weights: Path, prompts: Path, tmp_path: Path) -> None:
    models = (weights / "base", weights / "full")
    assert itx("run", *models, "--out", tmp_path / "run").code == 2
    both = itx("run", *models, "--out", tmp_path / "run", "--prompts", prompts, "--responses", prompts)
    assert both.code == 2
    assert not (tmp_path / "run").exists()


def test_compare_without_a_screen_prints_and_records(itx: Caller, weights: Path, state: Path) -> None:
    done = itx("compare", weights / "lora", "--prompt", "Tell me about the river", "--max-new-tokens", 5)
    assert done.code == 0
    assert "tuned answered, scored by base" in done.out
    (folder,) = (state / "runs").iterdir()
    assert str(folder) in done.err
    last = itx("open", "--last")
    assert last.code == 0
    assert last.out == done.out


def test_compare_without_a_screen_or_prompt_is_wrong_usage(itx: Caller, weights: Path, state: Path) -> None:
    done = itx("compare", weights / "base", weights / "full")
    assert done.code == 2
    assert "--prompt" in done.err
    assert not state.exists()


def test_export_and_report_agree_with_the_run(itx: Caller, recorded: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    assert itx("export", recorded, "--format", "jsonl", "-o", table).code == 0
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    own = [row for row in rows if (row["author"], row["scorer"]) == ("full", "base") and row["category"] != "eos"]
    report = json.loads(itx("report", recorded, "--json").out)["models"]["full"]
    assert report["positions"] == len(own)
    assert report["shifted"] == pytest.approx(sum(row["shift"] == "shifted" for row in own) / len(own))
    assert report["kl_mean"] == pytest.approx(sum(row["kl_author_scorer"] for row in own) / len(own))
    assert itx("export", recorded, "--format", "md", "-o", tmp_path / "t.md").code == 0
    assert "shifted" in (tmp_path / "t.md").read_text()


def test_report_writes_a_file(itx: Caller, recorded: Path, tmp_path: Path) -> None:
    printed = itx("report", recorded)
    written = itx("report", recorded, "-o", tmp_path / "r.md")
    assert written.out == ""
    # A terminal gets plain text that fits it, a file Markdown; both have the same figures.
    shown = re.findall(r"\d+\.\d \(\d+\.\d–\d+\.\d\)", printed.out)
    assert shown
    assert set(shown) <= set(re.findall(r"\d+\.\d \(\d+\.\d–\d+\.\d\)", (tmp_path / "r.md").read_text()))


def test_an_output_that_is_the_run_itself_is_refused(itx: Caller, recorded: Path) -> None:
    traces = recorded / "traces.jsonl"
    before = traces.read_bytes()
    for words in (("export", recorded, "--format", "jsonl", "-o", traces), ("report", recorded, "-o", traces)):
        refused = itx(*words)
        assert refused.code == 2
        assert "traces.jsonl is a part of a recorded run" in refused.err
    assert traces.read_bytes() == before


def test_open_needs_a_folder_or_last(itx: Caller, recorded: Path, tmp_path: Path) -> None:
    assert itx("open", recorded, "--last").code == 2
    missing = itx("open", tmp_path / "none")
    assert missing.code == 1
    assert "none" in missing.err


@pytest.mark.parametrize("words", [["--nonsense"], ["compare"], ["export", ".", "--format", "xml", "-o", "x"]])
def test_wrong_words_exit_two(itx: Caller, words: list[str]) -> None:
    assert itx(*words).code == 2


def test_a_line_cut_short_is_said_and_left_out(itx: Caller, recorded: Path) -> None:
    traces = recorded / "traces.jsonl"
    whole = itx("report", recorded, "--json")
    assert whole.err == ""
    before = json.loads(whole.out)["models"]["full"]["positions"]
    lines = traces.read_bytes().splitlines(keepends=True)
    traces.write_bytes(b"".join(lines) + lines[0][:100])
    cut = itx("report", recorded, "--json")
    assert "cut short" in cut.err
    assert json.loads(cut.out)["models"]["full"]["positions"] == before


def test_the_library_without_a_screen_lists_every_run(itx: Caller, tmp_path: Path, state: Path) -> None:
    nothing = itx("open")
    assert nothing.code == 1
    assert "itx demo" in nothing.err
    run = build_run(("lora",))
    folder = write_run(tmp_path / "shelf" / "new", run, build_traces(run))
    write_run(state / "runs" / "old", build_run(created="2026-11-20T10:00:00Z"), [])
    shares = json.loads(itx("report", folder, "--json").out)["models"]["lora"]
    for words in ([], [tmp_path / "shelf"]):
        listed = itx("open", *words)
        assert listed.code == 0
        lines = listed.out.splitlines()
        assert len(lines) == 1 + len(words)
        assert str(state / "runs" / "old") in lines[-1]
    assert f"{100 * shares['shifted']:.1f} % shifted" in lines[0]
    assert str(folder) in lines[0]
    assert itx("open", tmp_path / "shelf", "--data", tmp_path).code == 2
