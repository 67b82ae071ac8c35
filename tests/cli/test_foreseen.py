"""GGUF files that cannot be compared are refused before a screen is drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from itx.cli.live import show
from itx.cli.prompts import Gathered
from itx.compare.request import Request
from itx.errors import ItxError, MemoryExhaustedError, TemplateError, WeightsError
from itx.models.llama import load
from tests.support import ggufs

TENSORS = ggufs.draw_tensors()


class DrawnError(Exception):
    """The screen would be drawn."""


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def draw(*arguments: object) -> int:
        raise DrawnError

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("itx.tui.terminal.screen_is_possible", lambda: True)
    monkeypatch.setattr("itx.tui.app.run_app", draw)


def compare(base: Path, tuned: Path, template: str | None = None) -> None:
    show(
        Request(base=str(base), tuned=[str(tuned)], command=["itx", "compare"], chat_template=template),
        Gathered(prompts=[], broken=[]),
        None,
    )


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def cut(path: Path) -> Path:
    whole = ggufs.write_model(path, TENSORS).read_bytes()
    return write_bytes(path, whole[: len(whole) - 1000])


BASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no GGUF": (lambda path: write_bytes(path, b"not a model at all"), "is no GGUF file"),
    "cut short": (cut, "cut short or corrupt"),
    "missing": (lambda path: path, "no file"),
    "unknown": (
        lambda path: ggufs.write_model(path, TENSORS, architecture="nobody-knows-it"),
        "unknown model architecture",
    ),
    "a LoRA": (lambda path: ggufs.write_lora(path, ggufs.draw_lora(TENSORS)), "the base is no GGUF file"),
}


@pytest.mark.parametrize("wrong", BASES)
def test_a_base_that_cannot_be_loaded(tmp_path: Path, wrong: str) -> None:
    write, said = BASES[wrong]
    tuned = ggufs.write_lora(tmp_path / "lora.gguf", ggufs.draw_lora(TENSORS))
    with pytest.raises(WeightsError) as caught:
        compare(write(tmp_path / "base.gguf"), tuned)
    assert said in caught.value.cause
    assert caught.value.remedy


def test_a_lora_for_another_architecture(tmp_path: Path) -> None:
    base = ggufs.write_model(tmp_path / "base.gguf", TENSORS)
    lora = ggufs.write_lora(tmp_path / "lora.gguf", ggufs.draw_lora(TENSORS), architecture="gemma3")
    with pytest.raises(WeightsError, match="is for the architecture gemma3"):
        compare(base, lora)


def test_no_chat_template(tmp_path: Path) -> None:
    base = ggufs.write_model(tmp_path / "base.gguf", TENSORS, template=None)
    lora = ggufs.write_lora(tmp_path / "lora.gguf", ggufs.draw_lora(TENSORS))
    with pytest.raises(TemplateError) as caught:
        compare(base, lora)
    assert "--chat-template" in caught.value.remedy
    with pytest.raises(DrawnError):
        compare(base, lora, "plain")


def test_a_model_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = ggufs.write_model(tmp_path / "base.gguf", TENSORS)
    lora = ggufs.write_lora(tmp_path / "lora.gguf", ggufs.draw_lora(TENSORS))
    monkeypatch.setattr(load, "read_free_memory", lambda: base.stat().st_size - 1)
    with pytest.raises(MemoryExhaustedError):
        compare(base, lora)


def test_sound_files_come_to_the_screen(tmp_path: Path) -> None:
    base = ggufs.write_model(tmp_path / "base.gguf", TENSORS)
    full = ggufs.write_model(tmp_path / "full.gguf", ggufs.move_tensors(TENSORS))
    with pytest.raises(DrawnError):
        compare(base, full)
    assert not issubclass(DrawnError, ItxError)
