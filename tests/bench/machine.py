"""What a figure depends on: the machine, the versions, and what else runs on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
FOREIGN_SHARE = 0.1
"""A verdict stands while others use less than this share of the cores during the measurement."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def pinned_environment(threads: int) -> dict[str, str]:
    """Return the environment of a worker with ``threads`` threads, offline, and without colour or progress bars."""
    fixed = {
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **fixed}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The machine in a few words."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    governor: str
    python: str
    packages: dict[str, str]

    def lines(self) -> list[str]:
        """Return the facts as text, one thing a line."""
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return [
            f"{self.processor}, {self.cores} cores, {self.memory_gib:.0f} GiB, {self.system}, {self.governor}",
            f"python {self.python}, {packages}",
        ]


def read_facts() -> Facts:
    """Return the facts of this machine."""
    described = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in described.items()}
    packages = {}
    for name in ("torch", "transformers", "peft", "textual", "numpy"):
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = "absent"
    features = [
        flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in names.get("flags", "").split()
    ]
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return Facts(
        processor=f"{names.get('model name', platform.machine())} ({', '.join(features) or 'no vector flags read'})",
        cores=cores(),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        system=f"{platform.system()} {platform.release()}",
        governor=f"governor {governor.read_text().strip()}" if governor.exists() else "no frequency governor seen",
        python=platform.python_version(),
        packages=packages,
    )


def _busy_seconds() -> float:
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, soft = (int(field) for field in fields[:7])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass(frozen=True, kw_only=True)
class Load:
    """How busy the machine was: the load average before, and the cores that others used meanwhile."""

    before: float
    foreign: float
    cores: int

    @property
    def quiet(self) -> bool:
        """Return whether figures measured under this load deserve a verdict."""
        return self.before <= self.cores and self.foreign <= FOREIGN_SHARE * self.cores

    def __str__(self) -> str:
        return f"load {self.before:.2f} on {self.cores} cores, others used {self.foreign:.2f} cores"


class LoadMeter:
    """Measures the load from its making to ``read``; the time of our finished children counts as ours."""

    def __init__(self) -> None:
        self._before = os.getloadavg()[0]
        self._start = time.monotonic(), _busy_seconds(), _own_seconds()

    def read(self) -> Load:
        """Return the load since the making."""
        start, busy, own = self._start
        elapsed = max(time.monotonic() - start, 1e-9)
        foreign = (_busy_seconds() - busy - (_own_seconds() - own)) / elapsed
        return Load(before=self._before, foreign=max(foreign, 0.0), cores=cores())


def as_json(record: Facts | Load) -> dict[str, object]:
    """Return the record's fields."""
    return asdict(record)
