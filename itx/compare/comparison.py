"""A comparison: loaded models, asked one prompt at a time or several together, answering with events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from itx.compare.case import Case
from itx.compare.context import ContextMaker
from itx.compare.crossing import read_behind
from itx.compare.decoding import Chooser
from itx.compare.draft import Draft
from itx.compare.events import Cancel, Event, Told
from itx.compare.naming import Names
from itx.compare.probing import Prober
from itx.compare.relay import Relay, choose_size
from itx.compare.spool import Spool
from itx.compare.together import Sitting
from itx.compare.tokenizers import Families
from itx.errors import InputError, WindowError
from itx.models.contract import Engine
from itx.records import Context, GivenResponse, Message, Prompt, Run


class _Part(NamedTuple):
    """A response to be made: its author, and the response where it was given."""

    author: Engine
    given: GivenResponse | None


class Comparison:
    """The models of a run, ready to be asked; every response is scored by every other model.

    ``engines`` are in the order of the run's models, ``authors`` names of those who write. ``families`` says which have
    one tokenizer; all, where it is None. With ``seats`` models are loaded one seat after the other, in this order.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        run: Run,
        authors: Sequence[str],
        contexts: ContextMaker,
        families: Families | None = None,
        seats: Sequence[Sequence[Engine]] = (),
    ) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._run = run
        self._most: int | None = None
        self._seats = list(seats)
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
        engines = [engine for seat in self._seats for engine in seat] or list(self._engines.values())
        return Prober(engines, self._contexts, self._run.engine.chunk, in_turn=bool(self._seats))

    def compare(self, prompt: Prompt, cancel: Cancel) -> Iterator[Event]:
        """Yield the events of one prompt; see ``events.Comparer``.

        Authors take turns token by token, so that answers stream side by side. Where one goes on behind a token that
        a scorer lacks, the trace has the error and all that was scored; with any other error it has no responses.
        """
        case = self.open(prompt)
        yield case.started()
        yield from case.answer(cancel)
        yield case.finished()

    def count_together(self, prompts: Sequence[Prompt]) -> int:
        """Return how many of these prompts are best asked together. Raises MemoryExhaustedError for a full disk."""
        if not self._seats:
            return self._run.engine.batch_size
        given = [len((each.text or "").encode()) + len(each.ids or ()) for prompt in prompts for each in prompt.given]
        authors = list(self._engines.values()) if given else self._authors
        longest = max(given, default=self._run.decoding.max_new_tokens)
        return choose_size(authors, longest, Spool.measure_room())

    def compare_together(self, prompts: Sequence[Prompt], cancel: Cancel) -> Iterator[Told]:
        """Yield the events of all prompts, of each those that ``compare`` would yield; Finished ones in order.

        The figures are those of one prompt at a time but for rounding. An error of one prompt is its own: where all
        fail at once, those that are not finished have Again and are done over, among fewer. Those that had not begun
        when ``cancel`` came have no Finished.
        """
        if self._seats:
            yield from Relay(prompts, self.open, self._seats).answer(cancel)
            return
        sitting = Sitting(prompts, self.open, self._most)
        yield from sitting.answer(cancel)
        self._most = sitting.most

    def open(self, prompt: Prompt) -> Case:
        """Return a prompt with its contexts and the responses to be made; what is wrong with it is its ``error``."""
        case = Case(prompt, Names(self._vocabularies, self._apart), self._read_earlier(prompt))
        with case.failing():
            case.contexts = self._contexts.make(prompt)
            parts = self._plan(prompt)
            case.begin([part.author.name for part in parts])
            for part in parts:
                case.drafts.append(self._draft(prompt, part, case.contexts, case.names))
        return case

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

    def _draft(self, prompt: Prompt, part: _Part, contexts: Mapping[str, Context], names: Names) -> Draft:
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
        return Draft(
            author,
            [engine for engine in family if engine is not author],
            contexts,
            chunk=self._run.engine.chunk if ids is None else self._run.engine.given_chunk or self._run.engine.chunk,
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
