"""Reading a large run with two processes: decoding and counting its lines is most of what a report costs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from itx.records import Run
from itx.report.gathering import Gathered, Gatherer, merge
from itx.report.lean import Line, list_lines, read_lines
from itx.runs.lines import TRACES
from itx.runs.recording import Recording

_LARGE = 1 << 26
"""Bytes of a run that are worth a process."""


def gather_lean(recording: Recording) -> Gathered:
    """Return the columns of a recorded run, whatever number of processes read it. Raises RunError."""
    lines = list_lines(recording.folder / TRACES)
    if not _is_worth_it(lines):
        return _gather(recording.folder, recording.run, lines)
    middle = len(lines) // 2
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_ignore_interrupts) as other:
        second = other.submit(_gather, recording.folder, recording.run, lines[middle:])
        return merge([_gather(recording.folder, recording.run, lines[:middle]), second.result()])


def _is_worth_it(lines: Sequence[Line]) -> bool:
    """Return whether a second process helps, and may be made: never from a process of several threads."""
    return (
        sys.platform == "linux"
        and len(os.sched_getaffinity(0)) > 1
        and threading.active_count() == 1
        and sum(line.size for line in lines) >= _LARGE
    )


def _ignore_interrupts() -> None:
    # Ctrl-C reaches both processes; the first ends the second.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _gather(folder: Path, run: Run, lines: Sequence[Line]) -> Gathered:
    gatherer = Gatherer(run)
    for trace in read_lines(folder, run, lines):
        gatherer.add(trace)
    return gatherer.close()
