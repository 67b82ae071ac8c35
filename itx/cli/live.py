"""A live comparison: on the screen where there is one, else as plain text; recorded either way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from itx.cli.borrowing import DataChoice, Informed, TuningData, names_data
from itx.cli.headless import record_all, say
from itx.cli.plain import print_trace
from itx.cli.prompts import Gathered
from itx.errors import EXIT_PARTIAL, UsageError
from itx.runs.library import discard_unused, new_run_folder

if TYPE_CHECKING:
    from itx.compare.request import Request


def show(request: Request, gathered: Gathered, out: Path | None, choice: DataChoice | None = None) -> int:
    """Show and record the comparison, say where it lies, and return the exit code."""
    from itx.tui.terminal import screen_is_possible

    on_screen = screen_is_possible()
    if not on_screen and not gathered.prompts:
        raise UsageError(
            "This is no terminal with a screen, and no prompt was given.", "Add --prompt TEXT or --prompts FILE."
        )
    if out is not None:
        return _show_in(out, request, gathered, on_screen, choice)
    reference = request.tuned[0]
    folder = new_run_folder(Path(reference[reference.find("=") + 1 :].replace(":", "-")).name)
    try:
        return _show_in(folder, request, gathered, on_screen, choice)
    finally:
        if not discard_unused(folder):
            say(f"recorded in {folder}")


def _show_in(folder: Path, request: Request, gathered: Gathered, on_screen: bool, choice: DataChoice | None) -> int:
    if on_screen:
        return _show_on_screen(request, gathered, folder, choice)
    return record_all(request, gathered, folder, show=print_trace, choice=choice)


def _show_on_screen(request: Request, gathered: Gathered, folder: Path, choice: DataChoice | None) -> int:
    from itx.compare.events import Comparer
    from itx.compare.load import foresee_request
    from itx.tui.app import Live, run_app
    from itx.tui.tracing import Tracer

    foresee_request(request)
    data = None if choice is None else TuningData(choice)
    if data is not None:
        data.check()

    def load(tell: Live.Tell) -> Comparer:
        from itx.compare.load import load_comparison

        comparer = load_comparison(request, tell)
        # The index is opened meanwhile, on the thread that will trace, and the first answer does not wait for it. Only
        # a run that names its data is gone on with in no other.
        if data is not None and names_data(folder):
            return Informed(comparer, data.open(tell).reference)
        return comparer

    def load_tracer(tell: Live.Tell) -> Tracer:
        assert data is not None
        return data.joiner(tell)

    live = Live(
        loader=load,
        folder=folder,
        prompts=gathered.prompts,
        decoding=request.decoding,
        tracer=None if data is None else load_tracer,
        data=None if data is None else lambda: data.open().reference,
    )
    code = run_app(live)
    for reason in gathered.broken:
        say(reason)
    return code or (EXIT_PARTIAL if gathered.broken else 0)
