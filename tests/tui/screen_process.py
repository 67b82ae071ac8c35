"""Run the screen in a process of its own: ``… recorded|open|library|live|llama FOLDER [PAUSE]``."""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

from itx.compare.events import Cancel, Event
from itx.records import Prompt
from itx.runs.recording import Recording
from itx.tui.app import run_app, run_library
from tests.support.traces import build_run, build_traces, write_run
from tests.tui.fakes import FakeComparer, live_source


class NoisyComparer(FakeComparer):
    """Writes to both descriptors while it works, as native libraries do."""

    def compare(self, prompt: Prompt, cancel: Cancel) -> Iterator[Event]:
        """Replay, with noise."""
        for event in super().compare(prompt, cancel):
            os.write(1, b"NOISE-OUT")
            os.write(2, b"NOISE-ERR")
            yield event


def compare_through_llama(folder: Path) -> int:
    """Compare a tiny GGUF file and its LoRA while the C library prints at every call of llama.cpp."""
    from itx.models.llama.weights import Session, Weights
    from tests.support import ggufs

    tensors = ggufs.draw_tensors()
    base = ggufs.write_model(folder / "base.gguf", tensors)
    lora = ggufs.write_lora(folder / "lora.gguf", ggufs.draw_lora(tensors), alpha=None)
    native = ctypes.CDLL(None)

    def noisy(method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **settings: object) -> object:
            native.puts(b"NATIVE-OUT")
            native.perror(b"NATIVE-ERR")
            native.fflush(None)
            return method(*arguments, **settings)

        return call

    for owner, name in ((Weights, "__init__"), (Session, "__init__"), (Session, "decode")):
        setattr(owner, name, noisy(getattr(owner, name)))
    options = ["--chat-template", "plain", "--max-new-tokens", "16", "--threads", "1", "--out", str(folder / "run")]
    sys.argv = ["itx", "compare", str(base), str(lora), "--prompt", "hello there", *options]
    from itx.__main__ import start

    start()
    return 0


def main(kind: str, folder: Path, pause: float) -> int:
    """Show a recorded run, or a live comparison of fake models."""
    run = build_run(("lora",))
    traces = build_traces(run, 3, words=80)
    if kind == "recorded":
        return run_app(Recording.open(write_run(folder, run, traces)))
    if kind == "llama":
        return compare_through_llama(folder)
    if kind == "library":
        return run_library([folder])
    if kind == "open":
        return run_app(Recording.open(folder))
    comparer = NoisyComparer(run, traces, pause=pause, chunk=8)
    return run_app(live_source(folder, comparer, ["one", "two"]))


if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that a terminal that goes away sends SIGHUP
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0))
