"""A process of its own: the screen on a comparison that streams a long synthetic response at an exact pace.

``python -m tests.bench.streaming FOLDER RATE TOKENS [ROWS]`` draws on its terminal; ``FOLDER/times`` gets a line at the
first and at the last token (seconds of the clock that all processes share, and the bytes of the text), ``FOLDER/late``
how many milliseconds each token came behind its time. With ROWS, a file of ``write_rows``, the response is traced in
them as it streams.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from itx.compare.events import Cancel, Emitted, Event, Loading
from itx.records import Prompt, Run, Trace
from itx.tui.app import run_app
from itx.tui.tracer import Tracer
from tests.support.traces import build_run, build_trace, long_text, tokenise
from tests.tui.fakes import FakeComparer, live_source

PROMPT = "Tell me a long story."
_COPIED = 12
"""Words of each passage of the response that a row near the prompt has; as many follow that none has."""


def write_rows(path: Path, tokens: int, rows: int) -> None:
    """Write ``rows`` rows: five near the prompt that have half of the response between them, others of chance."""
    words = long_text(tokens, seed=1).split()
    passages = [" ".join(words[start : start + _COPIED]) for start in range(0, len(words), 2 * _COPIED)]
    near = [(PROMPT, " Once more. ".join(passages[number::5])) for number in range(5)]
    others = ((f"Tell me of thing {number}.", long_text(60, seed=number + 2)) for number in range(rows - len(near)))
    with path.open("w", encoding="utf-8") as file:
        for instruction, output in (*near, *others):
            file.write(json.dumps({"instruction": instruction, "output": output}) + "\n")


def load_tracer(rows: Path, tell: Callable[[Loading], None]) -> Tracer:
    """Open the index of ``rows``, which is in the cache."""
    from itx.borrow.join import Joiner
    from itx.data.index import open_index

    return Joiner(open_index(str(rows), tell=lambda doing, _: tell(Loading(what=doing))))


def build_long_trace(tokens: int) -> Trace:
    """Return a trace whose tuned response has ``tokens`` positions, scored by the base; the base says nothing."""
    text = long_text(tokens, seed=1)
    ids = tokenise(text)
    while len(ids) > tokens:
        text = text[: -max(1, (len(ids) - tokens) // 2)]
        ids = tokenise(text)
    return build_trace("q1", PROMPT, {"full": text}, scorers={"full": ["base"]}, finish={"full": "length"})


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
        late: list[float] = []
        for event in fake.compare(prompt, cancel):
            if isinstance(event, Emitted):
                if not count:
                    start = time.perf_counter()
                    self._note(start, size)
                self.never.wait(max(0.0, start + count / self.rate - time.perf_counter()))
                late.append((time.perf_counter() - start - count / self.rate) * 1000)
                count += 1
            yield event
        (self.times.parent / "late").write_text("\n".join(map(str, late)))
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
    if len(sys.argv) > 4:
        rows = Path(sys.argv[4])
        source = replace(source, tracer=lambda tell: load_tracer(rows, tell))
    sys.exit(run_app(source))


if __name__ == "__main__":
    main()
