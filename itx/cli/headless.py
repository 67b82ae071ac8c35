"""Recording without a screen: progress on stderr, one line a prompt on disk, Ctrl-C at any moment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from msgspec.structs import replace

from itx.cli.borrowing import Borrower, DataChoice, Informed, TuningData
from itx.cli.facts import Examiner, GatheredFacts
from itx.cli.interrupt import Interrupt
from itx.cli.prompts import Gathered
from itx.cli.sources import name_broken
from itx.compare.events import Again, Comparer, Emitted, Event, Finished, Loading
from itx.errors import EXIT_FAILED, EXIT_PARTIAL
from itx.records import Borrowing, Prompt, Run, Trace
from itx.text import sanitise

if TYPE_CHECKING:
    from itx.compare.comparison import Comparison
    from itx.compare.probing import Prober
    from itx.compare.request import Request


Show = Callable[[Run, Trace, Mapping[str, Borrowing]], None]
"""Shows a finished prompt, and what its responses borrowed by author."""


def say(text: str) -> None:
    """Print a line of diagnostics."""
    typer.echo(f"itx: {sanitise(text)}", err=True)


def tell_loading() -> Callable[[Loading], None]:
    """Return a teller of loading steps that prints each step once."""
    told: set[str] = set()

    def tell(step: Loading) -> None:
        if step.what not in told:
            told.add(step.what)
            say(step.what)

    return tell


def open_data(choice: DataChoice) -> TuningData:
    """Open the indexes of tuning data, what is built and what is skipped on stderr."""
    data = TuningData(choice)
    opened = data.open(tell_loading())
    for index in filter(None, (opened.index, opened.control)):
        name_broken(index)
    return data


def load(request: Request) -> Comparison:
    """Load what the request names, its steps and warnings on stderr."""
    from itx.compare.load import load_comparison

    comparer = load_comparison(request, tell_loading())
    for warning in comparer.run.warnings:
        say(f"warning: {warning}")
    return comparer


def ask(comparison: Comparison, prompts: Sequence[Prompt], interrupt: Interrupt) -> Iterator[Trace]:
    """Yield the traces of the prompts in order, as many decoded together as the run's batch has.

    Tokens are counted on stderr where that is a terminal. After an interrupt those that had begun are the last.
    """
    size = comparison.count_together(prompts)
    for start in range(0, len(prompts), size):
        if interrupt():
            return
        part = prompts[start : start + size]
        first = sanitise(f"{start + 1}/{len(prompts)} {part[0].id}", keep_newlines=False)
        label = first if len(part) == 1 else f"{start + 1} to {start + len(part)} of {len(prompts)}"
        yield from _follow((told.event for told in comparison.compare_together(part, interrupt)), label)


def _follow(events: Iterator[Event | Again], label: str) -> Iterator[Trace]:
    """Yield the traces that events end in, counting tokens on the way."""
    counting = sys.stderr.isatty()
    emitted = 0
    reasons: set[str] = set()
    for event in events:
        if isinstance(event, Emitted):
            emitted += 1
            if counting and emitted % 8 == 0:
                typer.echo(f"\ritx: {label}: {emitted} tokens", err=True, nl=False)
        elif isinstance(event, Finished):
            _clear_line(counting)
            yield event.trace
        elif isinstance(event, Again) and event.reason not in reasons:
            reasons.add(event.reason)
            _clear_line(counting)
            say(f"{label}: again, with fewer prompts together: {event.reason}")


def _clear_line(counting: bool) -> None:
    if counting:
        typer.echo("\r\x1b[K", err=True, nl=False)


def describe(trace: Trace) -> str:
    """Return one line on how a prompt ended."""
    if trace.error is not None:
        return f"failed: {trace.error}"
    return ", ".join(
        f"{response.author} {len(response.ids)} tokens ({'given' if response.given else response.finish})"
        for response in trace.responses
    )


def record_all(
    request: Request,
    gathered: Gathered,
    folder: Path,
    show: Show | None = None,
    choice: DataChoice | None = None,
    facts: GatheredFacts | None = None,
) -> int:
    """Record every prompt that the folder does not have yet, ``show`` each, and return the exit code.

    With tuning data, what every response borrowed is recorded, too, also of prompts recorded earlier; then models are
    asked for ``facts``. 0: all done. 1: stopped by a signal, or not one prompt succeeded. 3: some prompts, lines,
    tracings or facts failed, each named.
    """
    from itx.runs.recorder import Recorder

    interrupt = Interrupt(lambda: say("stopping: what was generated is scored and kept …"))
    facts = facts or GatheredFacts(facts=[])
    failed = [*gathered.broken, *facts.broken]
    for reason in failed:
        say(reason)
    with interrupt.listening():
        data = None if choice is None else open_data(choice)
        comparison = load(request)
        comparer: Comparer = comparison
        if data is not None:
            comparer = Informed(comparison, data.open().reference)
        interrupt.patient = True
        with (
            Recorder.begin(folder, replace(comparer.run, shard=gathered.shard), gathered.prompts) as recorder,
            Borrower(folder, None if data is None else data.joiner()) as borrower,
            Examiner(folder, facts.facts) as examiner,
        ):
            filled = borrower.fill(interrupt)
            if filled:
                say(f"{filled} responses that were recorded without it are traced in the tuning data")
            if interrupt.asked:
                say("stopped; the same command goes on from here")
                return EXIT_FAILED
            waiting = [prompt for prompt in gathered.prompts if not recorder.is_finished(prompt)]
            if len(waiting) < len(gathered.prompts):
                say(f"{len(gathered.prompts) - len(waiting)} of {len(gathered.prompts)} prompts are recorded already")
            succeeded = len(gathered.prompts) - len(waiting)
            number = 0
            for prompt, trace in zip(waiting, ask(comparison, waiting, interrupt), strict=False):
                number += 1
                label = sanitise(f"{number}/{len(waiting)} {prompt.id}", keep_newlines=False)
                recorder.append(trace, prompt)
                say(f"{label}: {describe(trace)}")
                borrowings = borrower.add(trace)
                if show is not None:
                    show(comparer.run, trace, borrowings)
                if trace.error is not None:
                    failed.append(f"prompt {prompt.id}: {trace.error}")
                else:
                    succeeded += 1
            if interrupt.asked:
                say(f"stopped after {number} of {len(waiting)} prompts; the same command goes on from here")
                return EXIT_FAILED
            if not _ask_facts(examiner, comparison.prober, interrupt):
                return EXIT_FAILED
            failed += borrower.failed + examiner.failed
    if show is None:
        # To a program the very bytes of the name, to a terminal nothing that it would obey.
        typer.echo(sanitise(str(folder), keep_newlines=False) if sys.stdout.isatty() else os.fsencode(folder))
    return _end(failed, succeeded)


def _ask_facts(examiner: Examiner, prober: Prober, interrupt: Interrupt) -> bool:
    """Ask for the facts that are not recorded, counting on stderr; return False where it was stopped."""
    count = examiner.count
    if not count:
        return True
    counting = sys.stderr.isatty()

    def tell(done: int) -> None:
        if counting and done % 8 == 0:
            typer.echo(f"\ritx: {done} of {count} facts", err=True, nl=False)

    asked = examiner.ask(prober, interrupt, tell)
    if counting:
        typer.echo("\r\x1b[K", err=True, nl=False)
    if asked < count:
        say(f"stopped after {asked} of {count} facts; the same command goes on from here")
        return False
    say(f"{count} facts are asked" if count > 1 else "1 fact is asked")
    return True


def _end(failed: list[str], succeeded: int) -> int:
    """Name what failed, and return the exit code."""
    if not failed:
        return 0
    say(f"{len(failed)} failed:")
    for reason in failed:
        say(f"  {reason}")
    return EXIT_PARTIAL if succeeded else EXIT_FAILED
