"""A process of its own: the screen on a comparison that streams a long synthetic response at an exact pace.

``python -m tests.bench.streaming FOLDER RATE TOKENS`` draws on its terminal; ``FOLDER/times`` gets a line at the first
and at the last token (seconds of the clock that all processes share, and the bytes of the text).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from itx.compare.events import Cancel, Emitted, Event
from itx.records import Prompt, Run, Trace
from itx.tui.app import run_app
from tests.support.traces import build_run, build_trace, long_text, tokenise
from tests.tui.fakes import FakeComparer, live_source


def build_long_trace(tokens: int) -> Trace:
    """Return a trace whose tuned response has ``tokens`` positions, scored by the base; the base says nothing."""
    text = long_text(tokens, seed=1)
    ids = tokenise(text)
    while len(ids) > tokens:
        text = text[: -max(1, (len(ids) - tokens) // 2)]
        ids = tokenise(text)
    return build_trace(
        "q1", "Tell me a long story.", {"full": text}, scorers={"full": ["base"]}, finish={"full": "length"}
    )


@dataclass
class Paced:
    """Replays a trace with token i at i / rate seconds, and notes when the first and the last one came."""

    run: Run
    trace: Trace
    rate: float
    times: Path
    never: threading.Event = field(default_factory=threading.Event)

    def compare(self, prompt: Prompt, cancel: Cancel) -> Iterator[Event]:
        """Replay the trace at its pace."""
        fake = FakeComparer(self.run, [self.trace])
        size = len(self.trace.responses[0].text.encode())
        start, count = 0.0, 0
        for event in fake.compare(prompt, cancel):
            if isinstance(event, Emitted):
                if not count:
                    start = time.perf_counter()
                    self._note(start, size)
                self.never.wait(max(0.0, start + count / self.rate - time.perf_counter()))
                count += 1
            yield event
        self._note(time.perf_counter(), size)

    def _note(self, moment: float, size: int) -> None:
        with self.times.open("a") as file:
            file.write(f"{moment} {size}\n")


def main() -> None:
    """Draw until the person leaves."""
    folder, rate, tokens = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    trace = build_long_trace(tokens)
    comparer = Paced(build_run(), trace, rate, folder / "times")
    # live_source wants a FakeComparer by name; what the screen asks of it is a Comparer.
    source = live_source(folder / "run", comparer, [trace.prompt])
    sys.exit(run_app(source))


if __name__ == "__main__":
    main()
