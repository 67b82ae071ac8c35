"""What ``itx --help`` costs above a bare interpreter."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.arms import Arm, Measurement, alternate


def run_once(command: list[str]) -> Arm:
    """Return an arm that runs the command to its end and returns the milliseconds."""

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
        return (time.perf_counter() - start) * 1000

    return run


def measure(repeats: int) -> Measurement:
    """Return milliseconds of ``itx --help`` and of ``python -c pass``."""
    script = Path(sys.executable).with_name("itx")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "itx"]
    ours, floor = alternate(
        run_once([*command, "--help"]), run_once([sys.executable, "-c", "pass"]), max(repeats, 15), warm=2
    )
    return Measurement(ours=ours, floor=floor, notes=[f"milliseconds, {Path(command[0]).name} --help"])
