"""Several prompts answered together; in halves where that fails, so that one prompt takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from itx.compare.case import Case
from itx.compare.draft import Draft
from itx.compare.events import Again, Cancel, Emitted, Scored, Told
from itx.compare.group import Group
from itx.errors import ItxError, MemoryExhaustedError
from itx.records import Prompt

_Placed = tuple[int, Emitted | Scored | Again]


class Sitting:
    """Prompts that are asked together. ``most`` is how many at once memory was found to have room for, or None.

    ``open_case`` makes of a prompt what is to be answered.
    """

    def __init__(self, prompts: Sequence[Prompt], open_case: Callable[[Prompt], Case], most: int | None = None) -> None:
        self.most = most
        self._open = open_case
        self._cases = [open_case(prompt) for prompt in prompts]
        self._told = 0

    def answer(self, cancel: Cancel) -> Iterator[Told]:
        """Yield every prompt's events, and the Finished ones in order, each as soon as those before it are there.

        A prompt that had not begun when ``cancel`` came has none.
        """
        for case in self._cases:
            yield Told(case.prompt, case.started())
        yield from self._finish()
        for place, event in self._answer([place for place, case in enumerate(self._cases) if not case.done], cancel):
            yield Told(self._cases[place].prompt, event)
            yield from self._finish()
        yield from self._finish()

    def _finish(self) -> Iterator[Told]:
        while self._told < len(self._cases) and self._cases[self._told].done:
            case = self._cases[self._told]
            self._told += 1
            yield Told(case.prompt, case.finished())

    def _answer(self, places: Sequence[int], cancel: Cancel) -> Iterator[_Placed]:
        if len(places) == 1:
            case = self._cases[places[0]]
            for event in case.answer(cancel):
                yield places[0], event
            case.done = True
            return
        if self.most is not None and len(places) > self.most:
            yield from self._halve(places, cancel)
            return
        try:
            yield from self._advance(places, cancel)
        except (ItxError, MemoryError) as error:
            if isinstance(error, (MemoryExhaustedError, MemoryError)):
                self.most = max(1, len(places) // 2)
            reason = str(error) or "There was not enough memory."
        else:
            return
        rest = [place for place in places if not self._cases[place].done]
        for place in rest:
            self._cases[place] = self._open(self._cases[place].prompt)
            yield place, Again(reason=reason)
        yield from self._halve(rest, cancel)

    def _halve(self, places: Sequence[int], cancel: Cancel) -> Iterator[_Placed]:
        middle = (len(places) + 1) // 2
        for half in (places[:middle], places[middle:]):
            if half and not cancel():
                yield from self._answer(half, cancel)

    def _advance(self, places: Sequence[int], cancel: Cancel) -> Iterator[_Placed]:
        """Write and score the drafts of all these prompts: one author after the other, whose caches go before the
        next one's come. Raises what a batch raises, whichever prompt is to blame.
        """
        owners = {draft: place for place in places for draft in self._cases[place].drafts}
        together: dict[tuple[str, bool], list[Draft]] = {}
        for draft in owners:
            together.setdefault((draft.author.name, draft.given is not None), []).append(draft)
        stopped = False
        for drafts in together.values():
            group = Group(drafts)
            while not group.done:
                stopped = stopped or cancel()
                for draft, event in group.cancel() if stopped else group.step():
                    yield owners[draft], event
                for place in places:
                    self._cases[place].settle()
            del group
        for place in places:
            self._cases[place].settle()
