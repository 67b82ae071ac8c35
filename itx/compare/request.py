"""What a person asks for, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from itx.records import Decoding, Record, Thresholds


class Request(Record, frozen=True, kw_only=True):
    """The models to load and how to ask them.

    ``base`` is None where one adapter alone was named: then the adapter's configuration names its base. ``tuned`` holds
    references as given, ``name=REF`` or ``REF``. ``resolved`` maps a reference such as ``demo:base`` to its folder.
    ``context`` is ``same``, ``plain``, ``qa`` or a Jinja file's path. ``authors`` is ``tuned``, ``base``, ``all`` or
    names with commas. ``align`` is ``ids``, or ``bytes`` for models with other tokenizers. ``devices`` maps a model's
    name to a device; the key ``""`` is for all. ``batch_size`` prompts at most are decoded together.
    ``sequential`` loads models one after the other. None means: choose well.
    """

    base: str | None
    tuned: list[str]
    command: list[str]
    decoding: Decoding = Decoding()
    thresholds: Thresholds = Thresholds()
    context: str = "same"
    chat_template: str | None = None
    system_prompt: str | None = None
    authors: str = "all"
    devices: dict[str, str] = {}
    dtype: str | None = None
    chunk: int | None = None
    batch_size: int = 1
    sequential: bool = False
    threads: int | None = None
    engine: str = "auto"
    gpu_layers: int | None = None
    ctx_size: int | None = None
    align: str = "ids"
    trust_remote_code: bool = False
    resolved: dict[str, Path] = {}
