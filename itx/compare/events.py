"""What a live comparison tells whoever watches it, and the two calls a watcher may make.

Nothing heavy is imported here: the screen knows a comparison only through this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from itx.records import Context, Prompt, Record, Run, Score, Top, Trace


class Loading(Record, frozen=True, kw_only=True):
    """A step of loading: ``done`` of ``total`` (bytes or steps; total 0 where unknown) of ``what``."""

    what: str
    done: int = 0
    total: int = 0


class Started(Record, frozen=True, kw_only=True):
    """A prompt begins. ``authors`` are in the order of the run's models; ``apart`` are models with ids of their own."""

    prompt: Prompt
    contexts: dict[str, Context]
    authors: list[str]
    apart: list[str] = []


class Emitted(Record, frozen=True, kw_only=True):
    """An author emitted the token of ``position``. ``text`` is what became complete with it (may be empty)."""

    author: str
    position: int
    id: int
    piece: str
    text: str
    is_eos: bool = False


class Scored(Record, frozen=True, kw_only=True):
    """Figures of positions ``start`` … ``start + len(logp) - 1`` of an author's response.

    ``logp``, ``entropy`` and ``top`` are the author's own; ``scores`` has one slice a scorer. ``pieces`` names ids not
    named before in this prompt, ``own_pieces`` those of models with ids of their own. A scorer with another tokenizer
    than the author's has no slice until the response ends; then the whole score comes at once, with ``start`` at the
    end and no figures of the author's.
    """

    author: str
    start: int
    logp: list[float]
    entropy: list[float]
    top: list[Top]
    scores: dict[str, Score]
    pieces: dict[int, str]
    own_pieces: dict[str, dict[int, str]] = {}


class Finished(Record, frozen=True, kw_only=True):
    """The prompt is done, cancelled or failed (``trace.error``); the trace is complete and can be stored."""

    trace: Trace


Event = Started | Emitted | Scored | Finished
Cancel = Callable[[], bool]


class Again(Record, frozen=True, kw_only=True):
    """What several prompts were decoded together in failed, for ``reason``: this one begins anew, among fewer."""

    reason: str


class Told(NamedTuple):
    """An event of one of several prompts."""

    prompt: Prompt
    event: Event | Again


class Comparer(Protocol):
    """Loaded models, ready to be asked. One prompt at a time, on one thread."""

    @property
    def run(self) -> Run:
        """What ``run.json`` will say."""
        ...

    def compare(self, prompt: Prompt, cancel: Cancel) -> Iterator[Event]:
        """Yield Started, then Emitted and Scored as they come, and exactly one Finished at the end.

        ``cancel`` is asked before every token; what was emitted by then is scored and kept, with finish "cancelled".
        Errors of one prompt (a context too long, a template that fails) end in a Finished whose trace has ``error``.
        """
        ...


Loader = Callable[[Callable[[Loading], None]], Comparer]
"""Loads the models, telling its argument how far it is; raises ItxError."""
