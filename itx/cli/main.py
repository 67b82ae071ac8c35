"""``itx``: the commands and how a failure ends.

A command's work is imported when it is called, so that ``itx --help`` loads nothing heavy.
"""

from __future__ import annotations

import os
import sys
from collections import namedtuple
from typing import Annotated, NoReturn

import typer

from itx.cli import claims, compare, doctor, export, index, merge, recorded, report, run, trace, tune, verify
from itx.errors import EXIT_FAILED, ItxError
from itx.version import VERSION

_INTERRUPTED = 130
"""What Typer makes of Ctrl-C, without a word."""
_STOPPED = ItxError("Stopped. What was recorded is kept.", "The same command starts again.")

app = typer.Typer(
    name="itx",
    help="What tuning changed in a language model, token by token.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"itx {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


app.command("demo")(compare.demo)
app.command("compare")(compare.compare)
app.command("run")(run.run)
app.command("open")(recorded.open_run)
app.command("report")(report.report)
app.command("claims")(claims.claims)
app.command("export")(export.export)
app.command("merge")(merge.merge)
app.command("index")(index.index)
app.command("trace")(trace.trace)
app.command("doctor")(doctor.doctor)
app.command("tune")(tune.tune)
app.command("verify")(verify.verify)


def _fail(error: ItxError) -> NoReturn:
    from itx.text import sanitise

    typer.echo(f"itx: {sanitise(str(error))}", err=True)
    sys.exit(error.exit_code)


def _stop() -> NoReturn:
    # A KeyboardInterrupt that passes through an exec of text (a library makes a class) counts as unhandled for the rest
    # of a `python -m`, whatever becomes of it, until text is evaluated again, as for a named tuple.
    namedtuple("Nothing", ())
    _fail(_STOPPED)


def main() -> None:
    """Run the command line; an ItxError becomes its message on stderr and its exit code, Ctrl-C does, too."""
    try:
        app()
    except ItxError as error:
        _fail(error)
    except KeyboardInterrupt:
        _stop()
    except SystemExit as leaving:
        if leaving.code != _INTERRUPTED:
            raise
        _stop()
    except MemoryError:
        typer.echo(
            "itx: out of memory. Finished prompts are kept. Try --dtype bfloat16, or a smaller --chunk.", err=True
        )
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # The reader of a pipe left (`itx report … | head`); what Python still wants to flush has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
