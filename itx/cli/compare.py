"""``itx compare`` and ``itx demo``: the screen on a live comparison, or plain text where there is no screen."""

from __future__ import annotations

from pathlib import Path

from itx.cli import options
from itx.cli.settings import Settings, takes_settings

DEMO = ["demo:base", "full=demo:full", "lora=demo:lora"]


@takes_settings
def compare(
    references: options.References,
    settings: Settings,
    prompt: options.PromptText = None,
    prompts: options.PromptFile = None,
    out: options.OutFolder = None,
    limit: options.Limit = None,
) -> None:
    """Watch base and tuned weights answer side by side, and see every token that the tuning shifted."""
    _show(references, settings, prompt, prompts, out, limit, None)


@takes_settings
def demo(
    settings: Settings,
    prompt: options.PromptText = None,
    prompts: options.PromptFile = None,
    out: options.OutFolder = None,
    limit: options.Limit = None,
) -> None:
    """Compare the embedded pair: a tiny base, its LoRA and its full-parameter tuning. Needs no network."""
    from itx.demo import PROMPTS, ROWS

    if prompt is None and prompts is None:
        prompts = PROMPTS
    _show(DEMO, settings, prompt, prompts, out, limit, ROWS)


def _show(
    references: list[str],
    settings: Settings,
    prompt: str | None,
    prompts: Path | None,
    out: Path | None,
    limit: int | None,
    data: Path | None,
) -> None:
    import typer

    from itx.cli.live import show
    from itx.cli.prompts import gather_prompts

    request = settings.request(references)
    raise typer.Exit(show(request, gather_prompts(prompt, prompts, limit), out, settings.choose_data(data)))
