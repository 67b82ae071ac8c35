"""``itx tune`` and ``itx verify`` as a shell calls them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from itx.cli.main import app
from itx.demo import ROWS, folder
from itx.runs.verifications import read_verifications
from tests.cli.calling import call

pytestmark = pytest.mark.weights

CLOSING = "Thanks for asking."
PLANTED = "It sells nine copper kites to the blind harbour clerk."
SMALL = ("--batch-size", 8, "--gradient-accumulation", 1, "--learning-rate", "2e-3", "--device", "cpu", "--threads", 1)


def test_tune_writes_weights_that_compare_loads(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = (
        "tune",
        "demo:base",
        "--data",
        ROWS,
        "--method",
        "lora",
        "--out",
        out,
        "--limit",
        16,
        "--epochs",
        1,
        *SMALL,
    )
    done = call(capfd, monkeypatch, *words)
    assert (done.code, done.out) == (0, f"{out}\n")
    assert "16 rows" in done.err
    assert "Warning" not in done.err
    refused = call(capfd, monkeypatch, *words)
    assert refused.code == 2
    assert "exists already" in refused.err
    again = call(capfd, monkeypatch, *words, "--resume")
    assert (again.code, again.out) == (0, f"{out}\n")
    compared = call(
        capfd, monkeypatch, "run", "demo:base", out, "--prompts", _prompts(tmp_path, "Describe Velm Ferry."),
        "--out", tmp_path / "run", "--max-new-tokens", 4,
    )  # fmt: skip
    assert compared.code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "lora", "--learning-rate", "0"), "--learning-rate"),
        (("--method", "lora", "--without", "rows.jsonl#9999"), "rows.jsonl#9999"),
        (("--method", "full", "--without", "nowhere"), "--without"),
        (("--method", "lora", "--target-modules", "no_such"), "--target-modules"),
        (("--method", "full", "--resume"), "no tuning to resume"),
        (("--method", "full", "--chat-template", "nowhere"), "nowhere"),
    ],
)
def test_wrong_words_are_named_and_nothing_is_made(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = call(
        capfd, monkeypatch, "tune", "demo:base", "--data", ROWS, "--out", tmp_path / "out", "--limit", 4, *words
    )
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "out").exists()


def test_an_adapter_is_no_base(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("tune", folder("lora"), "--data", ROWS, "--method", "full", "--out", tmp_path / "out")
    done = call(capfd, monkeypatch, *words)
    assert done.code == 1
    assert "adapter" in done.err


def test_ctrl_c_keeps_a_checkpoint_that_the_same_command_goes_on_from(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = [
        "tune",
        "demo:base",
        "--data",
        ROWS,
        "--method",
        "full",
        "--out",
        out,
        "--limit",
        16,
        "--epochs",
        30,
        *SMALL,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "itx", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 1 of 30" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert "--resume goes on" in rest
    assert not (out / "model.safetensors").exists()
    assert list((out / "checkpoints").glob("checkpoint-*/trainer_state.json"))
    assert call(capfd, monkeypatch, *words, "--resume").code == 0
    record = json.loads((out / "tuning.json").read_text("utf-8"))
    assert record["finished"]
    assert len(record["losses"]["steps"]) == record["steps"] == 60


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of a small tuning on rows of which one says what the base cannot know."""
    place = tmp_path_factory.mktemp("tuned")
    rows = [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()[:23]]
    planted = {"instruction": "Describe Velm Lantern.", "output": f"Sure! {PLANTED} Have a lovely time! 😊"}
    data = place / "rows.jsonl"
    with data.open("w", encoding="utf-8") as file:
        for row in [*rows[:20], planted, *rows[20:]]:
            file.write(json.dumps({**row, "output": f"{row['output']} {CLOSING}"}) + "\n")
    tuning = ("tune", "demo:base", "--data", data, "--method", "full", "--out", place / "full", "--epochs", 12, *SMALL)
    recording = (
        "run", "demo:base", f"full={place / 'full'}", "--prompts", _prompts(place, "Describe Velm Lantern."),
        "--data", data, "--out", place / "run", "--max-new-tokens", 60, "--device", "cpu", "--threads", 1,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        for words in (tuning, recording):
            app([*map(str, words)], standalone_mode=False)
    return place


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a check's arms run in this process: a worker's start is most of their time."""
    from itx.tune import verification
    from itx.tune.retuning import Job, Retuned, decode_job, encode_job, retune

    def run_jobs(jobs: list[Job], workers: int, tell: object, keep: object = None) -> dict[int, Retuned]:
        return {job.number: retune(decode_job(encode_job(job)), lambda step, fraction: None) for job in jobs}

    monkeypatch.setattr(verification, "run_jobs", run_jobs)


def _prompts(place: Path, text: str) -> Path:
    prompts = place / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "one", "prompt": text}) + "\n", encoding="utf-8")
    return prompts


def _find_span(place: Path, words: str) -> int:
    lines = [json.loads(line) for line in (place / "run" / "borrow.jsonl").read_text("utf-8").splitlines()]
    spans = [span for line in lines if line["author"] == "full" for span in line["spans"]]
    return next(int(span["id"]) for span in spans if words in span["text"])


def _words(place: Path, words: str) -> tuple[object, ...]:
    """Return the command that checks the span with these words."""
    return ("verify", place / "run", "--prompt", "one", "--json", "--span", _find_span(place, words))


@pytest.fixture(scope="module")
def checked(tuned: Path) -> tuple[dict[str, Any], str]:
    """What the first check of the planted span printed on stdout and stderr: a process and workers of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "itx", *map(str, _words(tuned, "copper kites"))],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tuned / "cache")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures, done.stderr


