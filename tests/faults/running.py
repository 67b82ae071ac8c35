"""The real command line in a real process, and what must hold of every end it can come to."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from itx.records import Trace

ROOT = Path(__file__).parents[2]
CODES = {0, 1, 2, 3}
# Tab and line feed may come out of a command in a pipe, and no other control.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All it printed."""
        return self.out + self.err


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """Return an environment without network, with two threads at most and with its state under ``folder``."""
    fixed = {
        "XDG_STATE_HOME": str(folder / "state"),
        "HF_HOME": str(folder / "hub"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "OMP_NUM_THREADS": "1",
        "PYTHONUTF8": "1",
        "COLUMNS": "80",
    }
    dropped = {"HF_HUB_OFFLINE", "PYTHONWARNINGS", "NO_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, **fixed, **changes}


def command(*words: str | Path) -> list[str]:
    """Return the command line of ``itx WORDS``."""
    return [sys.executable, "-m", "itx", *(str(word) for word in words)]


def check_end(done: Done) -> Done:
    """Assert what holds of every end: a code of the contract, no traceback, nothing a terminal would obey."""
    assert done.code in CODES, f"exit code {done.code}\n{done.text}"
    assert "Traceback" not in done.text, done.text
    for stream in (done.out, done.err):
        found = _CONTROLS.search(stream)
        assert found is None, f"{found!r} in {stream!r}"
    if done.code:
        assert done.err.strip(), "it failed without a word"
    return done


class Nursery:
    """Runs commands in forks of one process that has imported everything already: see ``tests.faults.nursery``."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, words: Sequence[str], folder: Path, limits: Mapping[int, int], spare: int | None) -> Done:
        """Run ``itx WORDS`` to its end under resource limits, with ``spare`` bytes of address space to add."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as name:
            out, err = Path(name) / "out", Path(name) / "err"
            request = {
                "words": list(words),
                "folder": str(folder),
                "environment": environment(folder),
                "limits": {str(number): bound for number, bound in limits.items()},
                "spare": spare,
                "out": str(out),
                "err": str(err),
            }
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, "the nursery ended"
            return Done(code=int(answer), out=_decode(out.read_bytes()), err=_decode(err.read_bytes()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@functools.cache
def nursery() -> Nursery:
    """Return the one nursery of this test process; it ends with it."""
    found = Nursery()
    atexit.register(found.close)
    return found


def run_itx(
    *words: str | Path,
    folder: Path,
    limits: Mapping[int, int] | None = None,
    spare: int | None = None,
    changes: Mapping[str, str] | None = None,
) -> Done:
    """Run ``itx WORDS`` in ``folder`` to its end and check the end.

    Under resource ``limits``, and with at most ``spare`` bytes of address space above what the imports took. With
    ``changes`` to the environment in an interpreter that has imported nothing, since libraries read some at import.
    """
    texts = [str(word) for word in words]
    if changes is None:
        return check_end(nursery().run(texts, folder, limits or {}, spare))
    assert not limits
    assert spare is None
    finished = subprocess.run(
        command(*texts),
        cwd=folder,
        env=environment(folder, **changes),
        capture_output=True,
        timeout=120,
        check=False,
    )
    return check_end(Done(code=finished.returncode, out=_decode(finished.stdout), err=_decode(finished.stderr)))


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def start_itx(*words: str | Path, folder: Path) -> subprocess.Popen[str]:
    """Start ``itx WORDS`` in ``folder`` with its output in pipes."""
    return subprocess.Popen(
        command(*words),
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
    )


def read_until(process: subprocess.Popen[str], seen: Callable[[str], bool]) -> str:
    """Return the lines of stderr up to the first one that is ``seen``, or to its end."""
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if seen(line):
            break
    return "".join(lines)


def limit_now(process: subprocess.Popen[str], number: int, bound: int) -> None:
    """Set a resource limit of a running process."""
    resource.prlimit(process.pid, number, (bound, bound))


def finish(process: subprocess.Popen[str], before: str = "", timeout: float = 120) -> Done:
    """Wait for the end and check it; ``before`` is what was read of stderr already."""
    out, err = process.communicate(timeout=timeout)
    return check_end(Done(code=process.returncode, out=out, err=before + err))


def read_traces(run: Path) -> dict[str, Trace]:
    """Return the last whole line of each prompt, decoded."""
    return {prompt: msgspec.json.decode(line, type=Trace) for prompt, line in read_lines(run).items()}


def read_lines(run: Path) -> dict[str, bytes]:
    """Return the last whole line of each prompt, as its bytes."""
    path = run / "traces.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return {json.loads(line)["prompt_id"]: line for line in lines if line.endswith(b"\n")}


def write_prompts(path: Path, rows: Sequence[Mapping[str, object] | str]) -> Path:
    """Write JSONL; a text among the rows is written as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
