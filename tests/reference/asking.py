"""Asking itx as its command line does, without a process: what is wanted in, traces out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itx.compare.events import Emitted, Finished, Scored
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
) -> tuple[Run, list[Trace]]:
    """Compare the models over the prompts and return what would be recorded.

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
        ),
        lambda step: None,
    )
    traces: list[Trace] = []
    for number, given in enumerate(prompts, start=1):
        prompt = Prompt(id=str(number), prompt=given) if isinstance(given, str) else given
        emitted: dict[str, list[int]] = {}
        scored: dict[str, list[float]] = {}
        finished: list[Trace] = []
        for event in comparison.compare(prompt, lambda: False):
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
        traces.append(trace)
    return comparison.run, traces


def give(
    text: str | None = None, ids: list[int] | None = None, *, prompt: str = QUESTIONS[0], author: str | None = None
) -> Prompt:
    """Return a prompt whose response is given."""
    return Prompt(id="1", prompt=prompt, given=[GivenResponse(author=author, text=text, ids=ids)])
