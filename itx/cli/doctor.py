"""``itx doctor``: everything that would make a comparison lie, with what to do about it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from itx.cli import options, sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from itx.doctor.finding import Diagnosis, Finding
    from itx.doctor.fitting import Exchange


_WIDTH = 100
"""Columns where there is no terminal."""
_STYLES = {"fail": "bold red", "warn": "bold yellow", "pass": "green"}
"""The worst first."""


def doctor(
    references: options.References,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="DATA", help="The tuning data: which chat template fits 32 of its rows is measured."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    columns: sources.Columns = None,
    context: options.ContextName = "same",
    chat_template: options.ChatTemplate = None,
    system_prompt: options.SystemPrompt = None,
    align: options.Align = options.Alignment.IDS,
    engine: options.Engine = options.EngineName.AUTO,
    device: options.Device = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    chunk: options.Chunk = None,
    n_gpu_layers: options.GpuLayers = None,
    ctx_size: options.ContextSize = None,
    trust_remote_code: options.TrustRemoteCode = False,
) -> None:
    """Say what would make a comparison of these models lie. Exit code 1: it would be wrong."""
    import msgspec

    from itx.cli.headless import say
    from itx.cli.settings import Settings
    from itx.doctor.examination import examine
    from itx.errors import EXIT_FAILED
    from itx.text import escape_json

    settings = Settings(
        data=data,
        columns=columns,
        context=context,
        chat_template=chat_template,
        system_prompt=system_prompt,
        align=align,
        engine=engine,
        device=device,
        dtype=dtype,
        threads=threads,
        chunk=chunk,
        n_gpu_layers=n_gpu_layers,
        ctx_size=ctx_size,
        trust_remote_code=trust_remote_code,
    )
    request, choice = settings.request(references), settings.choose_data()
    exchanges, found = (None, []) if choice is None else _read_exchanges(choice.reference, choice.columns)
    told: set[str] = set()

    def tell(what: str) -> None:
        if what not in told:
            told.add(what)
            say(what)

    diagnosis = examine(request, exchanges, tell)
    diagnosis = msgspec.structs.replace(diagnosis, findings=[*found, *diagnosis.findings])
    if as_json:
        written = {"ok": not diagnosis.failed, **msgspec.to_builtins(diagnosis)}
        typer.echo(escape_json(msgspec.json.format(msgspec.json.encode(written), indent=2).decode()))
    else:
        _print(diagnosis)
    raise typer.Exit(EXIT_FAILED if diagnosis.failed else 0)


def _read_exchanges(data: str, columns: Mapping[str, str] | None) -> tuple[list[Exchange] | None, list[Finding]]:
    """Return rows to try templates on, or what is wrong with the data. Raises UsageError for what is not there."""
    from itx.data.reading import read_rows
    from itx.doctor.finding import failed, passed, refused
    from itx.doctor.fitting import choose_rows
    from itx.errors import ItxError, UsageError

    try:
        exchanges = choose_rows(read_rows(data, columns))
    except UsageError:
        raise
    except ItxError as error:
        return None, [refused("data", "all", error)]
    if not exchanges:
        reason = f"None of the rows of {data} is a question with an answer of text."
        return None, [
            failed("data", "all", reason, "Say which columns hold what: --columns instruction=COL,response=COL")
        ]
    return exchanges, [passed("data", "all", f"{len(exchanges)} rows of {data} are tried under each template.")]


def _print(diagnosis: Diagnosis) -> None:
    """Print the findings as a table, the worst first, and what they come to."""
    import shutil
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from itx.config import colours_wanted
    from itx.text import sanitise

    def clean(text: str) -> Text:
        return Text(sanitise(text, keep_newlines=False))

    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((_WIDTH, 24)).columns if on_terminal else _WIDTH
    console = Console(width=width, no_color=not colours_wanted(), highlight=False, emoji=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("status", "check", "models"):
        table.add_column(name, no_wrap=name != "models")
    table.add_column("reason", ratio=1, overflow="fold")
    order = list(_STYLES)
    for finding, names in sorted(_gather(diagnosis.findings), key=lambda each: order.index(each[0].status)):
        reason = clean(finding.reason)
        if finding.remedy and finding.status != "pass":
            reason = Text.assemble(reason, "\n→ ", clean(finding.remedy))
        status = Text(finding.status, style=_STYLES[finding.status])
        table.add_row(status, finding.check, clean(" ".join(names)), reason)
    with console.capture() as captured:
        console.print(table)
        for skipped in diagnosis.skipped:
            console.print(Text.assemble("not looked at: ", clean(skipped)))
        console.print(f"\n{_sum_up(diagnosis)}")
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _gather(findings: list[Finding]) -> list[tuple[Finding, list[str]]]:
    """Return each thing found once, with the models that it was found of."""
    found: dict[tuple[str, str, str, str], tuple[Finding, list[str]]] = {}
    for each in findings:
        _, names = found.setdefault((each.status, each.check, each.reason, each.remedy), (each, []))
        if each.subject not in names:
            names.append(each.subject)
    return list(found.values())


def _sum_up(diagnosis: Diagnosis) -> str:
    counts = Counter(finding.status for finding in diagnosis.findings)
    said = f"{counts['fail']} failed, {counts['warn']} warnings, {counts['pass']} passed."
    if diagnosis.failed:
        return f"{said} A comparison would be wrong."
    return f"{said} A comparison can be trusted{', within what the warnings say' * bool(counts['warn'])}."
