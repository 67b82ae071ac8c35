"""Comparisons of tiny engines, and what their events say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from itx.compare.comparison import Comparison
from itx.compare.events import Emitted, Event, Finished, Scored, Started
from itx.compare.load import load_comparison
from itx.compare.request import Request
from itx.records import Decoding, Prompt, Response, Trace

PROMPT = Prompt(id="1", prompt="Tell me about rivers.")


def load(*tuned: str, base: str = "tiny:1", length: int = 30, **wanted: Any) -> Comparison:
    decoding = wanted.pop("decoding", Decoding(max_new_tokens=length))
    references = list(tuned) or ["tiny:1?tuned=0.3"]
    return load_comparison(
        Request(base=base, tuned=references, command=["itx", "run"], decoding=decoding, **wanted), lambda step: None
    )


def never() -> bool:
    return False


def after(count: int) -> Callable[[], bool]:
    """Cancel when asked for the ``count``-th time (from 0)."""
    asked: Iterator[int] = iter(range(10**9))
    return lambda: next(asked) >= count


def ask(
    comparison: Comparison, prompt: Prompt = PROMPT, cancel: Callable[[], bool] = never
) -> tuple[list[Event], Trace]:
    """Return all events and the trace, having checked that they follow the protocol and agree."""
    events = list(comparison.compare(prompt, cancel))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert all(isinstance(event, (Emitted, Scored)) for event in events[1:-1])
    trace = events[-1].trace
    if trace.error is None:
        check_agreement(events, trace)
    return events, trace


def check_agreement(events: list[Event], trace: Trace) -> None:
    """Assert that what was told live is what is recorded."""
    started = events[0]
    assert isinstance(started, Started)
    assert started.contexts == trace.contexts
    assert started.authors == [response.author for response in trace.responses]
    named: dict[int, str] = {}
    for response in trace.responses:
        emitted = [event for event in events if isinstance(event, Emitted) and event.author == response.author]
        scored = [event for event in events if isinstance(event, Scored) and event.author == response.author]
        assert [event.id for event in emitted] == response.ids
        assert [event.position for event in emitted] == list(range(len(response.ids)))
        assert "".join(event.text for event in emitted) == response.text
        assert [event.is_eos for event in emitted] == [
            response.finish == "eos" and place == len(response.ids) - 1 for place in range(len(response.ids))
        ]
        assert [value for event in scored for value in event.logp] == response.logp
        assert [value for event in scored for value in event.entropy] == response.entropy
        assert [top for event in scored for top in event.top] == response.top
        assert [event.start for event in scored] == [
            sum(len(earlier.logp) for earlier in scored[:place]) for place in range(len(scored))
        ]
        for name, score in response.scores.items():
            for column in ("logp", "rank", "ties", "entropy", "kl_author_scorer", "kl_scorer_author", "js", "top"):
                told = [value for event in scored for value in getattr(event.scores[name], column)]
                assert told == getattr(score, column)
                assert len(told) == len(response.ids)
        check_spans(response, [event.text for event in emitted])
        for event in scored:
            assert not named.keys() & event.pieces.keys()
            named |= event.pieces
    assert named == trace.pieces
    used = {token for response in trace.responses for token in response.ids}
    used |= {token for response in trace.responses for top in response.top for token, _ in top}
    used |= {
        token
        for response in trace.responses
        for score in response.scores.values()
        for top in score.top
        for token, _ in top
    }
    assert set(trace.pieces) == used


def check_spans(response: Response, texts: list[str]) -> None:
    assert len(response.ends) == len(response.ids)
    for place, text in enumerate(texts):
        start, end = response.span(place)
        assert response.text[start:end] == text
