from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from itx.models.host import count_cores, read_free_memory


@pytest.mark.parametrize(
    ("written", "cores"),
    [
        ("max 100000\n", None),
        ("150000 100000\n", 2),
        ("400000 100000\n", 4),
        ("1000 100000\n", 1),
        ("", None),
        ("5", None),
    ],
)
def test_a_containers_quota_bounds_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, cores: int | None
) -> None:
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text(written)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert count_cores(tmp_path) == (cores or 8)


def test_free_memory_is_what_the_system_says() -> None:
    found = read_free_memory()
    assert found is not None
    assert 0 < found <= 1.2 * psutil.virtual_memory().available


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_control_group_bounds_it_and_its_files_are_given_back(tmp_path: Path) -> None:
    write(tmp_path, proc__meminfo="MemTotal: 99 kB\nMemAvailable:       9000 kB\n")
    assert read_free_memory(tmp_path) == 9000 * 1024
    write(tmp_path, sys__fs__cgroup__memory_DOT_max="max\n")
    assert read_free_memory(tmp_path) == 9000 * 1024
    write(tmp_path, sys__fs__cgroup__memory_DOT_max="5000\n", sys__fs__cgroup__memory_DOT_current="4000\n",
          sys__fs__cgroup__memory_DOT_stat="anon 900\ninactive_file 2000\nactive_file 100\n")  # fmt: skip
    assert read_free_memory(tmp_path) == 3100
    assert read_free_memory(tmp_path / "nowhere") is None
