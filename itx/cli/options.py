"""The command line's options, each named once and shared by the commands that take it."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from itx.errors import UsageError


class EngineName(StrEnum):
    """The engines this version has."""

    AUTO = "auto"
    TORCH = "torch"
    LLAMA = "llama"


class Alignment(StrEnum):
    """How models are laid side by side."""

    IDS = "ids"
    BYTES = "bytes"


class ExportFormat(StrEnum):
    """The formats ``itx export`` writes."""

    MARKDOWN = "md"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


References = Annotated[
    list[str],
    typer.Argument(
        metavar="BASE TUNED... | ADAPTER",
        help="A hub id, a folder with safetensors, a PEFT folder, a GGUF file or LoRA, demo:base, demo:lora, "
        "demo:full. NAME=REF names a tuned model. An ADAPTER alone takes its base from its own configuration.",
        show_default=False,
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A recorded run's folder.", show_default=False)]

PromptText = Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="One prompt.")]
PromptFile = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="JSONL with id and prompt (or messages); a .txt, one a line; or a dataset file.",
    ),
]
ResponseFile = Annotated[
    Path | None,
    typer.Option(
        "--responses", metavar="FILE", help="JSONL with id, prompt, response: all models score, nothing is generated."
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="RUN", help="Record into this folder. An interrupted run goes on where it stopped."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Take only the first N prompts.")]
Authors = Annotated[
    str,
    typer.Option(
        "--authors", metavar="tuned|base|all|NAME,…", help="Whose responses to generate. All other models score each."
    ),
]

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="The tuning data: a file, a folder or a hub data set. Where words of a response come from is looked up.",
    ),
]
ControlData = Annotated[
    str | None,
    typer.Option("--control", metavar="DATA", help="Rows like the tuning data that no model was tuned on."),
]

MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Tokens at most.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")]
TopP = Annotated[float, typer.Option("--top-p", min=0.0, max=1.0, help="1 cuts nothing.")]
TopK = Annotated[int, typer.Option("--top-k", min=0, help="0 cuts nothing.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="For sampling.")]

ContextName = Annotated[
    str,
    typer.Option(
        "--context",
        metavar="same|plain|qa|FILE",
        help="same: identical ids for every model. plain: the instruction's text. qa: Question/Answer. "
        "FILE: Jinja, for the scorers.",
    ),
]
ChatTemplate = Annotated[
    str | None,
    typer.Option("--chat-template", metavar="NAME|FILE", help="A Jinja file, or a built-in's name."),
]
SystemPrompt = Annotated[str | None, typer.Option("--system-prompt", help="A system message.")]
ThresholdPair = Annotated[
    str,
    typer.Option("--thresholds", metavar="U,M", help="Ranks up to U are unshifted, up to M marginal."),
]

Align = Annotated[
    Alignment,
    typer.Option(
        "--align",
        help="ids: all models must share a tokenizer. bytes: those that do not are compared over common spans of the "
        "text, without KL.",
    ),
]
Engine = Annotated[EngineName, typer.Option("--engine", help="What runs the weights.")]
Device = Annotated[
    list[str] | None,
    typer.Option("--device", metavar="[NAME=]DEVICE", help="cpu, cuda, cuda:1 … for all or for one model."),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="float32, bfloat16, float16 or float64 instead of the choice made.",
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]
GpuLayers = Annotated[
    int | None, typer.Option("--n-gpu-layers", min=0, help="GGUF: layers that a GPU takes (all, where there is one).")
]
ContextSize = Annotated[
    int | None, typer.Option("--ctx-size", min=16, help="GGUF: positions a context may have (what the model knows).")
]
Chunk = Annotated[int | None, typer.Option("--chunk", min=1, help="Tokens scored at a time.")]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Prompts decoded together, at most, where an engine can.")
]
Sequential = Annotated[
    bool,
    typer.Option("--sequential", help="Load one model after the other, where they do not fit together."),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run Python code that comes with the weights. Off: it is a stranger's.",
    ),
]
Words = Annotated[
    Path | None,
    typer.Option(
        "--words",
        metavar="DIR",
        help="Word lists of one's own: refusal.txt, style.txt, function.txt. What is not there is itx's. ITX_WORDS "
        "names the folder for all commands.",
    ),
]


def use_words(folder: Path | None) -> None:
    """Take the word lists in ``folder`` for this process. Raises UsageError where it is not there."""
    if folder is None:
        return
    if not folder.is_dir():
        raise UsageError(f"--words {folder} is not a folder.", "Name one that holds refusal.txt, style.txt, …")
    os.environ["ITX_WORDS"] = str(folder)
