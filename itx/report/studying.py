"""From traces to the study of a run: one pass over the traces, then arithmetic on columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from itx.borrow.excess import Measured, measure
from itx.records import Run, Trace
from itx.report.authors import compare_models, study_author
from itx.report.borrowing import BorrowingFigures, Borrowings, FindBorrowings, summarise_borrowing
from itx.report.checks import list_checks
from itx.report.claims import Claims
from itx.report.gathering import Gathered, Gatherer
from itx.report.halves import gather_lean
from itx.report.knowledge import summarise_knowledge, tell_known
from itx.report.lean import read_lean
from itx.report.pairs import name_path, study_pair
from itx.report.patterns import Rows, find_patterns
from itx.report.resampling import DRAWS
from itx.report.statements import measure_claims
from itx.report.study import Study
from itx.report.tables import tabulate_pairs
from itx.report.totals import total
from itx.runs.facts import Probe, read_probes
from itx.runs.lines import BORROW
from itx.runs.recording import Recording
from itx.runs.verifications import Verification, read_standing

_PATHS = ("own", "reverse", "shared")
NO_ROWS = "the tuning data was not read"


def open_study(recording: Recording, rows: Rows | str = NO_ROWS) -> Study:
    """Return the study of a recorded run; see ``read_study``. Raises RunError for a line that cannot be used."""
    probes, checks = read_probes(recording.folder), read_standing(recording)
    if not (recording.folder / BORROW).is_file():
        return study(gather_lean(recording), None, rows, probes, checks)
    return read_study(recording.run, read_lean(recording), recording.borrowings_of, rows, probes, checks)


def read_study(
    run: Run,
    traces: Iterable[Trace],
    find_borrowings: FindBorrowings | None = None,
    rows: Rows | str = NO_ROWS,
    probes: Sequence[Probe] = (),
    checks: Sequence[Verification] = (),
) -> Study:
    """Return the study of a run; traces are read once, and none is kept.

    ``rows`` are the responses of the tuning data's rows, or why these are not compared with; ``probes`` are what its
    models said of facts, ``checks`` what came of retuning without a span's rows. Failed prompts take no part; a
    cancelled response does, up to where it was stopped.
    """
    gatherer = Gatherer(run)
    borrowing = None
    if find_borrowings is None:
        for trace in traces:
            gatherer.add(trace)
    else:
        borrowing = summarise_borrowing(run, _pass_on(gatherer, traces, find_borrowings))
    return study(gatherer.close(), borrowing, rows, probes, checks)


def study(
    gathered: Gathered,
    borrowing: BorrowingFigures | None,
    rows: Rows | str,
    probes: Sequence[Probe] = (),
    checks: Sequence[Verification] = (),
) -> Study:
    """Return the study of what was gathered of a run."""
    run = gathered.run
    tables = tabulate_pairs(gathered)
    names = [*(model.name for model in run.tuned), run.base.name]
    pairs = [
        study_pair(gathered, author, scorer, tables[author, scorer])
        for author in names
        for scorer in sorted(gathered.authors[author].pairs, key=names.index)
    ]
    return Study(
        prompts=len(gathered.prompts),
        failed=len(gathered.failed),
        draws=DRAWS,
        figures=total(gathered, tables),
        authors=[study_author(gathered, model) for model in [*run.tuned, run.base] if _answered(gathered, model.name)],
        pairs=sorted(pairs, key=lambda pair: _PATHS.index(name_path(run, pair.author, pair.scorer))),
        comparisons=list(compare_models(gathered, tables)),
        patterns=find_patterns(gathered, rows),
        borrowing=borrowing,
        knowledge=summarise_knowledge(run, probes),
        checks=list_checks(checks),
    )


def open_claims(recording: Recording, lengths: Mapping[str, float] | None = None) -> Claims:
    """Return the paper's statements measured on a recorded run; see ``measure_claims``. Raises RunError."""
    probes = read_probes(recording.folder)
    if not (recording.folder / BORROW).is_file():
        gathered = gather_lean(recording)
        return measure_claims(gathered, tabulate_pairs(gathered), None, tell_known(recording.run, probes), lengths)
    return read_claims(recording.run, read_lean(recording), recording.borrowings_of, probes, lengths)


def read_claims(
    run: Run,
    traces: Iterable[Trace],
    find_borrowings: FindBorrowings | None = None,
    probes: Sequence[Probe] = (),
    lengths: Mapping[str, float] | None = None,
) -> Claims:
    """Return the paper's statements measured on a run; traces are read once, and none is kept."""
    gatherer = Gatherer(run)
    borrowed: dict[str, dict[str, Measured]] = {}
    for trace in traces:
        gatherer.add(trace)
        if find_borrowings is not None and trace.error is None:
            for name, borrowing in find_borrowings(trace).items():
                borrowed.setdefault(name, {})[trace.prompt_id] = measure(borrowing)
    gathered = gatherer.close()
    return measure_claims(gathered, tabulate_pairs(gathered), borrowed, tell_known(run, probes), lengths)


def _pass_on(gatherer: Gatherer, traces: Iterable[Trace], find: FindBorrowings) -> Iterator[tuple[Trace, Borrowings]]:
    for trace in traces:
        gatherer.add(trace)
        yield trace, find(trace)


def _answered(gathered: Gathered, name: str) -> bool:
    return bool(len(gathered.authors[name].prompt))