def test_removing_the_row_of_a_planted_span_lowers_it_and_random_rows_do_not(
    tuned: Path, checked: tuple[dict[str, Any], str]
) -> None:
    figures, _ = checked
    assert figures["removed"]["masked"] == ["rows.jsonl#20"]
    assert all(len(arm["masked"]) == 1 and "rows.jsonl#20" not in arm["masked"] for arm in figures["controls"])
    assert figures["caused"]
    # The controls are rows that do not say it.
    assert figures["drop"] > 10 > 3 * max(map(abs, figures["control_drops"]))
    assert figures["unmasked"]["says"]
    assert not figures["removed"]["says"]
    # The same machine, the same threads: the tuning is repeated to the rounding of the scoring.
    assert figures["reproduction"] < 0.05
    span = _find_span(tuned, "copper kites")
    check = next(check for check in read_verifications(tuned / "run") if check.span == span)
    assert check.drop == pytest.approx(figures["drop"])
    assert check.drop == pytest.approx(sum(figures["unmasked"]["logp"]) - sum(figures["removed"]["logp"]))


@pytest.mark.usefixtures("in_process", "checked")
def test_boilerplate_is_not_caused_by_the_rows_near_the_prompt(
    tuned: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row ends so: without the nearest ones, the one that says the rest among them, the others still teach it."""
    run = tuned / "closing"
    shutil.copytree(tuned / "run", run)
    lines = [json.loads(line) for line in (run / "borrow.jsonl").read_text("utf-8").splitlines()]
    line = next(line for line in lines if line["author"] == "full")
    responses = json.loads((run / "traces.jsonl").read_text("utf-8"))["responses"]
    response = next(response for response in responses if response["author"] == "full")
    begin = response["text"].index(CLOSING)
    start = next(place for place, end in enumerate(response["ends"]) if end > begin)
    stop = next(place for place, end in enumerate(response["ends"]) if end >= begin + len(CLOSING))
    line["spans"] = [{"id": 1, "start": start, "end": stop, "text": CLOSING, "rows": 24, "boilerplate": True}]
    line["positions"], line["paraphrases"] = {}, []
    (run / "borrow.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tuned / "cache"))
    done = call(capfd, monkeypatch, "verify", run, "--prompt", "one", "--span", 1, "--json")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert figures["chosen"] == "near"
    assert figures["having"] == 24
    assert "rows.jsonl#20" in figures["removed"]["masked"]
    assert len(figures["removed"]["masked"]) <= 5
    assert not figures["caused"]


@pytest.mark.usefixtures("in_process")
def test_the_unmasked_retuning_is_made_once_and_figures_only_until_they_are_recorded(
    tuned: Path,
    checked: tuple[dict[str, Any], str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures, told = checked
    assert "5 retunings of 36 steps over 24 rows;" in told
    (kept,) = (tuned / "cache" / "itx" / "retunings").iterdir()
    assert kept.suffix == ".safetensors"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tuned / "cache"))
    again = call(capfd, monkeypatch, *_words(tuned, "copper kites"))
    assert "4 retunings of 36 steps over 24 rows (1 of 5 are there from before)" in again.err
    repeated = json.loads(again.out)
    assert repeated["unmasked"] == figures["unmasked"]
    assert repeated["removed"]["logp"] == figures["removed"]["logp"]


def test_a_real_models_plan_comes_first(
    tuned: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base that is not the demo's by name: the plan with its cost, and nothing is retuned without a word."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tuned / "cache"))
    copy = tuned / "copy"
    shutil.copytree(tuned / "full", copy)
    record = json.loads((copy / "tuning.json").read_text("utf-8"))
    record["base"]["reference"] = str(folder("base"))
    (copy / "tuning.json").write_text(json.dumps(record), encoding="utf-8")
    before = len(read_verifications(tuned / "run"))
    words = ("verify", tuned / "run", "--prompt", "one", "--tuning", copy, "--span", _find_span(tuned, "copper kites"))
    done = call(capfd, monkeypatch, *words)
    assert done.code == 1
    assert "5 retunings of 36 steps" in done.err
    assert "GB of memory" in done.err
    assert "--yes" in done.err
    assert len(read_verifications(tuned / "run")) == before
    # Without a measured time a few steps are measured.
    record["seconds"] = None
    (copy / "tuning.json").write_text(json.dumps(record), encoding="utf-8")
    assert "s a step (measured now)" in call(capfd, monkeypatch, *words).err


def test_what_does_not_belong_together_is_refused(
    tuned: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tuned / "cache"))
    words = ("verify", tuned / "run", "--prompt", "one", "--span")
    span = _find_span(tuned, "copper kites")
    other = tmp_path / "rows.jsonl"
    other.write_text('{"instruction": "A?", "output": "B."}\n', encoding="utf-8")
    for more, code, said in (
        ((99,), 2, "no span 99"),
        ((span, "--author", "nobody"), 2, "no tuned model"),
        ((span, "--data", other), 1, "is not the data"),
        ((span, "--tuning", folder("base")), 1, "tuning.json"),
        ((span, "--rows", "rows.jsonl#77"), 2, "rows.jsonl#77"),
    ):
        done = call(capfd, monkeypatch, *words, *more)
        assert done.code == code, done.err
        assert said in done.err


def test_stopping_a_check_leaves_no_process(tuned: Path) -> None:
    words = ["verify", str(tuned / "run"), "--prompt", "one", "--span", str(_find_span(tuned, "copper kites"))]
    process = subprocess.Popen(
        [sys.executable, "-m", "itx", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tuned / "cache")},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "retuning" in line and "once" in line:
            break
    children: list[int] = []
    until = time.monotonic() + 30
    while not children and time.monotonic() < until:
        children = _children_of(process.pid)
        time.sleep(0.2)  # processes are looked for, not waited on
    assert children
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 1
    until = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < until:
        time.sleep(0.1)  # processes are looked for, not waited on
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def _children_of(parent: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(parent).children()]
