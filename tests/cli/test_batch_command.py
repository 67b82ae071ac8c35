"""``itx run --batch-size`` and ``--sequential``: what is recorded is what loaded models record prompt by prompt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itx.cli.interrupt import Interrupt
from itx.records import Trace
from itx.runs.facts import read_probes
from itx.runs.recording import Recording
from tests.cli.calling import Outcome, call

Caller = Callable[..., Outcome]
SUBJECTS = ["river", "a town and its walls", "bread", "battle", "Give me tips for better sleep", "x", "ü"]


@pytest.fixture
def itx(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    return lambda *words: call(capfd, monkeypatch, *words)


@pytest.fixture
def words(weights: Path, tmp_path: Path) -> tuple[object, ...]:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"id": f"p{n}", "prompt": text}) + "\n" for n, text in enumerate(SUBJECTS)))
    models = (weights / "base", f"full={weights / 'full'}", f"lora={weights / 'lora'}")
    return ("run", *models, "--prompts", path, "--max-new-tokens", 12, "--chunk", 8)


def read(folder: Path) -> list[Trace]:
    return list(Recording.open(folder).traces())


def check_same(found: list[Trace], expected: list[Trace]) -> None:
    """Ids, ranks and texts are the same; figures in nats within what float32 rounds."""
    assert [trace.prompt_id for trace in found] == [trace.prompt_id for trace in expected]
    for one, other in zip(found, expected, strict=True):
        for first, second in zip(one.responses, other.responses, strict=True):
            assert (first.author, first.ids, first.text) == (second.author, second.ids, second.text)
            for name, score in first.scores.items():
                assert score.rank == second.scores[name].rank
                for column in ("logp", "entropy", "kl_author_scorer", "js"):
                    values = [getattr(each, column) for each in (score, second.scores[name])]
                    assert np.allclose(*values, rtol=1e-4, atol=1e-5)


def test_batches_record_what_single_prompts_do(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    assert itx(*words, "--out", tmp_path / "alone").code == 0
    done = itx(*words, "--batch-size", 3, "--out", tmp_path / "together")
    assert done.code == 0
    check_same(read(tmp_path / "together"), read(tmp_path / "alone"))
    lines = [line for line in done.err.splitlines() if "/7 p" in line]
    assert [line.split()[1] for line in lines] == [f"{number}/7" for number in range(1, 8)]
    assert json.loads((tmp_path / "together" / "run.json").read_text())["engine"]["batch_size"] == 3


def test_a_run_goes_on_with_another_batch_in_float32(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    assert itx(*words, "--batch-size", 2, "--limit", 3, *out).code == 0
    done = itx(*words, *out)
    assert done.code == 0
    assert "3 of 7 prompts are recorded already" in done.err
    assert itx(*words, "--out", tmp_path / "alone").code == 0
    check_same(read(tmp_path / "run"), read(tmp_path / "alone"))


def test_below_float32_another_batch_is_another_run(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run", "--dtype", "bfloat16")
    assert itx(*words, "--batch-size", 2, "--limit", 3, *out).code == 0
    done = itx(*words, *out)
    assert done.code == 1
    assert "batch-size was 2, now 1" in done.err


def test_a_stop_keeps_the_whole_batch(
    itx: Caller, words: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter(range(10**6))
    with monkeypatch.context() as patched:

        def stop(self: Interrupt) -> bool:
            self.asked = self.asked or next(asked) >= 20
            return self.asked

        patched.setattr(Interrupt, "__call__", stop)
        done = itx(*words, "--batch-size", 4, "--out", tmp_path / "run")
    assert done.code == 1
    assert "stopped after 4 of 7 prompts" in done.err
    found = read(tmp_path / "run")
    assert [trace.prompt_id for trace in found] == ["p0", "p1", "p2", "p3"]
    assert any(response.finish == "cancelled" and response.ids for trace in found for response in trace.responses)
    assert itx(*words, "--batch-size", 4, "--out", tmp_path / "run").code == 0
    assert itx(*words, "--out", tmp_path / "alone").code == 0
    check_same(read(tmp_path / "run"), read(tmp_path / "alone"))


def test_a_prompt_that_fails_is_named_alone(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], json.dumps({"id": "long", "prompt": "dark " * 700}), *rows[1:]]))
    done = itx(*words, "--batch-size", 5, "--out", tmp_path / "run")
    assert done.code == 3
    assert "prompt long:" in done.err
    assert [trace.prompt_id for trace in read(tmp_path / "run") if trace.error is not None] == ["long"]
    assert len(read(tmp_path / "run")) == 8


def test_no_batch_is_wrong_usage(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    assert itx(*words, "--batch-size", 0, "--out", tmp_path / "run").code == 2


def test_models_in_turn_record_what_models_together_do(itx: Caller, words: tuple[object, ...], tmp_path: Path) -> None:
    facts = tmp_path / "facts.jsonl"
    facts.write_text('{"prompt": "It ended the", "answer": " war", "wrong": [" rain"]}\n')
    assert itx(*words, "--facts", facts, "--out", tmp_path / "together").code == 0
    done = itx(*words, "--facts", facts, "--sequential", "--out", tmp_path / "in-turn")
    assert done.code == 0
    assert read(tmp_path / "in-turn") == read(tmp_path / "together")
    found = [read_probes(tmp_path / name)[0].models for name in ("in-turn", "together")]
    assert found[0] == found[1]
    # A run is resumed with models loaded either way.
    again = itx(*words, "--out", tmp_path / "in-turn")
    assert again.code == 0
    assert "7 of 7 prompts are recorded already" in again.err


def test_what_cannot_be_in_turn_is_wrong_usage(
    itx: Caller, weights: Path, words: tuple[object, ...], tmp_path: Path
) -> None:
    done = itx(*words, "--sequential", "--batch-size", 2, "--out", tmp_path / "run")
    assert done.code == 2
    prompts = tmp_path / "prompts.jsonl"
    alone = ("run", weights / "base", weights / "lora", "--prompts", prompts, "--sequential", "--out", tmp_path / "run")
    done = itx(*alone)
    assert done.code == 2
    assert "Adapters share" in done.err
