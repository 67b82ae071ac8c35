"""Models that are loaded one after the other, where they do not fit into memory together.

A *seat* is what is loaded at once: base with its adapters, which share its weights, or a full checkpoint. Whoever asks
a model for a stream gets its seat loaded, and what was loaded before is dropped; everything else that a model says of
itself is remembered.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence

from itx.models.contract import Batch, Engine, Rows, Stream
from itx.models.options import Options, Tell
from itx.models.reference import Reference
from itx.models.turns import Turns

Load = Callable[[Sequence[Reference], Options, Tell], list[Engine]]


class Seats:
    """The models of a run by seat. One seat is loaded at a time; whoever has streams of it must let go of them before
    another is asked for."""

    def __init__(self, seats: Sequence[Sequence[Reference]], options: Options, tell: Tell, load: Load) -> None:
        self._seats = [list(seat) for seat in seats]
        self._options = options
        self._tell = tell
        self._load = load
        self._loaded: dict[str, Engine] = {}
        self._current = -1
        self.guests: list[Guest] = []
        """The models, in the order of their references."""
        for place in range(len(self._seats)):
            self._take(place)
            self.guests += [Guest(self, engine, place) for engine in self._loaded.values()]

    def list_engines(self) -> list[list[Engine]]:
        """Return the models by seat, in the order in which they are best asked: what is loaded first."""
        order = sorted(range(len(self._seats)), key=lambda place: place != self._current)
        return [[guest for guest in self.guests if guest.place == place] for place in order]

    def find(self, name: str, place: int) -> Engine:
        """Return a model, with its seat loaded. Raises ItxError as loading does."""
        self._take(place)
        return self._loaded[name]

    def _take(self, place: int) -> None:
        if place == self._current:
            return
        self._loaded, self._current = {}, -1
        _let_go()
        self._loaded = {engine.name: engine for engine in self._load(self._seats[place], self._options, self._tell)}
        self._current = place


class Guest:
    """A model that need not be loaded: an engine whose weights come when a stream is asked for."""

    together: int | None = 1

    def __init__(self, seats: Seats, engine: Engine, place: int) -> None:
        self._seats = seats
        self.place = place
        """Its seat."""
        self.name = engine.name
        self.kind = engine.kind
        self.reference = engine.reference
        self.adapter = engine.adapter
        self.quantization = engine.quantization
        self.vocabulary = engine.vocabulary
        self.template = engine.template
        self.vocab_size = engine.vocab_size
        self.eos = engine.eos
        self.window = engine.window
        self.chunk = engine.chunk
        self.block = engine.block
        self.threads = engine.threads
        self.dtype = engine.dtype
        self.device = engine.device
        self.fingerprint = engine.fingerprint
        self.arithmetic = engine.arithmetic

    def read(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Return the logits after the last ``keep`` of ``ids``, with the weights loaded."""
        return self._seats.find(self.name, self.place).read(ids, keep)

    def stream(self) -> Stream:
        """Return a fresh stream, with the weights loaded."""
        return self._seats.find(self.name, self.place).stream()

    def batch(self, count: int) -> Batch:
        """Return ``count`` fresh streams, asked in turn."""
        return Turns([self.stream() for _ in range(count)], self.arithmetic)


def _let_go() -> None:
    """Give the memory of what nobody has any more back, on a device, too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
