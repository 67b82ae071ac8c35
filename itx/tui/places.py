"""Where the person was in every response, for each prompt and author."""

from __future__ import annotations

from itx.records import Thresholds
from itx.tui.answers import Exchange
from itx.tui.widgets.response import Place, ResponsePane


class Places:
    """Keeps places while others are looked at, and finds one where nobody has been yet."""

    def __init__(self) -> None:
        self._active: dict[tuple[str, str], Place] = {}
        """With the cursor, as it was when the author was the one looked at."""
        self._beside: dict[tuple[str, str], Place] = {}
        """How far a response was scrolled; it has no cursor when it stands beside the author's."""

    def keep(self, pane: ResponsePane) -> None:
        """Keep the place in what a pane shows."""
        if pane.exchange is None or pane.answer is None:
            return
        key = pane.exchange.prompt_id, pane.answer.author
        here = pane.place._replace(top=pane.scroll_offset.y)
        self._beside[key] = here._replace(cursor=None)
        if pane.active:
            self._active[key] = here

    def find(self, exchange: Exchange | None, author: str, scorer: str, bounds: Thresholds, *, active: bool) -> Place:
        """Return where the person was; at first, on the first shifted token of a complete response.

        A response that was read on beside another stays where it was scrolled.
        """
        if exchange is None:
            return Place()
        key = exchange.prompt_id, author
        if not active:
            return self._beside.get(key, Place())
        kept, answer = self._active.get(key), exchange.answers.get(author)
        if kept is not None and (kept.cursor is not None or answer is None or answer.finish is None):
            return kept
        if answer is None or answer.finish is None or not answer.length:
            return Place()
        read = self._beside.get(key)
        if read is not None and read.top:
            return Place(follow=False, top=read.top)
        shifted = answer.shifted(scorer, bounds)
        return Place(shifted[0] if shifted else 0, follow=False)
