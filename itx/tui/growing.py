"""A prompt whose answers are being written, as the tracing thread sees it.

The worker adds events and never waits; the tracing thread takes them in when it has time, and reads what there is.
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from typing import NamedTuple

from itx.compare.events import Event, Started
from itx.records import Message, Prompt, Response, Trace
from itx.tui.answers import Answer, Exchange


class _Sketched(NamedTuple):
    """When a response was sketched last, and what there was of it: positions, those scored, and whole words."""

    moment: float = float("-inf")
    length: int = 0
    scored: tuple[int, ...] = ()
    text: str = ""


class Growing:
    """One prompt from its first event on. ``add`` is for the worker's thread, all else for the tracing thread."""

    def __init__(self, started: Started, system: str | None) -> None:
        """``system`` is the run's system message, which a conversation that has its own does without."""
        self.prompt_id = started.prompt.id
        self.question = ask(started.prompt, system)
        self._events: deque[Event] = deque()
        self._exchange = Exchange(started.prompt.id, started.prompt.prompt)
        self._exchange.apply(started)
        self._sketched: dict[str, _Sketched] = {}
        self._given_up: set[str] = set()

    def add(self, event: Event) -> None:
        """Leave an event to be taken in."""
        self._events.append(event)

    def choose(self, now: float, pace: float) -> tuple[Trace, Response] | None:
        """Return the response to sketch now: of those with news, last sketched ``pace`` seconds ago, the longest ago.

        It counts as sketched from now on. None where none is due.
        """
        while self._events:
            self._exchange.apply(self._events.popleft())
        last = {author: self._sketched.get(author, _Sketched()) for author in self._exchange.answers}
        due = [author for author in last if author not in self._given_up and last[author].moment + pace <= now]
        for author in sorted(due, key=lambda author: last[author].moment):
            answer, before = self._exchange.answers[author], last[author]
            scored = tuple(answer.scored(scorer) for scorer in answer.scores)
            if (answer.length, scored) == (before.length, before.scored):
                continue
            response = cut_response(answer)
            if not response.text or (response.text, scored) == (before.text, before.scored):
                self._sketched[author] = before._replace(length=answer.length, scored=scored)
                continue
            self._sketched[author] = _Sketched(now, answer.length, scored, response.text)
            return self.question, response
        return None

    def give_up(self, author: str) -> None:
        """Sketch an author's response no more: that failed."""
        self._given_up.add(author)


def ask(prompt: Prompt, system: str | None = None) -> Trace:
    """Return what a trace of ``prompt`` says of the question alone."""
    earlier = prompt.messages[:-1]
    if system is not None and all(message.role != "system" for message in earlier):
        earlier = [Message(role="system", content=system), *earlier]
    return Trace(prompt_id=prompt.id, prompt=prompt.prompt, messages=earlier)


def cut_response(answer: Answer) -> Response:
    """Return what there is of a response; its text ends before the last word, which may still grow.

    A response that has come to its end keeps all its words. Scores may be behind the text.
    """
    text = answer.text
    if answer.end is None:
        text = text[: find_end(text)]
    return Response(
        author=answer.author,
        ids=list(answer.ids),
        text=text,
        finish="length" if answer.end is None else "eos",
        logp=answer.logp,
        entropy=answer.entropy,
        scores=answer.scores,
        ends=list(accumulate(map(len, answer.parts))),
    )


def find_end(text: str) -> int:
    """Return where the words of ``text`` end that nothing can change any more: all but the last.

    What comes next may change that one, as ``don`` becomes ``don't``. What stands behind the last but one is left out,
    too: without what follows, the sign of ``C+1`` would belong to its first word.
    """
    from itx.data.folding import fold

    folded = fold(text)
    return max((end for end in folded.ends if end <= folded.starts[-1]), default=0)
