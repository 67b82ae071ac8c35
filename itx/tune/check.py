"""A check before it begins: the span asked about, the rows to mask, and how their tuning is repeated.

Rows to mask are those that have the span's words in a row; the controls' are drawn among the others. Run, tuning and
data are looked at first: a check of weights or rows that are others now would say nothing.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Literal

from itx.config import cache_folder
from itx.data.contents import hash_files
from itx.data.folding import fold_words
from itx.data.reading import data_files, read_rows
from itx.errors import MismatchError, RunError, UsageError, WeightsError
from itx.models.fingerprint import fingerprint_files, list_decisive
from itx.models.host import count_cores, read_free_memory
from itx.records import Borrowing, Decoding, Record, Response, Run, Span, Trace
from itx.runs.recording import Recording
from itx.tune.record import NAME, TuningRecord, read_record
from itx.tune.request import TuneRequest
from itx.tune.retuning import Job
from itx.tune.shortening import shorten
from itx.tune.sources import draw_controls, find_sources

CONTROLS = 3
_SMALL = 50_000_000
"""Parameters below which arms side by side, with few threads each, are faster than one after the other."""
_LEARNED_BYTES = 16
"""A learned parameter with its gradient and two moments."""
_PROCESS_BYTES = 1 << 30
"""What torch and a batch take beside the weights of an arm that is small."""
_NEAR = 5
"""Rows near a prompt, as many as the join searches."""
_Chosen = Literal["all", "near", "given"]


class Question(Record, frozen=True, kw_only=True):
    """What to check: span ``span`` of ``author``'s response to a prompt. None means: choose well.

    ``rows`` is ``all``, ``near`` or ids with commas; ``folders`` maps references such as ``demo:full`` to folders.
    """

    prompt_id: str
    span: int
    author: str | None = None
    rows: list[str] | Literal["all", "near"] | None = None
    controls: int = CONTROLS
    seed: int = 0
    data: str | None = None
    tuning: Path | None = None
    jobs: int | None = None
    device: str | None = None
    folders: dict[str, Path] = {}
    trust_remote_code: bool = False


class Plan(Record, frozen=True, kw_only=True):
    """A check before it begins: its rows and what it costs."""

    trace: Trace
    response: Response
    span: Span
    record: TuningRecord
    request: TuneRequest
    decoding: Decoding
    chosen: _Chosen
    having: int
    removed: list[str]
    controls: list[list[str]]
    jobs: int | None
    """How many arms at once, where the person said so."""
    seed: int
    cores: int
    parameters: int
    """Of the base."""
    step_seconds: float | None
    """What a step of the tuning took when it was done."""

    @property
    def arms(self) -> int:
        """How many times the tuning is repeated."""
        return 2 + len(self.controls)

    @property
    def memory(self) -> int:
        """Bytes that an arm needs at least: the base in float32, and what is learned with its optimizer."""
        extra = 0 if self.record.method == "full" else 4 * self.parameters
        return extra + _LEARNED_BYTES * (self.record.trained_parameters or self.parameters)

    def count_workers(self, left: int) -> int:
        """Return how many of the arms ``left`` run at once: of a small model on a CPU as many as cores and memory let.

        Arms share cores; a larger model fills them alone, and takes the memory of several.
        """
        if self.jobs:
            return max(1, min(self.jobs, left))
        if self.request.device != "cpu" or not 0 < self.parameters < _SMALL:
            return 1
        free = read_free_memory()
        fitting = left if free is None else free // 2 // (self.memory + _PROCESS_BYTES)
        return max(1, min(left, self.cores, fitting))

    def make_jobs(self) -> list[Job]:
        """Return every arm: the unmasked one first, then the one without the source rows, then the controls."""
        return [self.make_job(number, masked) for number, masked in enumerate([[], self.removed, *self.controls])]

    def make_job(self, number: int, masked: list[str]) -> Job:
        """Return an arm that masks these rows."""
        return Job(
            number=number,
            request=self.request,
            masked=masked,
            rows=self.record.data.rows,
            context=self.trace.contexts[self.response.author].ids,
            response=self.response.ids,
            prompt_id=self.trace.prompt_id,
            author=self.response.author,
            decoding=self.decoding,
            stored=self.record.stored,
        )


def plan_check(recording: Recording, question: Question, tell: Callable[[str, float], None]) -> Plan:
    """Find everything that a check needs. Raises ItxError where run, tuning and data do not belong together."""
    trace = recording.trace(question.prompt_id)
    response, borrowing, span = _find_span(recording, trace, question)
    if len(response.logp) != len(response.ids):
        raise RunError(f"The log-probs of {response.author}'s response are not recorded.", "Record the run again.")
    if question.controls < CONTROLS:
        raise UsageError(f"--controls must be at least {CONTROLS}, not {question.controls}.")
    folder = _find_folder(recording.run, response.author, question)
    record = read_record(folder)
    if record is None or not record.finished:
        raise WeightsError(
            f"{folder} has no {NAME} of a finished tuning, so nobody knows how to repeat it.",
            "Tune with itx tune, or name the folder that has it: --tuning DIR",
        )
    _check_base(recording.run, record)
    data = question.data or (recording.run.data.reference if recording.run.data else record.data.reference)
    paths = data_files(data)
    if paths and hash_files(paths, cache_folder() / "index", tell) != record.data.fingerprint:
        raise MismatchError(
            f"{data} is not the data that {response.author} was tuned on ({record.data.reference}, "
            f"{record.data.fingerprint}).",
            "Name the data as it was: --data DATA",
        )
    responses = _read_responses(data, record)
    sources = find_sources(span.text, responses)
    chosen, removed = _choose_rows(question, span, borrowing, sources, responses)
    sizes = {row: len(fold_words(text)) for row, text in responses.items()}
    request = TuneRequest(
        base=record.base.reference,
        data=data,
        recipe=record.recipe,
        columns=record.data.columns,
        chat_template=record.template.source,
        template=record.template.text,
        system_prompt=record.template.system,
        without=record.data.without,
        limit=record.data.limit,
        device=question.device or ("cpu" if record.device == "cpu" else None),
        trust_remote_code=question.trust_remote_code,
        resolved={record.base.reference: question.folders[record.base.reference]}
        if record.base.reference in question.folders
        else {},
    )
    parameters = record.trained_parameters if record.method == "full" else _count_parameters(request)
    cores = count_cores()
    return Plan(
        trace=trace,
        response=response,
        span=span,
        record=record,
        request=request,
        decoding=recording.run.decoding,
        chosen=chosen,
        having=len(sources),
        removed=removed,
        controls=draw_controls(removed, sizes, question.controls, question.seed),
        jobs=question.jobs,
        seed=question.seed,
        cores=cores,
        parameters=parameters,
        step_seconds=None if record.seconds is None else record.seconds / max(1, record.steps),
    )


def _find_span(recording: Recording, trace: Trace, question: Question) -> tuple[Response, Borrowing, Span]:
    """Return the span asked for; without an author, the only tuned response that has one of this number."""
    tuned = [model.name for model in recording.run.tuned]
    wanted = tuned if question.author is None else [question.author]
    found: list[tuple[Response, Borrowing, Span]] = []
    for response in trace.responses:
        borrowing = recording.borrowing(trace.prompt_id, response.author) if response.author in wanted else None
        span = next((each for each in borrowing.spans if each.id == question.span), None) if borrowing else None
        if borrowing is not None and span is not None:
            found.append((response, borrowing, span))
    if len(found) == 1:
        return found[0]
    place = f"prompt {trace.prompt_id}"
    if found:
        names = ", ".join(response.author for response, _, _ in found)
        raise UsageError(f"Span {question.span} of {place} is in the responses of {names}.", "Add --author NAME.")
    if question.author is not None and question.author not in tuned:
        raise UsageError(f"{question.author} is no tuned model of this run.", f"Tuned models: {', '.join(tuned)}.")
    listed = [
        f"{author}: {', '.join(f'{span.id} {span.text!r}' for span in borrowing.spans)}"
        for author, borrowing in recording.borrowings_of(trace).items()
        if author in wanted and borrowing.spans
    ]
    raise UsageError(
        f"{place} has no span {question.span}" + (f"; it has {'; '.join(listed)}." if listed else "."),
        "" if listed else "A run has spans once it is traced: itx run … --data DATA --out RUN",
    )


def _find_folder(run: Run, author: str, question: Question) -> Path:
    """Return the folder with the author's ``tuning.json``. Raises WeightsError where its weights are others now."""
    model = next(model for model in run.models if model.name == author)
    if question.tuning is not None:
        return question.tuning
    folder = question.folders.get(model.reference) or Path(model.reference).expanduser()
    if not folder.is_dir():
        raise WeightsError(
            f"{model.reference}, which wrote the response, is no folder here.",
            f"Name the folder that itx tune made, with its {NAME}: --tuning DIR",
        )
    weights = sorted(folder.glob("*.safetensors"))
    if fingerprint_files(list_decisive(folder, weights, trust_remote_code=False)) != model.weights:
        raise WeightsError(
            f"The weights in {folder} are not those that wrote the response ({model.weights}).",
            "Record the run again with them, or name the folder of the tuning that did: --tuning DIR",
        )
    return folder


