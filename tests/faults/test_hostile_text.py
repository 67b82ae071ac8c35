"""Escape sequences in prompts, output, files' names and recorded runs never reach a terminal."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import msgspec
import pytest

from tests.faults.conftest import World
from tests.faults.running import command, environment, read_traces, run_itx, write_prompts
from tests.support.terminal import Terminal
from tests.support.traces import build_run, build_traces, write_run

pytestmark = pytest.mark.weights

HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x1b[31mred\x9b31m\x1b]52;c;cHduZWQ=\x07\x1bP1$r\x1b\\\u202eback\r\b\x00"
BYTES = (b"pwned\x07", b"\x1b]0;pwned", b"\x1b]52;c;cHduZWQ", "\x9b31m".encode(), b"\x1bP1$r", "\u202e".encode(), b"\0")


def test_through_a_whole_run(world: World, tmp_path: Path) -> None:
    """``run_itx`` itself asserts that neither stream of any command holds a control character."""
    rows = [
        {"id": HOSTILE, "prompt": HOSTILE, "response": HOSTILE, "reference": HOSTILE},
        {"id": "2", "prompt": f"two\n{HOSTILE}", "response": f"```\n| {HOSTILE} <b>"},
        f'{{"id": "{"x" * 10}\u009b31m", "prompt": 7}}',
    ]
    file = write_prompts(tmp_path / "res\x1b[31m.jsonl", rows)
    shown = run_itx("run", world.base, world.full, "--responses", file, "--out", "run", folder=tmp_path)
    assert shown.code == 3
    assert read_traces(tmp_path / "run")[HOSTILE].prompt == HOSTILE, "the record keeps the text as it was"
    assert read_traces(tmp_path / "run")[HOSTILE].responses[0].text == HOSTILE
    assert run_itx("report", "run", folder=tmp_path).code == 0
    assert run_itx("open", "run", folder=tmp_path).code == 0
    for kind in ("md", "jsonl", "csv"):
        assert run_itx("export", "run", "--format", kind, "-o", f"run.{kind}", folder=tmp_path).code == 0
        written = (tmp_path / f"run.{kind}").read_text(encoding="utf-8")
        assert not any(control in written for control in "\x1b\x9b\x07\0\u202e"), kind
    assert "\n| <b>" not in (tmp_path / "run.md").read_text()


def test_in_plain_text_of_a_live_comparison(world: World, tmp_path: Path) -> None:
    asked = HOSTILE.replace("\0", "")
    done = run_itx("compare", world.base, world.full, "--prompt", asked, "--max-new-tokens", "60", folder=tmp_path)
    assert done.code == 0, done.text
    assert "pwned" in done.out


def test_in_the_progress_of_a_run_on_a_terminal(world: World, tmp_path: Path) -> None:
    file = write_prompts(tmp_path / "prompts.jsonl", [{"id": HOSTILE, "prompt": "bread?"}])
    words = command("run", world.base, world.full, "--prompts", file, "--out", "run", "--max-new-tokens", "60")
    with Terminal(words, environment=environment(tmp_path), folder=tmp_path, columns=200) as terminal:
        assert terminal.finish(timeout=120) == 0
        raw = bytes(terminal.raw)
    assert re.search(rb"\ritx: 1/1 [^\r]*pwned[^\r]*: \d+ tokens", raw), "the progress did not name the prompt"
    for sequence in BYTES:
        assert sequence not in raw, sequence


def test_words_that_are_not_utf8(world: World, tmp_path: Path) -> None:
    """File names are bytes: they are recorded with an escape, and a text that is asked must be UTF-8."""
    file = write_prompts(tmp_path / "p\udce9.jsonl", [{"id": "1", "prompt": "bread?"}])
    done = run_itx("run", world.base, world.full, "--max-new-tokens", "3", "--prompts", file.name, "--out", "run\udce9",
                   folder=tmp_path)  # fmt: skip
    assert done.code == 0, done.text
    assert done.out == "run\udce9\n", "a program gets the very name"
    written = json.loads((tmp_path / "run\udce9" / "run.json").read_text())["command"]
    assert written[-4:] == ["--prompts", r"p\xe9.jsonl", "--out", r"run\xe9"]

    models = ("compare", world.base, world.full)
    link = tmp_path / "m\udce9"
    link.symlink_to(world.full)
    for words in (
        (*models, "--prompt", "caf\udce9"),
        (*models, "--prompt", "x", "--system-prompt", "caf\udce9"),
        (*models, "--prompt", "x", "--context", "caf\udce9"),
        (*models, "--prompt", "x", "--chat-template", "caf\udce9"),
        ("compare", world.base, "m\udce9", "--prompt", "x"),
    ):
        refused = run_itx(*words, folder=tmp_path)
        assert refused.code == 2, refused.text
        assert r"\xe9" in refused.err
        assert "UTF-8" in refused.err
    assert not (tmp_path / "state").exists()


def test_in_messages(world: World, tmp_path: Path) -> None:
    for words in (
        ("run", f"./{HOSTILE.replace(chr(0), '')}", world.full, "--prompts", world.prompts, "--out", "run"),
        ("run", world.base, world.full, "--prompts", "no\x1b[2J.jsonl", "--out", "run"),
        ("open", "no\x1b[2J"),
        ("report", "no\x1b[2J"),
        ("run", world.base, world.full, "--device", "a=\x1b[2J", "--prompts", world.prompts, "--out", "run"),
    ):
        assert run_itx(*words, folder=tmp_path).code in (1, 2)


@pytest.mark.parametrize("size", [(24, 80), (40, 120)])
def test_on_the_screen(tmp_path: Path, size: tuple[int, int]) -> None:
    """A stranger's run, opened in the screen under a pseudo-terminal, walked through, and left."""
    run = build_run()
    traces = build_traces(run, 2)
    pieces = {token: HOSTILE + piece for token, piece in traces[0].pieces.items()}
    responses = [
        msgspec.structs.replace(
            response, text=HOSTILE + response.text, ends=[end + len(HOSTILE) for end in response.ends]
        )
        for response in traces[0].responses
    ]
    hostile = msgspec.structs.replace(
        traces[0], prompt=HOSTILE, pieces=pieces, responses=responses, reference=HOSTILE, prompt_id=HOSTILE
    )
    failed = msgspec.structs.replace(traces[1], error=HOSTILE, responses=[])
    model = msgspec.structs.replace(run.models[1], reference=HOSTILE)
    run = msgspec.structs.replace(run, models=[run.models[0], model], warnings=[HOSTILE], command=["itx", HOSTILE])
    folder = write_run(tmp_path / "run", run, [hostile, failed])
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Terminal(
        [sys.executable, "-m", "itx", "open", str(folder)], rows=size[0], columns=size[1], environment=environment
    ) as terminal:
        terminal.wait(lambda screen: "pwned" in screen.text)
        for key in ("n", "l", "c", "\x1b", "\t", "J", "K", "o", "\x1b", "v", "?", "\x1b"):
            terminal.send(key)
            while terminal.read(0.2):
                pass
        terminal.send("q")
        assert terminal.finish() == 0
        raw = bytes(terminal.raw)
    for sequence in BYTES:
        assert sequence not in raw, sequence


def test_a_run_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"schema": 1, "models": "\x1b[2J"}))
    for words in (("open", "run"), ("report", "run"), ("export", "run", "--format", "md", "-o", "x.md")):
        assert run_itx(*words, folder=tmp_path).code == 1
