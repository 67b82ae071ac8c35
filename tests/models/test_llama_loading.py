"""What would end the process while a GGUF file is loaded: files that llama.cpp aborts on, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from itx.errors import WeightsError
from itx.models import digest
from itx.models.llama import load
from itx.models.llama.header import Header
from itx.models.llama.load import LlamaLoader
from itx.models.options import Options
from itx.models.reference import parse_reference
from tests.support.ggufs import draw_lora, draw_tensors, write_lora, write_model

_LOAD = """
import sys
import time
from itx.models.llama.library import load_library
from itx.models.llama.weights import Adapter, Weights
from itx.models.llama.header import read_header
from pathlib import Path
base, lora = map(Path, sys.argv[1:])
adapter = Adapter(Weights(read_header(base), 0, lambda share: None), lora)
from itx.models.llama.weights import Session
Session(adapter.weights, adapter, 256, 1).decode([5], 1, None)
"""


def ignore(what: str, done: int, total: int) -> None:
    del what, done, total


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("loading") / "base.gguf", draw_tensors())


def write_broken(path: Path, wrong: str) -> Path:
    """Write a LoRA with one thing in it that llama.cpp asserts."""
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    if wrong == "type":
        writer.add_uint32("adapter.type", 1)
    else:
        writer.add_string("adapter.type", "lora")
    if wrong == "alpha":
        writer.add_uint32("adapter.lora.alpha", 8)
    lora = draw_lora(draw_tensors())
    if wrong == "embedding":
        ids, hidden = draw_tensors()["token_embd.weight"].shape
        lora = {
            "token_embd.weight.lora_a": np.zeros((ids, 4), np.float32),
            "token_embd.weight.lora_b": np.zeros((hidden, 3), np.float32),
        }
    for name, values in lora.items():
        writer.add_tensor(name, values.astype(np.int32) if wrong == "whole" else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("wrong", ["type", "alpha", "whole", "embedding"])
def test_a_lora_that_llama_cpp_aborts_on_is_refused(base: Path, tmp_path: Path, wrong: str) -> None:
    """In a process of its own llama.cpp shows that it would be the end of this one."""
    lora = write_broken(tmp_path / "lora.gguf", wrong)
    words = [sys.executable, "-c", _LOAD, str(base), str(lora)]
    home = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    assert subprocess.run(words, env=home, capture_output=True, check=False).returncode < 0
    loader = LlamaLoader(Options(threads=1), ignore)
    loader.load(parse_reference(str(base), "base", {}))
    with pytest.raises(WeightsError, match=r"corrupt.*its (adapter|tensor|two)"):
        loader.load(parse_reference(str(lora), "tuned", {}))


def test_a_sound_lora_is_not_refused(base: Path, tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "lora.gguf", draw_lora(draw_tensors()), alpha=None)
    loader = LlamaLoader(Options(threads=1), ignore)
    loader.load(parse_reference(str(base), "base", {}))
    assert loader.load(parse_reference(str(lora), "tuned", {})).adapter == str(lora)


def test_control_c_ends_loading_and_prints_nothing(base: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pressed: list[int] = []

    def press(what: str, done: int, total: int) -> None:
        del what
        if total and done < total and not pressed:
            pressed.append(done)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        LlamaLoader(Options(threads=1), press).load(parse_reference(str(base), "base", {}))
    assert pressed
    assert capfd.readouterr() == ("", "")


def test_a_vocabulary_is_checked_until_its_file_was_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_model(tmp_path / "large.gguf", draw_tensors(), extra={"general.description": "x" * (1 << 20)})
    checked: list[Path] = []
    original = load.check_vocabulary

    def check(header: Header) -> None:
        checked.append(header.path)
        original(header)

    monkeypatch.setattr(load, "check_vocabulary", check)
    reference = parse_reference(str(path), "base", {})
    now = time.time()
    fingerprints = set()
    for later in (0, 60, 60, 60):
        monkeypatch.setattr(digest.time, "time", lambda later=later: now + later)
        engine = LlamaLoader(Options(threads=1), ignore).load(reference)
        fingerprints.add(engine.fingerprint)
    assert checked == [path, path], "once while the file is too new to be remembered, and once after"
    assert len(fingerprints) == 1
    path.write_bytes(path.read_bytes())
    LlamaLoader(Options(threads=1), ignore).load(reference)
    assert len(checked) == 3
