"""What this machine, and the control group that a container puts a process in, leave to it."""

from __future__ import annotations

import os
from pathlib import Path

_GROUPS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
"""Limit, usage and statistics of a control group, versions 2 and 1."""


def count_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use: those it may run on, or fewer where a container has a quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _read_quota(root / "sys/fs/cgroup/cpu.max") or allowed))


def _read_quota(path: Path) -> int | None:
    """Return the cores that a control group (version 2) grants, rounded up; None where it sets no limit."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        # No such group, or "max": no limit.
        return None


def read_free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that a process may still have on this host: of the machine, and of its control group.

    What a group holds of files, the kernel gives back when it must. None where the system does not say.
    """
    free: list[int] = []
    try:
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free.append(int(line.split()[1]) * 1024)
        for limit, usage, statistics in _GROUPS:
            free += _read_group(root / "sys/fs/cgroup", limit, usage, statistics)
    except (OSError, ValueError):
        return min(free, default=None)
    return min(free, default=None)


def _read_group(folder: Path, limit: str, usage: str, statistics: str) -> list[int]:
    if not (folder / limit).is_file():
        return []
    most = (folder / limit).read_text(encoding="ascii").strip()
    if most == "max":
        return []
    used = int((folder / usage).read_text(encoding="ascii"))
    words = (line.split() for line in (folder / statistics).read_text(encoding="ascii").splitlines())
    given_back = sum(int(count) for name, count in words if name in {"inactive_file", "active_file"})
    return [max(0, int(most) - used + given_back)]
