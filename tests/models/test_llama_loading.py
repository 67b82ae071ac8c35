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

from itx.errors import MismatchError, WeightsError
from itx.models import digest
from itx.models.fingerprint import fingerprint_files
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
    if wrong == "long alpha":
        writer.add_float64("adapter.lora.alpha", 8.0)
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


@pytest.mark.parametrize("wrong", ["type", "alpha", "long alpha", "whole", "embedding"])
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


def test_what_llama_cpp_leaves_out_of_a_lora_is_a_warning(base: Path, tmp_path: Path) -> None:
    loader = LlamaLoader(Options(threads=1), ignore)
    loader.load(parse_reference(str(base), "base", {}))
    sound = write_lora(tmp_path / "sound.gguf", draw_lora(draw_tensors()))
    loader.load(parse_reference(str(sound), "sound", {}))
    assert loader.warnings == []
    plain = write_lora(tmp_path / "plain.gguf", draw_lora(draw_tensors()), alpha=None)
    loader.load(parse_reference(str(plain), "plain", {}))
    assert len(loader.warnings) == 1
    assert "plain.gguf says no adapter.lora.alpha" in loader.warnings[0]
    norm = {"blk.0.attn_norm.weight": draw_tensors()["blk.0.attn_norm.weight"]}
    normed = write_lora(tmp_path / "normed.gguf", draw_lora(draw_tensors()) | norm)
    loader.load(parse_reference(str(normed), "normed", {}))
    assert len(loader.warnings) == 2
    assert "leaves out 1 tensors of normed.gguf (blk.0.attn_norm.weight" in loader.warnings[1]


def write_parts(folder: Path, count: int = 3) -> list[Path]:
    """Write the tensors of the base into several files, as llama-gguf-split does."""
    folder.mkdir(exist_ok=True)
    tensors = draw_tensors()
    names = list(tensors)
    paths = []
    for number in range(count):
        extra = {
            "split.no": np.uint16(number),
            "split.count": np.uint16(count),
            "split.tensors.count": np.int32(len(names)),
        }
        path = folder / f"base-{number + 1:05d}-of-{count:05d}.gguf"
        paths.append(write_model(path, {name: tensors[name] for name in names[number::count]}, extra=extra))
    return paths


def test_a_model_in_parts_is_the_same_model(base: Path, tmp_path: Path) -> None:
    parts = write_parts(tmp_path / "parts")
    loader = LlamaLoader(Options(threads=1), ignore)
    whole = loader.load(parse_reference(str(base), "base", {}))
    split = loader.load(parse_reference(str(parts[0]), "tuned", {}))
    ids = [5, 6, 7]
    np.testing.assert_array_equal(split.stream().extend(ids, 3), whole.stream().extend(ids, 3))
    assert split.fingerprint == fingerprint_files(parts)
    assert (split.dtype, split.quantization) == (whole.dtype, whole.quantization)


def test_parts_that_are_missing_or_another_are_refused(tmp_path: Path) -> None:
    def load_part(path: Path) -> None:
        LlamaLoader(Options(threads=1), ignore).load(parse_reference(str(path), "base", {}))

    parts = write_parts(tmp_path / "parts")
    with pytest.raises(WeightsError, match="not the first part") as caught:
        load_part(parts[1])
    assert str(parts[0]) in caught.value.remedy
    renamed = parts[0].rename(tmp_path / "parts" / "model.gguf")
    with pytest.raises(WeightsError, match="name does not say which"):
        load_part(renamed)
    renamed.rename(parts[0])
    third = parts[2].read_bytes()
    parts[2].write_bytes(parts[1].read_bytes())
    with pytest.raises(WeightsError, match="says that it is part 1, and its name part 2"):
        load_part(parts[0])
    parts[2].write_bytes(third[: len(third) - 100])
    with pytest.raises(WeightsError, match="cut short"):
        load_part(parts[0])
    parts[2].unlink()
    with pytest.raises(WeightsError, match="missing"):
        load_part(parts[0])


def test_an_id_that_the_vocabulary_lacks_is_named(base: Path) -> None:
    engine = LlamaLoader(Options(threads=1), ignore).load(parse_reference(str(base), "base", {}))
    for token in (-1, engine.vocab_size):
        with pytest.raises(MismatchError, match=f"and not {token}"):
            engine.stream().extend([5, token])
