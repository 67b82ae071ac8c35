"""``itx report --json`` over a run of 1,000 prompts, 300 tokens a response, three models that all score each other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import msgspec

from itx.records import Response, Run, Trace
from tests.bench.arms import Measurement
from tests.support.traces import build_run, build_trace, long_text, write_run

PROMPTS, TOKENS = 1_000, 300
_DIFFERENT = 20
"""Traces that are made; the others are the same with other ids."""
_MODELS = ("base", "lora", "full")
_PROGRAM = """
import os, resource, sys
from itx.cli.main import main
sys.argv = ["itx", "report", sys.argv[1], "--json"]
try:
    main()
except SystemExit as leaving:
    assert not leaving.code, leaving.code
# A second process may have read the half of it; its peak is added as if both came at once.
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
peak, busy = sum(each.ru_maxrss * 2**10 for each in used), sum(each.ru_utime + each.ru_stime for each in used)
print(peak, busy, file=sys.stderr)
"""


def write_large(folder: Path, prompts: int = PROMPTS) -> Path:
    """Write the run, a line at a time."""
    run = build_run(("lora", "full"), authors=list(_MODELS))
    some = [_build(run, number) for number in range(min(prompts, _DIFFERENT))]
    write_run(folder, run, [])
    with (folder / "traces.jsonl").open("wb") as file:
        for number in range(prompts):
            trace = msgspec.structs.replace(
                some[number % len(some)], prompt_id=str(number), prompt=f"{number}: tell me"
            )
            file.write(msgspec.json.encode(trace) + b"\n")
    return folder


def _build(run: Run, number: int) -> Trace:
    texts = {name: long_text(TOKENS, 10 * number + place) for place, name in enumerate(_MODELS)}
    scorers = {name: [other for other in _MODELS if other != name] for name in _MODELS}
    trace = build_trace(str(number), "tell me", texts, number, scorers=scorers)
    return msgspec.structs.replace(trace, responses=[_cut(response) for response in trace.responses])


def _cut(response: Response) -> Response:
    """Return the first ``TOKENS`` tokens of a response, as the limit cuts it."""
    ends = response.ends[:TOKENS]
    scores = {
        name: msgspec.structs.replace(
            score,
            **{
                field: getattr(score, field)[:TOKENS]
                for field in ("logp", "rank", "ties", "entropy", "kl_author_scorer", "kl_scorer_author", "js", "top")
            },
        )
        for name, score in response.scores.items()
    }
    return msgspec.structs.replace(
        response,
        ids=response.ids[:TOKENS],
        text=response.text[: ends[-1]],
        finish="length",
        ends=ends,
        logp=response.logp[:TOKENS],
        entropy=response.entropy[:TOKENS],
        top=response.top[:TOKENS],
        scores=scores,
    )


def measure(repeats: int, *, what: Literal["time", "memory"]) -> Measurement:
    """Return seconds, or GB at the peak, of a process that reports the run; each repeat is a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = write_large(Path(name) / "run")
        size = (folder / "traces.jsonl").stat().st_size / 2**20
        found, processor = [], []
        for repeat in range(-1, max(repeats, 5)):
            seconds, peak, busy = _report(folder)
            if repeat >= 0:
                found.append(seconds if what == "time" else peak / 1e9)
                processor.append(busy)
    return Measurement(
        ours=found,
        floor=[],
        notes=[
            f"{PROMPTS:,} prompts × {TOKENS} tokens × 3 authors, each scored by both others, {size:,.0f} MiB; "
            f"{min(processor):.2f} to {max(processor):.2f} s of processor time, the start of Python among it"
        ],
    )


def _report(folder: Path) -> tuple[float, float, float]:
    """Return the seconds, the peak in bytes, and the seconds of the processor."""
    before = os.times().elapsed
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder)], capture_output=True, text=True, check=True, timeout=600
    )
    seconds = os.times().elapsed - before
    peak, busy = (float(word) for word in done.stderr.split()[-2:])
    return seconds, peak, busy
