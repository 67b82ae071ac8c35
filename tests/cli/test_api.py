"""The names for Python programs: what they record and return is what the commands do."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import itx
from itx.cli.report import write_json
from itx.errors import InputError, ItxError, MissingExtraError, RunError, UsageError
from itx.records import Prompt
from tests.cli.calling import call

PROMPTS = ["river", "town"]


@pytest.fixture
def tuned(weights: Path) -> dict[str, str | Path]:
    return {"full": weights / "full", "lora": str(weights / "lora")}


def ask(weights: Path, tuned: dict[str, str | Path], out: Path, prompts: list[str] = PROMPTS) -> itx.RecordedRun:
    return itx.run(weights / "base", tuned, out=out, prompts=prompts, max_new_tokens=5)


def test_a_run_is_the_commands(
    weights: Path,
    tuned: dict[str, str | Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(PROMPTS))
    recorded = ask(weights, tuned, tmp_path / "api")
    assert capfd.readouterr().out == ""
    words = [weights / "base", *(f"{name}={reference}" for name, reference in tuned.items())]
    done = call(capfd, monkeypatch, "run", *words, "--prompts", file, "--max-new-tokens", 5, "--out", tmp_path / "cli")
    assert done.code == 0
    lines = [(tmp_path / name / "traces.jsonl").read_text().splitlines() for name in ("api", "cli")]
    assert [json.loads(line) for line in lines[0]] == [json.loads(line) for line in lines[1]]
    assert recorded.run.command == ["itx.run", *map(str, words)]
    assert recorded.prompts == {"1": "river", "2": "town"}
    assert recorded.failed == {}
    assert [trace.prompt_id for trace in recorded] == ["1", "2"]
    assert recorded["2"].prompt == "town"
    with pytest.raises(KeyError):
        recorded["3"]


def test_the_same_call_goes_on_and_another_one_is_refused(
    weights: Path, tuned: dict[str, str | Path], tmp_path: Path
) -> None:
    assert len(ask(weights, tuned, tmp_path / "run", PROMPTS[:1])) == 1
    first = (tmp_path / "run" / "traces.jsonl").read_bytes()
    assert len(ask(weights, tuned, tmp_path / "run")) == 2
    assert (tmp_path / "run" / "traces.jsonl").read_bytes().startswith(first)
    with pytest.raises(RunError, match="max-new-tokens was 5, now 6"):
        itx.run(weights / "base", tuned, out=tmp_path / "run", prompts=PROMPTS, max_new_tokens=6)


def test_prompts_that_fail_are_named(weights: Path, tuned: dict[str, str | Path], tmp_path: Path) -> None:
    recorded = ask(weights, tuned, tmp_path / "run", ["river", "dark " * 700])
    assert list(recorded.failed) == ["2"]
    assert "window" in recorded.failed["2"]
    with pytest.raises(RunError, match="Nothing could be recorded"):
        ask(weights, tuned, tmp_path / "other", ["dark " * 700])


def test_facts_data_and_settings_reach_the_run(weights: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "river", "output": "A river flows."}\n')
    facts = tmp_path / "facts.jsonl"
    facts.write_text('{"prompt": "It ended the", "answer": " war", "wrong": [" rain"]}\n')
    recorded = itx.run(
        str(weights / "base"),
        weights / "full",
        out=tmp_path / "run",
        prompts=[Prompt(id="a", prompt="river")],
        data=rows,
        facts=facts,
        authors="tuned",
        max_new_tokens=4,
        engine="torch",
        device="cpu",
    )
    assert [model.name for model in recorded.run.models] == ["base", "tuned"]
    assert recorded.run.data is not None
    assert [probe.answer for probe in recorded.facts()] == [" war"]
    assert set(recorded.borrowings(recorded["a"])) == {"tuned"}
    assert recorded.report().knowledge is not None
    assert recorded.marks() == []


def test_given_responses_are_scored(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    path.write_text('{"id": "a", "prompt": "river", "response": "A river flows."}\n')
    recorded = itx.run(weights / "base", weights / "full", out=tmp_path / "run", responses=path)
    assert [response.given for response in recorded["a"].responses] == [True]


def test_what_cannot_be_meant_is_said(weights: Path, tmp_path: Path) -> None:
    base, full, out = weights / "base", weights / "full", tmp_path / "run"
    with pytest.raises(UsageError, match="needs prompts or responses"):
        itx.run(base, full, out=out)
    with pytest.raises(UsageError, match="empty"):
        itx.run(base, full, out=out, prompts=[])
    with pytest.raises(UsageError, match="The prompt 2 is empty"):
        itx.run(base, full, out=out, prompts=["river", " "])
    with pytest.raises(UsageError, match="the id 'a'"):
        itx.run(base, full, out=out, prompts=[Prompt(id="a", prompt="x"), Prompt(id="a", prompt="y")])
    with pytest.raises(UsageError, match="engine='cuda'"):
        itx.run(base, full, out=out, prompts=PROMPTS, engine="cuda")
    with pytest.raises(TypeError, match="max_tokens"):
        itx.run(base, full, out=out, prompts=PROMPTS, max_tokens=3)
    with pytest.raises((UsageError, InputError)):
        itx.run(base, full, out=out, prompts=tmp_path / "none.jsonl")
    with pytest.raises(ItxError):
        itx.run(base, tmp_path / "no model", out=out, prompts=PROMPTS)
    with pytest.raises(RunError):
        itx.open_run(tmp_path / "no run")
    assert not out.exists()
    with pytest.raises(AttributeError):
        itx.__getattr__("compare")


def test_the_table_is_the_export(
    recorded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = itx.open_run(recorded)
    table = opened.table()
    assert isinstance(table, pa.Table)
    for kind in ("jsonl", "parquet"):
        assert call(capfd, monkeypatch, "export", recorded, "--format", kind, "-o", tmp_path / f"t.{kind}").code == 0
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    assert table.to_pylist() == rows
    frame = table.to_pandas()
    pd.testing.assert_frame_equal(frame, pd.read_parquet(tmp_path / "t.parquet"))
    printed = json.loads(call(capfd, monkeypatch, "report", recorded, "--json").out)
    assert json.loads(write_json(opened.report())) == {
        **printed,
        "study": {**printed["study"], "patterns": json.loads(write_json(opened.report()))["study"]["patterns"]},
    }
    claims = json.loads(call(capfd, monkeypatch, "claims", recorded, "--json").out)
    assert [claim["verdict"] for claim in claims["claims"]] == [claim.verdict for claim in opened.claims().claims]


def test_without_pyarrow_the_extra_is_named(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="pyarrow"):
        itx.open_run(recorded).table()


def test_a_thread_may_record(weights: Path, tuned: dict[str, str | Path], tmp_path: Path) -> None:
    worker = threading.Thread(target=ask, args=(weights, tuned, tmp_path / "run"))
    worker.start()
    worker.join(60)
    assert len(itx.open_run(tmp_path / "run")) == 2


@pytest.mark.parametrize("kind", [str, Path])
def test_a_tokenizer_may_be_named_either_way(kind: type, weights: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "river", "output": "A river flows past the town."}\n')
    recorded = itx.run(
        weights / "base",
        weights / "full",
        out=tmp_path / "run",
        prompts=["river"],
        data=rows,
        train_max_tokens=3,
        tokenizer=kind(weights / "base"),
        max_new_tokens=3,
    )
    assert recorded.run.data is not None
    assert recorded.run.data.train_max_tokens == 3
