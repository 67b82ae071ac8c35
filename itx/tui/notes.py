"""What a live comparison is made of, and what its worker tells the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from itx.compare.events import Event, Loader, Loading
from itx.errors import ItxError
from itx.records import DataReference, Decoding, Prompt, Run, Trace
from itx.tui.tracer import TracerLoader


@dataclass(frozen=True)
class Live:
    """What a live comparison is made of: how to load it, where to record it, and what to ask first."""

    Tell = Callable[[Loading], None]

    loader: Loader
    folder: Path
    prompts: list[Prompt] = field(default_factory=list)
    decoding: Decoding | None = None
    tracer: TracerLoader | None = None
    """Opens the index of the tuning data, where there is some."""
    data: Callable[[], DataReference] | None = None
    """Says what the run is to name as its tuning data; called once ``tracer`` has opened it."""


@dataclass(frozen=True)
class Loaded:
    """The models are loaded. ``done`` names prompts that the folder already has."""

    run: Run
    done: frozenset[str]


@dataclass(frozen=True)
class LoadFailed:
    """Loading ended in an error; nothing can be asked."""

    error: ItxError


@dataclass(frozen=True)
class PromptFailed:
    """A prompt ended in an error that the comparison did not turn into a trace."""

    prompt_id: str
    error: ItxError


@dataclass(frozen=True)
class NotRecorded:
    """A trace could not be written; it stays in memory."""

    trace: Trace
    error: ItxError


@dataclass(frozen=True)
class Crashed:
    """The worker ended in an error that nobody foresaw; its traceback is in the log."""

    error: BaseException


Note: TypeAlias = Loading | Loaded | LoadFailed | PromptFailed | NotRecorded | Crashed | Event
