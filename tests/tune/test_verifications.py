"""``verify.jsonl``: what is written is read, and what it says of a span."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from itx.errors import ItxError, MemoryExhaustedError, RunError
from itx.records import Decoding, Response, Trace
from itx.runs.borrowings import fingerprint_response
from itx.runs.verifications import Arm, Verification, append_verification, read_verifications
from itx.tune.recipe import Recipe
from itx.tune.request import TuneRequest
from itx.tune.retuning import Job, decode_job, encode_job
from itx.tune.workers import run_jobs


def arm(*logp: float, **changes: Any) -> Arm:
    words: dict[str, Any] = {"response_logp": -9.0, "text": "so", "says": True, "last_loss": 0.1, "seconds": 1.0}
    return Arm(logp=list(logp), **(words | changes))


RESPONSE = Response(author="full", ids=[5, 6, 7], text="so it goes", finish="length", logp=[-0.5, -0.25, -1.0])


def check(**changes: Any) -> Verification:
    words: dict[str, Any] = {
        "time": "2026-11-25T08:00:00Z",
        "prompt_id": "one",
        "author": "full",
        "span": 2,
        "start": 1,
        "end": 3,
        "text": "it goes",
        "response": fingerprint_response(RESPONSE),
        "chosen": "all",
        "having": 1,
        "seed": 0,
        "recorded": [-0.25, -1.0],
        "unmasked": arm(-0.5, -1.0),
        "removed": arm(-5.0, -4.0, masked=["r#1"]),
        "controls": [arm(-0.5, -2.0), arm(-0.5, -0.5), arm(-1.0, -1.0)],
    }
    return Verification(**(words | changes))


def test_the_figures_of_a_check() -> None:
    one = check()
    assert one.drop == 7.5
    assert one.control_drops == [1.0, -0.5, 0.5]
    assert one.reproduction == 0.25
    assert one.caused


@pytest.mark.parametrize(("removed", "caused"), [(-5.5, True), (-5.4, False), (-1.0, False), (0.0, False)])
def test_a_cause_takes_three_nats_more_than_every_control(removed: float, caused: bool) -> None:
    assert check(removed=arm(removed, 0.0)).caused is caused


def test_checks_are_added_and_read_in_order(tmp_path: Path) -> None:
    assert read_verifications(tmp_path) == []
    checks = [check(), check(span=3), check(seed=1)]
    for one in checks:
        append_verification(tmp_path, one)
    assert read_verifications(tmp_path) == checks


def test_a_line_that_was_cut_short_is_left_out_and_set_aside(tmp_path: Path) -> None:
    append_verification(tmp_path, check())
    path = tmp_path / "verify.jsonl"
    path.write_bytes(path.read_bytes() + b'{"time": "2026')
    assert read_verifications(tmp_path) == [check()]
    append_verification(tmp_path, check(span=3))
    assert [one.span for one in read_verifications(tmp_path)] == [2, 3]


def test_a_line_whose_figures_do_not_fit_its_span_is_named(tmp_path: Path) -> None:
    append_verification(tmp_path, check())
    path = tmp_path / "verify.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"end":3', b'"end":4'))
    with pytest.raises(RunError, match=r"verify\.jsonl, line 1"):
        read_verifications(tmp_path)
    with pytest.raises(RunError, match="cannot be recorded"):
        append_verification(tmp_path, check(unmasked=arm(-1.0)))


def test_a_finding_obeys_no_terminal() -> None:
    from itx.cli.verify import write_check

    trace = Trace(prompt_id="one", prompt="p", responses=[RESPONSE], pieces={6: "\x1b[31m it", 7: " goes"})
    hostile = check(text="it\x1b]0;x\x07 goes", unmasked=arm(-0.5, -1.0, text="\x1b[2Jso\r"))
    text = write_check(hostile, trace)
    assert not {character for character in text if ord(character) < 32 and character != "\n"}
    assert "removal lowered the span's log-prob by 7.50 nats (controls lowered it by -0.50 … 1.00)" in text


def job(number: int = 0) -> Job:
    request = TuneRequest(
        base="demo:base", data="rows.jsonl", recipe=Recipe(method="full"), resolved={"demo:base": Path("x")}
    )
    return Job(
        number=number, request=request, masked=["r#1"], rows=[], context=[1], response=[2], prompt_id="one",
        author="full", decoding=Decoding(),
    )  # fmt: skip


def test_a_job_survives_its_way_to_a_worker() -> None:
    assert decode_job(encode_job(job())) == job()


def let_workers_run(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    start = subprocess.Popen
    monkeypatch.setattr(
        "itx.tune.workers.subprocess.Popen", lambda words, **more: start([sys.executable, "-c", program], **more)
    )


def test_a_worker_that_the_system_killed_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    let_workers_run(monkeypatch, "import os; input(); os.kill(os.getpid(), 9)")
    with pytest.raises(MemoryExhaustedError, match="--jobs 1"):
        run_jobs([job(), job(1)], 2, lambda number, step, fraction: None)


def test_a_worker_that_fails_leaves_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    let_workers_run(monkeypatch, "input(); raise ValueError('no such thing')")
    with pytest.raises(ItxError, match="no such thing"):
        run_jobs([job()], 1, lambda number, step, fraction: None)


def test_an_error_of_an_arm_is_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = '{"type": "failed", "number": 0, "cause": "C", "remedy": "R"}'
    let_workers_run(monkeypatch, f"input(); print({answer!r}, flush=True); input()")
    with pytest.raises(ItxError) as caught:
        run_jobs([job()], 1, lambda number, step, fraction: None)
    assert (caught.value.cause, caught.value.remedy) == ("C", "R")


def test_every_job_is_done_and_its_steps_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import json, sys
for line in sys.stdin:
    number = json.loads(line)["number"]
    print(json.dumps({"type": "told", "number": number, "step": "tuning", "fraction": 0.5}), flush=True)
    print(json.dumps({"type": "retuned", "number": number, "logp": [-1.0], "text": "", "masked_tokens": 0,
                      "last_loss": 0.0, "steps": 1, "seconds": 0.0}), flush=True)
"""
    let_workers_run(monkeypatch, program)
    heard: list[int] = []
    kept: list[int] = []
    done = run_jobs(
        [job(number) for number in range(5)],
        2,
        lambda number, step, fraction: heard.append(number),
        lambda figures: kept.append(figures.number),
    )
    assert sorted(done) == sorted(heard) == sorted(kept) == list(range(5))
