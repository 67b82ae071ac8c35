"""Random tiny weights and a recorded run, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.llamas import write_adapter, write_llama, write_tuned
from tests.support.traces import build_run, build_traces, write_run


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``base``, ``full`` and ``lora``."""
    root = tmp_path_factory.mktemp("weights")
    base = write_llama(root / "base")
    write_tuned(base, root / "full")
    write_adapter(base, root / "lora")
    return root


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A synthetic run of eight prompts with two tuned models."""
    run = build_run(("full", "lora"))
    return write_run(tmp_path / "recorded", run, build_traces(run))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is recorded without --out in the test's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "itx"
