"""What a person asks a tuning to do, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from itx.records import Record
from itx.tune.recipe import Recipe


class TuneRequest(Record, frozen=True, kw_only=True):
    """``base`` and ``data`` are references as given; ``resolved`` maps one such as ``demo:base`` to its folder.

    ``without`` are ids of rows to leave out, ``limit`` takes the first rows only. ``template`` is the text of a chat
    template that is used whatever the base brings (then ``chat_template`` names where it came from).
    """

    base: str
    data: str
    recipe: Recipe
    columns: dict[str, str] = {}
    chat_template: str | None = None
    template: str | None = None
    system_prompt: str | None = None
    without: list[str] = []
    limit: int | None = None
    device: str | None = None
    threads: int | None = None
    trust_remote_code: bool = False
    command: list[str] = []
    resolved: dict[str, Path] = {}
