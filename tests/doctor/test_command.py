"""``itx doctor`` as a shell calls it: exit codes, JSON, text without colour."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.calling import Outcome, call
from tests.doctor.clinic import change, edit
from tests.frame.test_imports import HEAVY, loaded_by

Caller = Callable[..., Outcome]
Copy = Callable[[str], Path]


@pytest.fixture
def itx(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    return lambda *words: call(capfd, monkeypatch, "doctor", *words)


def test_help_loads_nothing_heavy() -> None:
    assert loaded_by(["doctor", "--help"], HEAVY) == []


def test_well_models_exit_0_and_the_text_is_plain(itx: Caller, healthy: Path) -> None:
    done = itx(healthy / "base", f"lora={healthy / 'lora'}", f"full={healthy / 'full'}")
    assert done.code == 0
    assert "\x1b" not in done.out
    lines = done.out.splitlines()
    assert all(line == line.rstrip() and len(line) <= 100 for line in lines)
    assert {line.split()[0] for line in lines if line[:4] in {"pass", "warn", "fail"}} == {"pass"}
    assert lines[-1].startswith("0 failed, 0 warnings")


def test_a_warning_alone_exits_0_and_comes_first_with_its_remedy(itx: Caller, healthy: Path, copy: Copy) -> None:
    full = copy("full")
    edit(full / "generation_config.json", repetition_penalty=1.2)
    done = itx(healthy / "base", full)
    assert done.code == 0
    assert done.out.startswith("warn  generation-config")
    assert "→" in done.out
    assert "within what the warnings say" in done.out


def test_a_failure_exits_1_in_text_and_in_json(itx: Caller, healthy: Path, copy: Copy) -> None:
    lora = copy("lora")
    change(lora / "adapter_model.safetensors", lambda name, value: value * 0, only="lora_B")
    done = itx(healthy / "base", lora)
    assert done.code == 1
    assert "fail  effect" in done.out
    assert "would be wrong" in done.out
    done = itx(healthy / "base", lora, "--json")
    assert done.code == 1
    said = json.loads(done.out)
    assert said["ok"] is False
    assert said["models"] == {"base": str(healthy / "base"), "tuned": str(lora)}
    assert set(said) == {"ok", "models", "findings", "floors", "distances", "losses", "skipped"}
    assert all(set(each) == {"check", "status", "subject", "reason", "remedy"} for each in said["findings"])
    failed = [each for each in said["findings"] if each["status"] == "fail"]
    assert [each["check"] for each in failed] == ["effect"]
    assert failed[0]["remedy"]
    assert said["floors"][0]["dtype"] == "float32"


def test_what_is_not_there_exits_1_and_the_rest_is_examined(itx: Caller, healthy: Path, tmp_path: Path) -> None:
    done = itx(healthy / "base", tmp_path / "gone", "--json")
    assert done.code == 1
    said = {(each["check"], each["subject"]): each["status"] for each in json.loads(done.out)["findings"]}
    assert said["found", "tuned"] == "fail"
    assert said["weights", "base"] == said["logits", "base"] == "pass"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("BASE",),
        ("BASE", "no model!"),
        ("BASE", "a=FULL", "a=FULL"),
        ("BASE", "FULL", "--device", "abacus"),
        ("BASE", "FULL", "--chat-template", "unheard-of"),
        ("BASE", "FULL", "--data", "nowhere.jsonl"),
        ("BASE", "FULL", "--columns", "x"),
        ("BASE", "FULL", "--nonsense"),
    ],
)
def test_wrong_usage_exits_2(itx: Caller, healthy: Path, words: tuple[str, ...]) -> None:
    named = [word.replace("BASE", str(healthy / "base")).replace("FULL", str(healthy / "full")) for word in words]
    done = itx(*named)
    assert done.code == 2
    assert done.out == ""
    assert done.err


def test_an_adapter_alone_names_its_base(itx: Caller, healthy: Path) -> None:
    done = itx(healthy / "lora", "--json")
    assert done.code == 0
    assert json.loads(done.out)["models"]["base"] == str(healthy / "base")


def test_data_adds_the_losses_and_broken_data_is_a_finding(itx: Caller, healthy: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"instruction": f"Tip {n}?", "output": f"Sleep {n} hours."}) + "\n"
                            for n in range(4)))  # fmt: skip
    done = itx(healthy / "base", healthy / "full", "--data", rows, "--json")
    said = json.loads(done.out)
    assert done.code == 0
    assert {"alpaca", "chatml", "plain"} < {each["template"] for each in said["losses"]}
    assert all(each["rows"] <= 4 for each in said["losses"])
    rows.write_text("nonsense\n")
    done = itx(healthy / "base", healthy / "full", "--data", rows, "--json")
    assert done.code == 1
    found = [each for each in json.loads(done.out)["findings"] if each["status"] == "fail"]
    assert [each["check"] for each in found] == ["data"]


def test_hostile_names_and_templates_do_not_reach_the_terminal(itx: Caller, healthy: Path, copy: Copy) -> None:
    full = copy("full")
    edit(full / "generation_config.json", bad_words_ids="\x1b]0;owned\x07[red]")
    (full / "chat_template.jinja").write_text("{{ raise_exception('\x1b[2J') }}")
    done = itx(healthy / "base", full)
    assert done.code == 1
    assert not any(mark in done.out + done.err for mark in ("\x1b", "\x07"))
    assert "[red]" in done.out
    assert "\x1b" not in itx(healthy / "base", full, "--json").out
