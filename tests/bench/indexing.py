"""Building all indexes of made-up rows, opening them again and asking them; bm25s beside them on the same rows."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.arms import Measurement
from tests.bench.memory import read_peak, reset_peak
from tests.bench.tracing import write_rows

ROWS = 52_000
_QUERIES = 40
_LIMIT = 10
_INSTRUCTION_WORDS = 12


def write_data(rows: int, path: Path) -> int:
    """Write so many rows as JSONL, each with an instruction of its first words, and return the bytes of responses."""
    total = 0
    with path.open("w") as file:
        for response in write_rows(rows):
            asked = " ".join(response.split()[:_INSTRUCTION_WORDS]) + "?"
            file.write(json.dumps({"instruction": asked, "output": response}) + "\n")
            total += len(response.encode())
    return total


def build(data: Path, folder: Path) -> None:
    """Build in this process and print seconds, the peak in MiB, and the seconds of each step."""
    from itx.data.index import open_index

    steps: dict[str, float] = {}

    def tell(step: str, fraction: float) -> None:
        del fraction
        steps.setdefault(step, time.perf_counter())

    reset_peak()
    start = time.perf_counter()
    open_index(str(data), folder=folder, tell=tell)
    end = time.perf_counter()
    bounds = [*steps.values(), end]
    parts = {step: bounds[number + 1] - bounds[number] for number, step in enumerate(steps)}
    sys.stdout.write(json.dumps([end - start, read_peak(), parts]) + "\n")


def reopen(data: Path, folder: Path) -> None:
    """Open what is cached in this process and print milliseconds: of opening, and with all imports."""
    start = time.perf_counter()
    from itx.data.index import open_index

    imported = time.perf_counter()
    found = open_index(str(data), folder=folder)
    assert found.rows[0].response
    end = time.perf_counter()
    sys.stdout.write(json.dumps([(end - imported) * 1000, (end - start) * 1000]) + "\n")


def weigh(data: Path) -> None:
    """Index the same texts with bm25s and print seconds, the peak in MiB, and milliseconds of a query."""
    import bm25s

    from itx.data.reading import read_rows

    reset_peak()
    texts = [f"{row.instruction}\n{row.response}" for row in read_rows(str(data))]
    start = time.perf_counter()
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    taken = time.perf_counter() - start
    costs = []
    for text in texts[:: len(texts) // _QUERIES]:
        asked = time.perf_counter()
        retriever.retrieve(bm25s.tokenize([text], show_progress=False), k=_LIMIT, show_progress=False)
        costs.append((time.perf_counter() - asked) * 1000)
    sys.stdout.write(json.dumps([taken, read_peak(), statistics.median(costs)]) + "\n")


def _run_apart(*words: object) -> Any:
    command = [sys.executable, "-m", "tests.bench.indexing", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_build(repeats: int, what: str) -> Measurement:
    """Return the seconds, or with ``what`` "memory" the peak in GiB, of building all indexes, a process a repeat."""
    figures: list[float] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "rows.jsonl"
        size = write_data(ROWS, data)
        notes.append(f"{ROWS:,} rows, {size / 1e6:.0f} MB of responses; rows, words, meanings, two suffix arrays")
        for repeat in range(repeats):
            folder = Path(name) / str(repeat)
            seconds, peak, parts = _run_apart("build", data, folder)
            figures.append(peak / 1024 if what == "memory" else seconds)
        notes.append("; ".join(f"{step} {taken:.1f} s" for step, taken in parts.items()))
        kept = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        notes.append(f"{kept / 1e6:.0f} MB on disk; the last repeat {seconds:.1f} s with a peak of {peak:.0f} MiB")
        if what != "memory":
            taken, peak, query = _run_apart("weigh", data)
            notes.append(
                f"beside it, bm25s of instructions and responses: {taken:.1f} s, "
                f"peak {peak:.0f} MiB, {query:.1f} ms a query"
            )
    return Measurement(ours=figures, floor=[], notes=notes)


def measure_growth(repeats: int, sizes: tuple[int, ...]) -> Measurement:
    """Return the peak in GiB of building all indexes of the last of ``sizes``; what each size costs is in the notes.

    Only the last size is built anew for every repeat. bm25s stands beside all but the last.
    """
    peaks: list[float] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        for rows in sizes:
            data = Path(name) / f"{rows}.jsonl"
            size = write_data(rows, data)
            for repeat in range(repeats if rows == sizes[-1] else 1):
                folder = Path(name) / f"{rows}-{repeat}"
                seconds, peak, _ = _run_apart("build", data, folder)
                if rows == sizes[-1]:
                    peaks.append(peak / 1024)
                note = f"{rows:,} rows, {size / 1e6:,.0f} MB of responses: {seconds:.1f} s, peak {peak:,.0f} MiB"
                if repeat == 0:
                    note += f"; {_run_apart('ask', data, folder)}"
                shutil.rmtree(folder)
            if rows != sizes[-1]:
                taken, peak, query = _run_apart("weigh", data)
                note += f"; bm25s {taken:.1f} s, peak {peak:,.0f} MiB, {query:.1f} ms a query"
            notes.append(note)
            data.unlink()
    return Measurement(ours=peaks, floor=[], notes=notes)


def ask(data: Path, folder: Path) -> None:
    """Print what tracing a response, and finding its neighbours and those of a prompt, cost in a cached index."""
    from itx.data.folding import fold_words
    from itx.data.index import open_index

    found = open_index(str(data), folder=folder)
    rows = [found.rows[number] for number in range(0, len(found.rows), max(1, len(found.rows) // _QUERIES))]
    found.neighbours("warm", "prompt", _LIMIT)
    asked = {
        "trace": [partial(found.verbatim.trace, fold_words(row.response)) for row in rows],
        "neighbours": [partial(found.neighbours, row.response, "response", _LIMIT) for row in rows],
        "nearest": [partial(found.nearest, row.instruction) for row in rows],
    }
    parts = []
    for what, calls in asked.items():
        costs = []
        for call in calls:
            start = time.perf_counter()
            call()
            costs.append((time.perf_counter() - start) * 1000)
        parts.append(f"{what} {statistics.median(costs):.1f} ms")
    sys.stdout.write(json.dumps(", ".join(parts)) + "\n")


def measure_neighbours(repeats: int) -> Measurement:
    """Return the median milliseconds of the fused neighbours of a response; prompts and spans are in the notes."""
    from itx.data.index import open_index

    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "rows.jsonl"
        write_data(ROWS, data)
        found = open_index(str(data), folder=Path(name) / "index")
        asked = found.rows[:: ROWS // _QUERIES]
        queries = {
            "response": [row.response for row in asked],
            "prompt": [row.instruction for row in asked],
            "span": [" ".join(row.response.split()[3:9]) for row in asked],
        }
        medians: dict[str, list[float]] = {kind: [] for kind in queries}
        longest = 0.0
        found.neighbours("warm", "prompt", _LIMIT)
        for _ in range(repeats):
            for kind, texts in queries.items():
                costs = []
                for text in texts:
                    start = time.perf_counter()
                    found.neighbours(text, kind, _LIMIT)
                    costs.append((time.perf_counter() - start) * 1000)
                medians[kind].append(statistics.median(costs))
                longest = max(longest, *costs)
    notes = [
        f"{ROWS:,} rows, {_QUERIES} queries a repeat, the embedder loaded; the longest query of all {longest:.1f} ms",
        ", ".join(f"{kind} {statistics.median(figures):.1f} ms" for kind, figures in medians.items()),
    ]
    return Measurement(ours=medians["response"], floor=[], notes=notes)


def measure_opening(repeats: int) -> Measurement:
    """Return the milliseconds of opening a cached index in a new process, its imports left out."""
    with tempfile.TemporaryDirectory() as name:
        data, folder = Path(name) / "rows.jsonl", Path(name) / "index"
        write_data(ROWS, data)
        # So that the file counts as settled.
        time.sleep(2.5)
        _run_apart("build", data, folder)
        pairs = [_run_apart("reopen", data, folder) for _ in range(max(repeats, 10))]
    whole = statistics.median(pair[1] for pair in pairs)
    notes = [f"{ROWS:,} rows, a new process each time; with the imports of numpy, tantivy and the rest {whole:.0f} ms"]
    return Measurement(ours=[pair[0] for pair in pairs], floor=[], notes=notes)


def main() -> None:
    """Run one arm in this process."""
    {"build": build, "reopen": reopen, "weigh": weigh, "ask": ask}[sys.argv[1]](*map(Path, sys.argv[2:]))


if __name__ == "__main__":
    main()
