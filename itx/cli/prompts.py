"""Command-line words and files become prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itx.cli.encoding import check_text
from itx.errors import InputError, UsageError
from itx.records import Prompt, Record, Shard

if TYPE_CHECKING:
    from itx.runs.lines import BrokenLine


class Gathered(Record, frozen=True, kw_only=True):
    """Prompts to ask, and the lines of their file that could not be read."""

    prompts: list[Prompt]
    broken: list[str] = []
    shard: Shard | None = None
    """Which part of the list these are; None: all."""


def gather_prompts(text: str | None, path: Path | None, limit: int | None) -> Gathered:
    """Return the prompt given as text, the prompts of a file, or none.

    Raises UsageError where both are given, InputError where a file has not one usable line.
    """
    if text is not None and path is not None:
        raise UsageError("--prompt and --prompts exclude each other.", "Give one of them.")
    if text is not None:
        if not text.strip():
            raise UsageError("--prompt is empty.", "--prompt 'Tell me about …'")
        check_text(
            "--prompt", text, "Write it in UTF-8 (locale shows what is set), or give a UTF-8 file: --prompts FILE"
        )
        return Gathered(prompts=[Prompt(id="1", prompt=text)])
    if path is None:
        return Gathered(prompts=[])
    from itx.runs.prompts import read_prompts

    return _gathered(*read_prompts(path, limit), path)


def gather_responses(path: Path, limit: int | None) -> Gathered:
    """Return the prompts of a file of given responses."""
    from itx.runs.prompts import read_responses

    return _gathered(*read_responses(path, limit), path)


def choose_shard(gathered: Gathered, text: str) -> Gathered:
    """Return the part ``i/n`` of gathered prompts, dealt in turn. Raises UsageError where ``text`` names none."""
    from itx.runs.sharding import deal, fingerprint_list

    number, _, count = text.partition("/")
    try:
        shard = Shard(
            number=int(number),
            count=int(count),
            prompts=len(gathered.prompts),
            list=fingerprint_list(gathered.prompts),
        )
    except ValueError as error:
        raise UsageError(
            f"--shard {text!r} names no part of {len(gathered.prompts):,} prompts.",
            "--shard 1/4 is the first of four parts; itx merge makes one run of them.",
        ) from error
    return Gathered(prompts=deal(gathered.prompts, shard.number, shard.count), broken=gathered.broken, shard=shard)


def _gathered(prompts: list[Prompt], broken: list[BrokenLine], path: Path) -> Gathered:
    reasons = [str(line) for line in broken]
    if not prompts:
        cause = "\n".join([f"{path} has no prompt that can be used.", *reasons])
        raise InputError(cause, 'One JSON object a line: {"id": "1", "prompt": "…"}')
    return Gathered(prompts=prompts, broken=reasons)
