"""The engine contract: what a comparison needs of a local model, and nothing else.

An engine is one set of weights on one device. A *stream* is one KV cache on it: ``extend`` feeds ids and answers with
the logits that follow them. Several streams may live on one engine, and several engines may share one copy of the
weights (a base and its adapters). Row *i* of an answer predicts what follows the *i*-th of the ids it was kept for.

Rows stay where they were computed, in the dtype they were computed in; whoever holds them looks at them only through
the engine's ``Arithmetic``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itx.records import Score, Top

FLOOR = 1e4
"""Log-probs below −FLOOR nats, those of −inf logits included, count as −FLOOR: figures stay finite."""

TOP = 10
"""Alternatives kept a position."""


class Rows(Protocol):
    """Logits of shape [n, vocabulary], native dtype, on the engine's device. Opaque to all but its Arithmetic."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Own:
    """What an author says of its own positions: log-probs of the emitted ids, entropies in nats, the ten best."""

    logp: list[float]
    entropy: list[float]
    top: list[Top]


@dataclass(frozen=True, slots=True)
class Reduction:
    """A block of positions reduced to scalars: the author's own figures and one slice of scores a scorer."""

    own: Own
    scores: list[Score]


class Decoder(Protocol):
    """Turns ids into text one at a time; characters come out when their last byte is in."""

    def feed(self, token: int) -> str:
        """Return the text that became complete with ``token``."""
        ...

    def flush(self) -> str:
        """Return what is left of an unfinished character, as U+FFFD (empty where nothing is)."""
        ...


class Vocabulary(Protocol):
    """What an engine's token ids mean."""

    @property
    def size(self) -> int:
        """Ids the tokenizer knows, added tokens included (the engine may have more logit columns: padding)."""
        ...

    @property
    def bos(self) -> int | None:
        """The id that begins a text, where the tokenizer has one."""
        ...

    @property
    def adds_bos(self) -> bool:
        """Whether the tokenizer normally puts ``bos`` before a text."""
        ...

    @property
    def special(self) -> frozenset[int]:
        """Ids of markers that are no text: BOS, EOS, turn markers."""
        ...

    @property
    def added(self) -> frozenset[int]:
        """Ids that were put beside the trained vocabulary: markers, reserved places, words."""
        ...

    @property
    def symbols(self) -> Mapping[int, str]:
        """How the tokenizer itself writes each id that it knows (``Ġthe``, ``▁the``, ``<|end|>``)."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """The special tokens' texts by the names chat templates use (``bos_token``, ``eos_token``, …)."""
        ...

    @property
    def fingerprint(self) -> str:
        """``sha256:…`` of the tokenizer's file."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``; markers written in it become their ids, and nothing is added."""
        ...

    def piece(self, token: int) -> str:
        """Return one id as text; bytes that are no whole character are written ``<0xE2>``."""
        ...

    def decoder(self) -> Decoder:
        """Return a fresh incremental decoder for text that continues a context."""
        ...


