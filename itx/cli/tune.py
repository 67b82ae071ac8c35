"""``itx tune``: LoRA and full-parameter tuning from the same readers that trace borrowed words."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from itx.cli import options, sources
from itx.cli.interrupt import Interrupt
from itx.errors import EXIT_FAILED


class Method(StrEnum):
    """What is trained."""

    LORA = "lora"
    FULL = "full"


class Schedule(StrEnum):
    """How the rate goes on after the warm-up."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"


class Dtype(StrEnum):
    """What the forward pass is computed in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


_SHOWN = 20


def tune(
    base: Annotated[
        str,
        typer.Argument(metavar="BASE", help="A hub id, a folder with safetensors, or demo:base.", show_default=False),
    ],
    data: Annotated[str, typer.Option("--data", metavar="DATA", help="A file, a folder or a hub data set.")],
    method: Annotated[Method, typer.Option("--method", help="An adapter, or every parameter.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the weights and tuning.json.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted tuning in DIR.")] = False,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the rows (paper: 3).")] = 3,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Rows at a time.")] = 4,
    gradient_accumulation: Annotated[
        int, typer.Option("--gradient-accumulation", min=1, help="Batches a step: 4 x 8 rows make the paper's 32.")
    ] = 8,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="At its highest (paper: 5e-5).")] = 5e-5,
    schedule: Annotated[Schedule, typer.Option("--schedule", help="How the rate falls.")] = Schedule.LINEAR,
    warmup_ratio: Annotated[float, typer.Option("--warmup-ratio", help="Share of the steps it rises over.")] = 0.03,
    warmup_steps: Annotated[int | None, typer.Option("--warmup-steps", min=0, help="The same in steps.")] = None,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="AdamW's.")] = 0.0,
    clip_norm: Annotated[float, typer.Option("--clip-norm", help="The gradient's norm at most; 0: any.")] = 1.0,
    lora_r: Annotated[int, typer.Option("--lora-r", min=1, help="Rank of the adapter (paper: 8).")] = 8,
    lora_alpha: Annotated[int | None, typer.Option("--lora-alpha", help="Its scale (twice the rank).")] = None,
    lora_dropout: Annotated[float, typer.Option("--lora-dropout", help="Before the adapter.")] = 0.0,
    target_modules: Annotated[
        str | None, typer.Option("--target-modules", metavar="NAME,…", help="Layers with adapters (all linear ones).")
    ] = None,
    neftune_noise_alpha: Annotated[
        float | None, typer.Option("--neftune-noise-alpha", help="Noise on the embeddings while tuning (NEFTune).")
    ] = None,
    without: Annotated[
        str | None, typer.Option("--without", metavar="ROWS", help="Rows to leave out: FILE#INDEX,… or a file of them.")
    ] = None,
    max_response_words: Annotated[
        int | None,
        typer.Option(
            "--max-response-words", min=1, metavar="N", help="Shorten responses, at a sentence end where one is near."
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=2, help="Tokens of a row; more are cut off.")] = 1024,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take only the first N rows.")] = None,
    columns: sources.Columns = None,
    chat_template: options.ChatTemplate = None,
    system_prompt: options.SystemPrompt = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the order, the adapter's start and noise.")] = 0,
    dtype: Annotated[
        Dtype, typer.Option("--dtype", help="Of the forward pass; what is learned is held in float32.")
    ] = Dtype.FLOAT32,
    device: Annotated[str | None, typer.Option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 …")] = None,
    threads: options.Threads = None,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Tune weights on rows: the loss is on the responses alone. Ctrl-C stops it so that --resume goes on exactly."""
    from itx.cli.encoding import check_text, spell_word
    from itx.cli.progress import show_progress
    from itx.cli.settings import resolve_demo
    from itx.models.load import require_torch
    from itx.text import sanitise
    from itx.tune.recipe import Recipe, check_recipe
    from itx.tune.request import TuneRequest
    from itx.tune.selection import read_row_ids

    for option, text in (("BASE", base), ("--data", data), ("--system-prompt", system_prompt or "")):
        check_text(option, text, "Write it in UTF-8 (locale shows what is set).")
    recipe = Recipe(
        method=method.value,
        epochs=epochs,
        batch_size=batch_size,
        gradient_accumulation=gradient_accumulation,
        learning_rate=learning_rate,
        schedule=schedule.value,
        warmup_steps=warmup_steps,
        warmup_ratio=warmup_ratio,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        lora_r=lora_r,
        lora_alpha=2 * lora_r if lora_alpha is None else lora_alpha,
        lora_dropout=lora_dropout,
        target_modules=[name.strip() for name in (target_modules or "").split(",") if name.strip()],
        neftune_noise_alpha=neftune_noise_alpha,
        max_tokens=max_tokens,
        max_response_words=max_response_words,
        seed=seed,
        dtype=dtype.value,
    )
    check_recipe(recipe)
    request = TuneRequest(
        base=base,
        data=data,
        recipe=recipe,
        columns=sources.parse_columns(columns) or {},
        chat_template=chat_template,
        system_prompt=system_prompt,
        without=read_row_ids(without) if without else [],
        limit=limit,
        device=choose_one_device(device),
        threads=threads,
        trust_remote_code=trust_remote_code,
        command=["itx", *map(spell_word, sys.argv[1:])],
        resolved=resolve_demo([base]),
    )
    require_torch()
    from itx.tune.preparation import prepare
    from itx.tune.tuning import check_folder
    from itx.tune.tuning import tune as carry_out

    check_folder(out, resume)
    with show_progress() as tell:
        interrupt = Interrupt(lambda: tell("stopping after this step: a checkpoint is saved …", -1))
        with interrupt.listening():
            tell("starting torch", 0.0)
            prepared = prepare(request, tell)
            data_record = prepared.record.data
            for skipped in data_record.skipped[:_SHOWN]:
                tell(f"skipped {skipped.row}: {skipped.reason}", -1)
            if len(data_record.skipped) > _SHOWN:
                tell(f"and {len(data_record.skipped) - _SHOWN:,} more rows are skipped (tuning.json names all)", -1)
            if data_record.truncated:
                tell(f"{len(data_record.truncated):,} rows are cut at {prepared.record.recipe.max_tokens} tokens", -1)
            tell(
                f"{len(data_record.rows):,} rows, {prepared.record.learned_tokens:,} tokens to learn, "
                f"{prepared.course.steps:,} steps on {prepared.record.device}",
                -1,
            )
            interrupt.patient = True
            record = carry_out(prepared, out, resume=resume, tell=tell, stop=interrupt)
    if not record.finished:
        typer.echo("itx: stopped; the same command with --resume goes on from here", err=True)
        raise typer.Exit(EXIT_FAILED)
    losses = record.losses.epochs
    typer.echo(
        f"itx: mean loss of the first epoch {losses[0]:.4f}, of the last {losses[-1]:.4f}"
        + ("" if record.seconds is None else f"; {record.seconds:.0f} s"),
        err=True,
    )
    # To a program the very bytes of the name, to a terminal nothing that it would obey.
    typer.echo(sanitise(str(out), keep_newlines=False) if sys.stdout.isatty() else os.fsencode(out))


def choose_one_device(wanted: str | None) -> str | None:
    """Return the device to name to torch, after hiding all other GPUs: Trainer would spread over those it sees.

    To be called before CUDA is used.
    """
    if wanted is not None and not wanted.startswith("cuda"):
        return wanted
    _, _, number = (wanted or "cuda").partition(":")
    visible = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.strip()]
    if number.isdecimal() and visible and int(number) >= len(visible):
        # torch refuses it, and says how many there are.
        return wanted
    index = int(number) if number.isdecimal() else 0
    if "CUDA_VISIBLE_DEVICES" not in os.environ or visible:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[index] if visible else str(index)
    return None if wanted is None else "cuda"
