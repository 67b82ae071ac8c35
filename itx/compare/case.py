"""One prompt under way: its contexts, its drafts, and the trace that they end in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from itx.compare.draft import Draft
from itx.compare.events import Cancel, Emitted, Finished, Scored, Started
from itx.compare.group import Group
from itx.compare.naming import Names
from itx.errors import ItxError, MemoryExhaustedError, MismatchError
from itx.records import Context, Message, Prompt, Trace


class Case:
    """A prompt. ``error`` says what went wrong with it; ``messages`` are what the models were told before it."""

    def __init__(self, prompt: Prompt, names: Names, messages: Sequence[Message]) -> None:
        self.prompt = prompt
        self.names = names
        self.contexts: Mapping[str, Context] = {}
        self.drafts: list[Draft] = []
        self.error: str | None = None
        self.done = False
        """Whether nothing more is to come but the trace."""
        self._messages = list(messages)
        self._authors: list[str] = []
        self._apart: list[str] = []
        self._kept = True

    def begin(self, authors: Sequence[str]) -> None:
        """Say who will answer: from here on the prompt is one that began."""
        self._authors = list(authors)
        self._apart = self.names.apart

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Take what is raised within the block for the prompt's error.

        With a MismatchError what was scored stays in the trace; with any other it has no responses.
        """
        try:
            yield
        except MismatchError as failure:
            self.error = str(failure)
        except ItxError as failure:
            self.error, self._kept = str(failure), False
        except MemoryError:
            self._kept = False
            self.error = str(
                MemoryExhaustedError("There was not enough memory for this prompt.", "Use a smaller --dtype.")
            )
        self.done = self.error is not None

    def settle(self) -> None:
        """Notice that all drafts are complete, and what kept one of them from going on."""
        if not self.done and all(draft.complete for draft in self.drafts):
            failures = [draft.failure for draft in self.drafts if draft.failure is not None]
            self.error = str(failures[0]) if failures else None
            self.done = True

    def answer(self, cancel: Cancel) -> Iterator[Emitted | Scored]:
        """Write and score the drafts alone: authors take turns token by token, and ``cancel`` is asked before each.

        Where one cannot go on, the others do.
        """
        if self.error is not None:
            return
        with self.failing():
            active = [Group([draft]) for draft in self.drafts]
            stopped = False
            while active:
                for group in list(active):
                    stopped = stopped or cancel()
                    yield from (event for _, event in (group.cancel() if stopped else group.step()))
                    if group.done:
                        active.remove(group)
        self.settle()

    def started(self) -> Started:
        """Return the event that the prompt begins with."""
        return Started(prompt=self.prompt, contexts=dict(self.contexts), authors=self._authors, apart=self._apart)

    def finished(self) -> Finished:
        """Return the event that it ends with."""
        return Finished(
            trace=Trace(
                prompt_id=self.prompt.id,
                prompt=self.prompt.prompt,
                reference=self.prompt.reference,
                contexts=dict(self.contexts),
                responses=[draft.response() for draft in self.drafts] if self._kept else [],
                error=self.error,
                pieces=self.names.pieces if self._kept else {},
                own_pieces=self.names.own_pieces if self._kept else {},
                messages=self._messages,
            )
        )