class Stream(Protocol):
    """One KV cache."""

    def extend(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Feed ``ids`` (at least one) and return the logits after the last ``keep`` of them.

        Raises MemoryExhaustedError where the machine or the device has no memory left.
        """
        ...


class Batch(Protocol):
    """Several KV caches that advance together, each in a place from 0."""

    def extend(self, ids: Sequence[Sequence[int]], keep: Sequence[int]) -> Rows:
        """Feed each place its ``ids`` (at least one) and return the logits after the last ``keep[i]`` of them.

        All rows are one block, the places' in order. A place that is fed fewer ids than another in a call that is not
        the first is at its end: it must be left out before the next. Raises MemoryExhaustedError as a stream does.
        """
        ...

    def select(self, places: Sequence[int]) -> None:
        """Go on with these places alone (rising, at least one), numbered anew in this order."""
        ...


class Arithmetic(Protocol):
    """What is done with rows, on their device."""

    def stack(self, parts: Sequence[Rows]) -> Rows:
        """Return the parts' rows as one block, in order."""
        ...

    def split(self, rows: Rows) -> list[Rows]:
        """Return each row as a block of its own, not copied."""
        ...

    def argmax(self, rows: Rows) -> int:
        """Return the id with the highest logit of the last row; of equals the lowest id."""
        ...

    def argmaxes(self, rows: Rows) -> list[int]:
        """Return the id with the highest logit of each row; of equals the lowest id."""
        ...

    def row(self, rows: Rows) -> NDArray[np.float64]:
        """Return the last row as float64 on the host, for sampling."""
        ...

    def export(self, rows: Rows) -> NDArray[np.float32]:
        """Return the rows as float32 on the host."""
        ...

    def adopt(self, rows: Rows, source: Arithmetic) -> Rows:
        """Return another engine's rows as rows of this one (same device and kind; the dtype may differ)."""
        ...

    def reduce(self, author: Rows, scorers: Sequence[Rows], ids: Sequence[int], width: int) -> Reduction:
        """Reduce the rows that predict ``ids`` to figures over the first ``width`` columns.

        ``author`` and each scorer have one row an id. KL and JS in nats, exact over the ``width`` common columns; rank
        1 + the number of strictly higher logits. An id at or beyond ``width`` (an added token that a scorer lacks) has
        the author's log-prob over its own columns, and for the scorer log-prob −FLOOR, rank ``width`` + 1.
        Raises WeightsError where logits are not numbers.
        """
        ...


class Engine(Protocol):
    """A loaded model."""

    @property
    def name(self) -> str:
        """Its name in the run (``base``, ``tuned``, …)."""
        ...

    @property
    def kind(self) -> str:
        """The engine's kind: ``torch``, ``tiny``."""
        ...

    @property
    def reference(self) -> str:
        """The reference it was loaded from."""
        ...

    @property
    def adapter(self) -> str | None:
        """The adapter's reference where it is base weights with an adapter."""
        ...

    @property
    def quantization(self) -> str | None:
        """How the weights are quantised, or None."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """What its ids mean."""
        ...

    @property
    def template(self) -> str | None:
        """The chat template (Jinja) that came with it, its adapter's folder first, or None."""
        ...

    @property
    def vocab_size(self) -> int:
        """Logit columns, padding included."""
        ...

    @property
    def eos(self) -> frozenset[int]:
        """Ids that end its responses."""
        ...

    @property
    def window(self) -> int | None:
        """The most ids a stream may hold, or None where the weights set no bound."""
        ...

    @property
    def chunk(self) -> int:
        """Positions a scorer is best extended by at once."""
        ...

    @property
    def block(self) -> int:
        """Rows of logits that may be held at once of a batch: ``chunk`` at least."""
        ...

    @property
    def together(self) -> int | None:
        """How many sequences it can advance at once: 1 where only one, None where memory alone bounds them."""
        ...

    @property
    def threads(self) -> int:
        """Threads it computes with on the host."""
        ...

    @property
    def dtype(self) -> str:
        """The dtype of the weights as computed with."""
        ...

    @property
    def device(self) -> str:
        """Where it computes."""
        ...

    @property
    def fingerprint(self) -> str:
        """``sha256:…`` of the files its figures depend on, config and weights (of the adapter's, where it is one)."""
        ...

    @property
    def arithmetic(self) -> Arithmetic:
        """What can be done with its rows."""
        ...

    def read(self, ids: Sequence[int], keep: int = 1) -> Rows:
        """Return the logits after the last ``keep`` of ``ids``, which are all that is to be fed: as a fresh stream."""
        ...

    def stream(self) -> Stream:
        """Return a fresh stream on the weights."""
        ...

    def batch(self, count: int) -> Batch:
        """Return ``count`` fresh streams on the weights that advance together."""
        ...
