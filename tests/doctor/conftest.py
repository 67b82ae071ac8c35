"""A healthy trio of tiny random weights, and copies of it to be made ill."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.llamas import write_adapter, write_llama, write_tuned


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``base``, ``full`` and ``lora``; not to be changed."""
    root = tmp_path_factory.mktemp("healthy")
    base = write_llama(root / "base")
    write_tuned(base, root / "full")
    write_adapter(base, root / "lora")
    return root


@pytest.fixture
def copy(healthy: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return what copies one of the trio for a test to change."""

    def make(name: str) -> Path:
        return Path(shutil.copytree(healthy / name, tmp_path / name))

    return make
