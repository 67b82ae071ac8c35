"""``itx run``: a comparison without a screen, recorded and resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itx.cli import options
from itx.cli.settings import Settings, takes_settings


@takes_settings
def run(
    references: options.References,
    settings: Settings,
    out: Annotated[
        Path, typer.Option("--out", metavar="RUN", help="Record into this folder. An interrupted run goes on.")
    ],
    prompts: options.PromptFile = None,
    responses: options.ResponseFile = None,
    limit: options.Limit = None,
    batch_size: options.BatchSize = 1,
    sequential: options.Sequential = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Only the I-th of N parts of the list; itx merge joins the parts."),
    ] = None,
    facts: Annotated[
        str | None,
        typer.Option(
            "--facts",
            metavar="FILE|general|demo",
            help="Ask every model for these facts, too (JSONL: prompt, answer, wrong); or for some that itx brings.",
        ),
    ] = None,
) -> None:
    """Compare over a file of prompts, or score given responses, and record every figure."""
    from msgspec.structs import replace

    from itx.cli.facts import deal_facts, gather_facts
    from itx.cli.headless import record_all
    from itx.cli.prompts import choose_shard, gather_prompts, gather_responses
    from itx.errors import UsageError

    if (prompts is None) == (responses is None):
        raise UsageError(
            "itx run needs --prompts or --responses, not both.", "itx run BASE TUNED --prompts FILE --out RUN"
        )
    gathered = gather_responses(responses, limit) if responses is not None else gather_prompts(None, prompts, limit)
    asked = gather_facts(facts)
    if shard is not None:
        gathered = choose_shard(gathered, shard)
        asked = deal_facts(asked, gathered.shard)
    request = replace(settings.request(references), batch_size=batch_size, sequential=sequential)
    raise typer.Exit(record_all(request, gathered, out, choice=settings.choose_data(), facts=asked))
