"""Tiny weights on disk, shared by the tests of faults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.running import run_itx, write_prompts
from tests.support.llamas import write_adapter, write_llama, write_tuned

PROMPTS = [
    {"id": f"p{number}", "prompt": text}
    for number, text in enumerate(
        ["Tell me about the battle.", "Give me tips", "bread?", "東京 🌸", "Zürich and Kraków", "x"], start=1
    )
]


@dataclass(frozen=True, kw_only=True)
class World:
    """A base, its tunings and a prompt file in one folder."""

    root: Path
    base: Path
    full: Path
    lora: Path
    prompts: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("faults")
    base = write_llama(root / "base")
    return World(
        root=root,
        base=base,
        full=write_tuned(base, root / "full"),
        lora=write_adapter(base, root / "lora"),
        prompts=write_prompts(root / "prompts.jsonl", PROMPTS),
    )


@pytest.fixture(scope="session")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted recording of the prompts, to compare others with."""
    folder = tmp_path_factory.mktemp("whole")
    done = run_itx(
        "run", world.base, f"full={world.full}", *LONG, "--prompts", world.prompts, "--out", "run", folder=folder
    )
    assert done.code == 0, done.text
    return folder / "run"


LONG = ("--max-new-tokens", "150", "--threads", "1", "--device", "cpu")
