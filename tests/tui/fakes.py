"""A comparison without models: it replays traces as events, at a given pace, and obeys cancel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from itx.compare.events import Cancel, Emitted, Event, Finished, Loading, Scored, Started
from itx.errors import ItxError
from itx.records import Prompt, Response, Run, Score, Trace
from itx.tui.live import Live


def _part(score: Score, start: int, end: int) -> Score:
    values = {name: getattr(score, name) for name in score.__struct_fields__}
    part = {name: value[start:end] if isinstance(value, list) else value for name, value in values.items()}
    return msgspec.convert(part, Score)


def _cut(response: Response, count: int) -> Response:
    """Return the response as it is when it was stopped after ``count`` positions."""
    return msgspec.structs.replace(
        response,
        ids=response.ids[:count],
        text=response.text[: response.ends[count - 1]] if count else "",
        ends=response.ends[:count],
        finish="cancelled",
        logp=response.logp[:count],
        entropy=response.entropy[:count],
        top=response.top[:count],
        scores={name: _part(score, 0, count) for name, score in response.scores.items()},
    )


@dataclass
class FakeComparer:
    """Answers the n-th prompt with the n-th trace (and starts again after the last)."""

    run: Run
    traces: Sequence[Trace]
    pause: float = 0.0
    """Seconds between two tokens."""
    chunk: int = 32
    gate: threading.Event | None = None
    """Where given, a prompt waits for it after its first chunk."""
    steps: threading.Semaphore | None = None
    """Where given, every chunk is followed by a wait until it is released once more."""
    asked: list[str] = field(default_factory=list)
    fail_on: dict[str, Exception] = field(default_factory=dict)
    never: threading.Event = field(default_factory=threading.Event)

    def compare(self, prompt: Prompt, cancel: Cancel) -> Iterator[Event]:
        """Replay a trace."""
        trace = self.traces[len(self.asked) % len(self.traces)]
        self.asked.append(prompt.id)
        if prompt.id in self.fail_on:
            raise self.fail_on[prompt.id]
        trace = msgspec.structs.replace(trace, prompt_id=prompt.id, prompt=prompt.prompt, reference=prompt.reference)
        authors = [response.author for response in reversed(trace.responses)]
        yield Started(prompt=prompt, contexts=trace.contexts, authors=authors)
        done: dict[str, Response] = {}
        for response in reversed(trace.responses):
            count = yield from self._replay(response, trace, cancel)
            done[response.author] = response if count == len(response.ids) else _cut(response, count)
        responses = [done[response.author] for response in trace.responses]
        yield Finished(trace=msgspec.structs.replace(trace, responses=responses))

    def _replay(self, response: Response, trace: Trace, cancel: Cancel) -> Generator[Event, None, int]:
        scored = 0
        for position, identifier in enumerate(response.ids):
            if cancel():
                break
            if self.pause:
                self.never.wait(self.pause)
            last = position == len(response.ids) - 1
            yield Emitted(
                author=response.author,
                position=position,
                id=identifier,
                piece=trace.pieces[identifier],
                text=response.text[slice(*response.span(position))],
                is_eos=last and response.finish == "eos",
            )
            if position + 1 - scored >= self.chunk or last:
                yield self._score(response, trace, scored, position + 1)
                scored = position + 1
                while self.gate is not None and not self.gate.is_set() and not cancel():
                    self.gate.wait(0.01)
                while self.steps is not None and not self.steps.acquire(timeout=0.01) and not cancel():
                    pass
        else:
            return len(response.ids)
        if scored < position:
            yield self._score(response, trace, scored, position)
        return position

    @staticmethod
    def _score(response: Response, trace: Trace, start: int, end: int) -> Scored:
        return Scored(
            author=response.author,
            start=start,
            logp=response.logp[start:end],
            entropy=response.entropy[start:end],
            top=response.top[start:end],
            scores={name: _part(score, start, end) for name, score in response.scores.items()},
            pieces=trace.pieces,
        )


def live_source(
    folder: Path,
    comparer: FakeComparer,
    prompts: Sequence[str] = (),
    *,
    loading: threading.Event | None = None,
    error: ItxError | None = None,
) -> Live:
    """Return a live source that records into ``folder``; loading waits for an event, or fails."""

    def load(tell: Callable[[Loading], None]) -> FakeComparer:
        tell(Loading(what="reading base", done=3, total=10))
        if loading is not None:
            loading.wait()
        if error is not None:
            raise error
        return comparer

    asked = [Prompt(id=f"q{number}", prompt=text) for number, text in enumerate(prompts, 1)]
    return Live(loader=load, folder=folder, prompts=asked)
