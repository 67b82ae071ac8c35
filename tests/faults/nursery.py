"""A process that has imported what every command imports, and forks itself for each: ``itx`` without the wait.

Reads requests as JSON, one a line, on stdin: words, folder, environment, limits, the address space it may add, and the
files for the two streams.
Each is a real process that runs ``python -m itx`` to the interpreter's end; the answer is its exit code (negative: the
signal that ended it). Variables that libraries read at import have no effect here.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import runpy
import sys
from pathlib import Path

import peft
import torch
import transformers

import itx.cli.headless
import itx.compare.load
import itx.models.torch.load
import itx.report.markdown
from itx.cli.main import app
from itx.errors import RunError

IMPORTED = (peft, torch, transformers, itx.cli.headless, itx.compare.load, itx.models.torch.load, itx.report.markdown)


def become(request: dict[str, object]) -> None:
    """Make this forked process the one that was asked for, and run it."""
    os.environ.clear()
    os.environ.update({str(name): str(value) for name, value in dict(request["environment"]).items()})
    os.chdir(str(request["folder"]))
    for handle, name in ((0, os.devnull), (1, str(request["out"])), (2, str(request["err"]))):
        opened = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
        os.dup2(opened, handle)
        os.close(opened)
    for number, bound in dict(request["limits"]).items():
        resource.setrlimit(int(number), (bound, bound))
    if request["spare"] is not None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + int(str(request["spare"])),) * 2)
    sys.argv = ["itx", *request["words"]]
    runpy.run_module("itx", run_name="__main__", alter_sys=True)


def main() -> None:
    """Serve until stdin ends."""
    # Typer imports the rest of what it needs when it first reads a command line.
    with contextlib.suppress(RunError):
        app(["open", "no such run"])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