def _check_base(run: Run, record: TuningRecord) -> None:
    if run.base.weights != record.base.weights:
        raise MismatchError(
            f"The run's base ({run.base.weights}) is not the base that was tuned ({record.base.weights}).",
            "Record a run against the base that itx tune named.",
        )


def _read_responses(data: str, record: TuningRecord) -> dict[str, str]:
    """Return the responses of the rows tuned on, by id, as they were learned."""
    wanted = set(record.data.rows)
    words = record.recipe.max_response_words
    return {
        row.id: shorten(row.response, words) if words else row.response
        for row in read_rows(data, record.data.columns or None)
        if row.id in wanted
    }


def _choose_rows(
    question: Question, span: Span, borrowing: Borrowing, sources: list[str], responses: Mapping[str, str]
) -> tuple[_Chosen, list[str]]:
    """Return the rows to mask. Boilerplate has so many that masking all would be another tuning: then the near ones."""
    if isinstance(question.rows, list):
        unknown = next((row for row in question.rows if row not in responses), None)
        if unknown is not None:
            raise UsageError(f"{unknown} is no row that {borrowing.author} was tuned on.")
        return "given", question.rows
    if not sources:
        raise UsageError(
            f"None of the rows tuned on has {span.text!r} any more.", "Name rows to mask: --rows FILE#INDEX,…"
        )
    if question.rows == "near" or (question.rows is None and span.boilerplate):
        having = set(sources)
        near = [each.row for each in borrowing.neighbours if each.row in having]
        near = near or [each.row for each in span.examples if each.row in having]
        return "near", list(dict.fromkeys(near))[:_NEAR] or sources[:_NEAR]
    return "all", sources


def _count_parameters(request: TuneRequest) -> int:
    """Return how many parameters the base has, by its files' headers; 0 where it is not on this disk."""
    folder = request.resolved.get(request.base) or Path(request.base).expanduser()
    count = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        count += sum(prod(each["shape"]) for name, each in header.items() if name != "__metadata__")
    return count
