"""The options that every command which loads weights shares, as one frozen record of a command line."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, get_type_hints

from itx.cli import options, sources
from itx.cli.borrowing import DataChoice
from itx.cli.encoding import check_text, spell_word
from itx.cli.options import Alignment, EngineName
from itx.compare.request import Request
from itx.errors import UsageError
from itx.records import Decoding, Thresholds


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field an option; see ``itx.cli.options`` for what each means."""

    authors: options.Authors = "all"
    max_new_tokens: options.MaxNewTokens = 256
    temperature: options.Temperature = 0.0
    top_p: options.TopP = 1.0
    top_k: options.TopK = 0
    seed: options.Seed = 0
    context: options.ContextName = "same"
    chat_template: options.ChatTemplate = None
    system_prompt: options.SystemPrompt = None
    thresholds: options.ThresholdPair = "1,3"
    align: options.Align = Alignment.IDS
    engine: options.Engine = EngineName.AUTO
    device: options.Device = None
    dtype: options.Dtype = None
    threads: options.Threads = None
    chunk: options.Chunk = None
    n_gpu_layers: options.GpuLayers = None
    ctx_size: options.ContextSize = None
    trust_remote_code: options.TrustRemoteCode = False
    data: options.Data = None
    control: options.ControlData = None
    columns: sources.Columns = None
    embedder: sources.EmbedderName = None
    train_max_tokens: sources.TrainMaxTokens = None
    tokenizer: sources.TokenizerFolder = None

    def choose_data(self, default: Path | None = None) -> DataChoice | None:
        """Return the tuning data to trace in, ``default`` where none was named; None for no tracing.

        Raises UsageError where an option needs data that is not there, or --columns cannot be read.
        """
        reference = self.data if self.data is not None or default is None else str(default)
        for option, value in (("--data", self.data), ("--control", self.control), ("--embedder", self.embedder)):
            check_text(option, value or "", "Rename the file, or link to it by a name in UTF-8 (ln -s).")
        if reference is None:
            for option, given in (
                ("--control", self.control),
                ("--columns", self.columns),
                ("--embedder", self.embedder),
                ("--train-max-tokens", self.train_max_tokens),
                ("--tokenizer", self.tokenizer),
            ):
                if given is not None:
                    raise UsageError(f"{option} is of use only with tuning data.", "Add --data DATA.")
            return None
        return DataChoice(
            reference=reference,
            control=self.control,
            columns=sources.parse_columns(self.columns),
            embedder=self.embedder,
            train_max_tokens=self.train_max_tokens,
            tokenizer=self.tokenizer,
            thresholds=parse_thresholds(self.thresholds),
        )

    def request(self, references: list[str]) -> Request:
        """Return what these options ask of these models.

        Two references or more are BASE TUNED…; one alone is an adapter. Raises UsageError naming the wrong word.
        """
        for reference in references:
            check_text("The name of a model", reference, "Rename its folder, or link to it by a name in UTF-8 (ln -s).")
        for option, value in (("--context", self.context), ("--chat-template", self.chat_template)):
            check_text(option, value or "", "Rename the file, or link to it by a name in UTF-8 (ln -s).")
        check_text("--system-prompt", self.system_prompt or "", "Write it in UTF-8 (locale shows what is set).")
        return Request(
            base=references[0] if len(references) > 1 else None,
            tuned=references[1:] or references,
            command=["itx", *map(spell_word, sys.argv[1:])],
            decoding=Decoding(
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                top_k=self.top_k,
                seed=self.seed,
            ),
            thresholds=parse_thresholds(self.thresholds),
            context=self.context,
            chat_template=self.chat_template,
            system_prompt=self.system_prompt,
            authors=self.authors,
            devices=parse_devices(self.device or []),
            dtype=self.dtype,
            chunk=self.chunk,
            threads=self.threads,
            align=self.align.value,
            engine=self.engine.value,
            gpu_layers=self.n_gpu_layers,
            ctx_size=self.ctx_size,
            trust_remote_code=self.trust_remote_code,
            resolved=resolve_demo(references),
        )


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command whose last parameter is ``settings`` every option of Settings in its place."""
    hints = get_type_hints(command, include_extras=True)
    option_hints = get_type_hints(Settings, include_extras=True)
    own = [parameter for parameter in inspect.signature(command).parameters.values() if parameter.name != "settings"]
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]) for parameter in own
    ]
    parameters += [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=option_hints[field.name]
        )
        for field in fields(Settings)
    ]

    @wraps(command)
    def wrapped(**words: Any) -> None:
        chosen = {field.name: words.pop(field.name) for field in fields(Settings)}
        command(**words, settings=Settings(**chosen))

    vars(wrapped)["__signature__"] = inspect.Signature(parameters)
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def parse_thresholds(text: str) -> Thresholds:
    """Return the bounds written as ``U,M``."""
    try:
        unshifted, marginal = (int(part) for part in text.split(","))
        return Thresholds(unshifted=unshifted, marginal=marginal)
    except ValueError as error:
        raise UsageError(f"--thresholds {text!r} is not two ranks U,M with 1 <= U <= M.", "--thresholds 1,3") from error


def parse_devices(words: list[str]) -> dict[str, str]:
    """Return devices by model name; the key "" is for every model not named."""
    devices: dict[str, str] = {}
    for word in words:
        name, _, device = word.rpartition("=")
        if not device or name in devices:
            raise UsageError(
                f"--device {word!r} names no device, or one model twice.", "--device cuda:0, or --device full=cuda:1"
            )
        devices[name] = device
    return devices


def resolve_demo(references: list[str]) -> dict[str, Path]:
    """Return the folders of the references ``demo:NAME`` and ``NAME=demo:NAME``, keyed by ``demo:NAME``."""
    resolved: dict[str, Path] = {}
    for reference in references:
        bare = reference[reference.find("=") + 1 :]
        if bare.startswith("demo:"):
            from itx.demo import folder

            resolved[bare] = folder(bare.removeprefix("demo:"))
    return resolved
