"""Memory that torch frees is there for its next block, where the C library can be told so."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import psutil
import torch
from itx.models.torch.heap import hold_freed_memory

print(hold_freed_memory() if sys.argv[1] == "hold" else None)
resident = lambda: psutil.Process().memory_info().rss
before = resident()
blocks = [torch.ones(6_000_000) for _ in range(4)]
del blocks
print(resident() - before)
"""
BLOCKS = 4 * 6_000_000 * 4
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def read_held(word: str, **settings: str) -> tuple[str, int]:
    """Return what was said, and how many bytes a process still has of blocks that it freed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True, env=environment | settings
    )
    said, held = done.stdout.split()
    return said, int(held)


def test_freed_memory_is_kept_for_the_next_block() -> None:
    said, held = read_held("hold")
    assert said == "True"
    assert held > 0.9 * BLOCKS
    assert read_held("leave")[1] < 0.1 * BLOCKS


def test_what_a_person_set_stays() -> None:
    said, held = read_held("hold", MALLOC_TRIM_THRESHOLD_="1000000")
    assert said == "False"
    assert held < 0.1 * BLOCKS
