"""A comparison: loaded models, asked one prompt at a time, answering with events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from itx.compare.context import ContextMaker
from itx.compare.crossing import read_behind
from itx.compare.decoding import Chooser
from itx.compare.events import Cancel, Event, Finished, Started
from itx.compare.naming import Names
from itx.compare.probing import Prober
from itx.compare.tokenizers import Families
from itx.compare.writing import Writing
from itx.errors import InputError, ItxError, MemoryExhaustedError, MismatchError, WindowError
from itx.models.contract import Engine
from itx.records import Context, GivenResponse, Message, Prompt, Run, Trace


class _Part(NamedTuple):
    """A response to be made: its author, and the response where it was given."""

    author: Engine
    given: GivenResponse | None


class Comparison:
    """The models of a run, ready to be asked; every response is scored by every other model.

    ``engines`` are in the order of the run's models, ``authors`` names of those who write. ``families`` says which have
    one tokenizer; all, where it is None.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        run: Run,
        authors: Sequence[str],
        contexts: ContextMaker,
        families: Families | None = None,
    ) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._run = run
        self._authors = [engine for engine in engines if engine.name in authors]
        self._contexts = contexts
        self._families = families or Families([list(engines)], [])
        family = self._families.find(run.tuned[0].name)
        shared = max((engine.vocabulary for engine in family), key=lambda vocabulary: vocabulary.size)
        self._apart = [engine.name for engine in engines if engine not in family]
        self._vocabularies = {
            engine.name: engine.vocabulary if engine.name in self._apart else shared for engine in engines
        }

    @property
    def run(self) -> Run:
        """What ``run.json`` will say."""
        return self._run

    @property
    def prober(self) -> Prober:
        """What asks the same models for facts."""
        return Prober(list(self._engines.values()), self._contexts, self._run.engine.chunk)

    def compare(self, prompt: Prompt, cancel: Cancel) -> Iterator[Event]:
        """Yield the events of one prompt; see ``events.Comparer``.

        Authors take turns token by token, so that answers stream side by side. Where one goes on behind a token that
        a scorer lacks, the trace has the error and all that was scored; with any other error it has no responses.
        """
        contexts: Mapping[str, Context] = {}
        writings: list[Writing] = []
        names = Names(self._vocabularies, self._apart)
        error: str | None = None
        begun = False
        kept = True
        try:
            contexts = self._contexts.make(prompt)
            parts = self._plan(prompt)
            begun = True
            yield Started(
                prompt=prompt,
                contexts=dict(contexts),
                authors=[part.author.name for part in parts],
                apart=self._apart,
            )
            for part in parts:
                writings.append(self._begin(prompt, part, contexts, names))
            yield from _take_turns(writings, cancel)
        except MismatchError as failure:
            error = str(failure)
        except ItxError as failure:
            error, kept = str(failure), False
        except MemoryError:
            kept = False
            error = str(MemoryExhaustedError("There was not enough memory for this prompt.", "Use a smaller --dtype."))
        if not begun:
            yield Started(prompt=prompt, contexts=dict(contexts), authors=[])
        yield Finished(
            trace=Trace(
                prompt_id=prompt.id,
                prompt=prompt.prompt,
                reference=prompt.reference,
                contexts=dict(contexts),
                responses=[writing.response() for writing in writings] if kept else [],
                error=error,
                pieces=names.pieces if kept else {},
                own_pieces=names.own_pieces if kept else {},
                messages=self._read_earlier(prompt),
            )
        )

    def _read_earlier(self, prompt: Prompt) -> list[Message]:
        """Return what the models were told before the prompt's last turn."""
        system = self._run.context.system
        earlier = prompt.messages[:-1]
        if system is None or any(message.role == "system" for message in earlier):
            return earlier
        return [Message(role="system", content=system), *earlier]

    def _plan(self, prompt: Prompt) -> list[_Part]:
        if not prompt.given:
            return [_Part(engine, None) for engine in self._authors]
        tuned = self._run.tuned[0].name
        parts: list[_Part] = []
        for given in prompt.given:
            name = given.author or tuned
            if name not in self._engines:
                raise InputError(
                    f"The response to prompt {prompt.id} names the author {name}, which is no model of this run.",
                    f"The models are: {', '.join(self._engines)}.",
                )
            if any(part.author.name == name for part in parts):
                raise InputError(
                    f"Prompt {prompt.id} has two responses of {name} (a response without an author is {tuned}'s).",
                    "Name another author, or give one of the two an id of its own.",
                )
            parts.append(_Part(self._engines[name], given))
        return parts

    def _begin(
        self,
        prompt: Prompt,
        part: _Part,
        contexts: Mapping[str, Context],
        names: Names,
    ) -> Writing:
        author, given = part
        family = self._families.find(author.name)
        room = self._room(contexts, family)
        ids = None if given is None else self._read_given(prompt, author, given, contexts[author.name])
        if ids is not None and room is not None and len(ids) > room:
            raise WindowError(
                f"The response to prompt {prompt.id} has {len(ids)} tokens, and the window has room for {room}.",
                "Shorten it, or use a model with a longer window.",
            )
        wanted = self._run.decoding.max_new_tokens
        return Writing(
            author,
            [engine for engine in family if engine is not author],
            contexts,
            chunk=self._run.engine.chunk,
            width=min(engine.vocab_size for engine in family),
            limit=wanted if room is None else min(wanted, room),
            chooser=Chooser(self._run.decoding, prompt.id, author.name),
            names=names,
            given=ids,
            apart=[engine for engine in self._engines.values() if engine not in family],
        )

    def _room(self, contexts: Mapping[str, Context], family: Sequence[Engine]) -> int | None:
        """Return how many positions fit the windows of a family, or None where none of it has one.

        Of another tokenizer's window only the context is known to fit.
        """
        rooms = []
        for engine in self._engines.values():
            if engine.window is None:
                continue
            used = len(contexts[engine.name].ids)
            if used >= engine.window:
                raise WindowError(
                    f"The context of {engine.name} has {used} tokens, and its window holds {engine.window}.",
                    "Shorten the prompt, or use a model with a longer window.",
                )
            if engine in family:
                rooms.append(engine.window - used)
        return min(rooms) if rooms else None

    def _read_given(self, prompt: Prompt, author: Engine, given: GivenResponse, context: Context) -> list[int]:
        """Return the ids of a given response: as they continue the context, where the tokenizer keeps that apart."""
        ids = given.ids
        if ids is None:
            ids = read_behind(author.vocabulary, context.text, given.text or "")
        wrong = next((token for token in ids if not 0 <= token < author.vocab_size), None)
        if wrong is not None:
            raise InputError(
                f"The response to prompt {prompt.id} has the id {wrong}, and {author.name} knows {author.vocab_size} "
                "ids.",
                "Give text or ids of its tokenizer that the model has embeddings for.",
            )
        return ids


def _take_turns(writings: Sequence[Writing], cancel: Cancel) -> Iterator[Event]:
    """Let each writing emit one id in turn until all are finished; ``cancel`` is asked before each.

    Where one cannot go on, the others do; then its MismatchError is raised.
    """
    active = list(writings)
    failure: MismatchError | None = None
    stopped = False
    while active:
        for writing in list(active):
            stopped = stopped or cancel()
            goes_on = True
            try:
                yield from writing.stop("cancelled") if stopped else writing.step()
            except MismatchError as error:
                failure = failure or error
                goes_on = False
            if not goes_on or writing.finish is not None:
                active.remove(writing)
    if failure is not None:
        raise failure
