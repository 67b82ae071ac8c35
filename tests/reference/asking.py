"""Asking itx as its command line does, without a process: what is wanted in, traces out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from itx.compare.events import Again, Emitted, Event, Finished, Scored
from itx.compare.load import load_comparison
from itx.compare.request import Request
from itx.records import Decoding, GivenResponse, Prompt, Run, Trace

QUESTIONS = [
    "Tell me about the battle of Waterloo.",
    "Give me tips",
    "bread?",
    "Was ist in 東京 im Frühling schön? 🌸",
    "Give me three tips for better sleep.",
    "x",
]


def compare(
    base: Path | str,
    tuned: dict[str, Path | str],
    prompts: Sequence[Prompt | str],
    *,
    length: int = 24,
    chunk: int | None = None,
    dtype: str = "float32",
    authors: str = "all",
    resolved: dict[str, Path] | None = None,
    chat_template: str | None = None,
    threads: int | None = None,
    batch: int = 1,
) -> tuple[Run, list[Trace]]:
    """Compare the models over the prompts, ``batch`` at a time, and return what would be recorded.

    Asserts on the way that the events agree with the trace they end in.
    """
    comparison = load_comparison(
        Request(
            base=str(base),
            tuned=[f"{name}={reference}" for name, reference in tuned.items()],
            command=["itx", "run"],
            decoding=Decoding(max_new_tokens=length),
            authors=authors,
            dtype=dtype,
            chunk=chunk,
            devices={"": "cpu"},
            resolved=resolved or {},
            chat_template=chat_template,
            threads=threads,
            batch_size=batch,
        ),
        lambda step: None,
    )
    asked = [
        Prompt(id=str(number), prompt=given) if isinstance(given, str) else given
        for number, given in enumerate(prompts, start=1)
    ]
    if batch == 1:
        return comparison.run, [_follow(comparison.compare(prompt, lambda: False)) for prompt in asked]
    traces: list[Trace] = []
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        told = list(comparison.compare_together(part, lambda: False))
        traces += [_follow(each.event for each in told if each.prompt is prompt) for prompt in part]
    return comparison.run, traces


def _follow(events: Iterable[Event | Again]) -> Trace:
    """Return the trace that a prompt's events end in."""
    emitted: dict[str, list[int]] = {}
    scored: dict[str, list[float]] = {}
    finished: list[Trace] = []
    for event in events:
        assert not isinstance(event, Again), event.reason
        if isinstance(event, Emitted):
            assert event.position == len(emitted.setdefault(event.author, []))
            emitted[event.author].append(event.id)
        elif isinstance(event, Scored):
            assert event.start == len(scored.setdefault(event.author, []))
            scored[event.author].extend(event.logp)
        elif isinstance(event, Finished):
            finished.append(event.trace)
    assert len(finished) == 1
    trace = finished[0]
    for response in trace.responses:
        assert emitted.get(response.author, []) == response.ids
        assert scored.get(response.author, []) == response.logp
    return trace


def give(
    text: str | None = None, ids: list[int] | None = None, *, prompt: str = QUESTIONS[0], author: str | None = None
) -> Prompt:
    """Return a prompt whose response is given."""
    return Prompt(id="1", prompt=prompt, given=[GivenResponse(author=author, text=text, ids=ids)])
