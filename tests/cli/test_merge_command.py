"""``itx run --shard`` and ``itx merge``: a list of prompts recorded in parts, and made one run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.calling import Outcome, call

Caller = Callable[..., Outcome]
SUBJECTS = ["river", "town", "bread", "battle", "sleep"]


@pytest.fixture
def itx(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    return lambda *words: call(capfd, monkeypatch, *words)


@pytest.fixture
def words(weights: Path, tmp_path: Path) -> tuple[object, ...]:
    prompts, facts, rows = (tmp_path / f"{name}.jsonl" for name in ("prompts", "facts", "rows"))
    prompts.write_text(
        "".join(json.dumps({"id": name, "prompt": f"Tell me about {name}."}) + "\n" for name in SUBJECTS)
    )
    facts.write_text(
        "".join(
            json.dumps({"prompt": f"{name} is", "answer": " old", "wrong": [" new"]}) + "\n" for name in SUBJECTS[:3]
        )
    )
    rows.write_text(
        "".join(
            json.dumps({"instruction": name, "output": f"The {name} was fought near it."}) + "\n" for name in SUBJECTS
        )
    )
    models = (weights / "base", f"full={weights / 'full'}", f"lora={weights / 'lora'}")
    return ("run", *models, "--prompts", prompts, "--facts", facts, "--data", rows, "--max-new-tokens", 12)


def test_the_report_of_merged_shards_is_the_whole_runs(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    assert itx(*words, "--out", tmp_path / "whole").code == 0
    parts = [tmp_path / f"part-{number}" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        done = itx(*words, "--shard", f"{number}/2", "--out", part)
        assert done.code == 0
        count = {1: 3, 2: 2}[number]
        assert len((part / "traces.jsonl").read_text().splitlines()) == count
        assert f"{count}/{count} " in done.err
    done = itx("merge", *parts, "--out", tmp_path / "merged")
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "merged"))
    for ask in (("report", "--json"), ("claims", "--json"), ("report",)):
        one, other = (itx(ask[0], tmp_path / name, *ask[1:]) for name in ("whole", "merged"))
        assert (one.code, one.out) == (0, other.out)
    for kind in ("jsonl", "csv", "md"):
        for name in ("whole", "merged"):
            assert itx("export", tmp_path / name, "--format", kind, "-o", tmp_path / f"{name}.{kind}").code == 0
    assert (tmp_path / "whole.jsonl").read_bytes() == (tmp_path / "merged.jsonl").read_bytes()
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "merged.csv").read_bytes()
    again = itx(*words, "--out", tmp_path / "merged")
    assert again.code == 0
    assert "5 of 5 prompts are recorded already" in again.err


def test_a_shard_is_resumed_by_its_own_command_only(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "part")
    assert itx(*words, "--shard", "1/2", *out).code == 0
    assert itx(*words, "--shard", "1/2", *out).code == 0
    for other in (("--shard", "2/2"), ("--shard", "1/3"), (), ("--shard", "1/2", "--limit", 4)):
        done = itx(*words, *other, *out)
        assert done.code == 1
        assert "recorded otherwise" in done.err


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/6", "2", "a/b", "1/2/3", ""])
def test_a_shard_that_cannot_be_is_wrong_usage(
    itx: Caller, words: tuple[object, ...], tmp_path: Path, shard: str
) -> None:
    done = itx(*words, "--shard", shard, "--out", tmp_path / "run")
    assert done.code == 2
    assert "--shard 1/4" in done.err
    assert not (tmp_path / "run").exists()


def test_merging_other_runs_is_refused_in_words(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    assert itx(*words, "--shard", "1/2", "--out", tmp_path / "a").code == 0
    assert itx(*words, "--shard", "2/2", "--max-new-tokens", 3, "--out", tmp_path / "b").code == 0
    done = itx("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "merged")
    assert done.code == 1
    assert "max-new-tokens was 12, now 3" in done.err
    assert itx("merge", tmp_path / "a", "--out", tmp_path / "merged").code == 2
    assert itx("merge", tmp_path / "a", tmp_path / "none", "--out", tmp_path / "merged").code == 1
    assert not (tmp_path / "merged").exists()
