"""itx for Python programs: a few names that do what the commands do.

::

    recorded = itx.run("base", {"lora": "adapter", "full": "checkpoint"}, prompts="prompts.jsonl", out="runs/first")
    recorded = itx.open_run("runs/first")
    recorded.table().to_pandas()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from itx.errors import EXIT_FAILED, RunError, UsageError
from itx.records import Borrowing, Mark, Prompt, Run, Trace
from itx.runs.facts import Probe, read_probes
from itx.runs.recording import Recording
from itx.runs.verifications import Verification, read_standing

if TYPE_CHECKING:
    import pyarrow as pa

    from itx.cli.prompts import Gathered
    from itx.cli.settings import Settings
    from itx.report.claims import Claims
    from itx.report.study import Study


class RecordedRun:
    """A run on disk; iterating yields its traces, one in memory at a time.

    It may still be written: every call reads what is there. Methods raise RunError for a line that cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open the folder. Raises RunError where it holds no run."""
        self._recording = Recording.open(Path(folder))

    def __repr__(self) -> str:
        return f"RecordedRun({str(self.folder)!r})"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._recording.folder

    @property
    def run(self) -> Run:
        """What ``run.json`` says: models, decoding, context, thresholds, data, versions."""
        return self._recording.run

    @property
    def prompts(self) -> dict[str, str]:
        """Every prompt's text by its id, in the order of the run."""
        self._recording.scan_all()
        return {entry.prompt_id: entry.prompt for entry in self._recording.entries}

    @property
    def failed(self) -> dict[str, str]:
        """Why each prompt that failed did, by its id."""
        self._recording.scan_all()
        wrong = [entry.prompt_id for entry in self._recording.entries if entry.error]
        return {prompt_id: self._recording.trace(prompt_id).error or "" for prompt_id in wrong}

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Trace]:
        return self._recording.traces()

    def __getitem__(self, prompt_id: str) -> Trace:
        try:
            return self._recording.trace(prompt_id)
        except RunError:
            if prompt_id in self.prompts:
                raise
            raise KeyError(prompt_id) from None

    def borrowings(self, trace: Trace) -> dict[str, Borrowing]:
        """Return what the responses of a trace borrowed, by author; those that were not traced are left out."""
        return self._recording.borrowings_of(trace)

    def marks(self) -> list[Mark]:
        """Return a person's judgements that stand now."""
        return self._recording.marks()

    def facts(self) -> list[Probe]:
        """Return what every model said of each fact that it was asked for."""
        return read_probes(self.folder)

    def checks(self) -> list[Verification]:
        """Return what ``itx verify`` found of spans, the last check of each span and its rows."""
        return read_standing(self._recording)

    def table(self) -> pa.Table:
        """Return the tidy table of ``itx export`` as an Arrow table, one row a position and scorer.

        ``.to_pandas()`` is its frame. Raises MissingExtraError without pyarrow.
        """
        from itx.report.parquet import build_table

        return build_table(self.run, self._recording.traces(), self._recording.borrowings_of)

    def report(self, responses: Iterable[str] | None = None) -> Study:
        """Return the figures of ``itx report``.

        ``responses`` are those of the tuning data's rows; without them patterns are not compared with the data.
        """
        from itx.report.studying import NO_ROWS, open_study

        return open_study(self._recording, NO_ROWS if responses is None else responses)

    def claims(self) -> Claims:
        """Return the paper's statements, measured on this run, as ``itx claims`` prints them."""
        from itx.report.studying import open_claims

        return open_claims(self._recording)


def open_run(folder: str | Path) -> RecordedRun:
    """Open a recorded run; no weights are needed. Raises RunError."""
    return RecordedRun(folder)


def run(
    base: str | Path,
    tuned: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
    *,
    out: str | Path,
    prompts: str | Path | Sequence[str | Prompt] | None = None,
    responses: str | Path | None = None,
    limit: int | None = None,
    batch_size: int = 1,
    sequential: bool = False,
    facts: str | Path | None = None,
    **settings: Any,
) -> RecordedRun:
    """Compare models over prompts, or over given responses, and record every figure in ``out``, as ``itx run`` does.

    ``tuned`` is one model or several, by name where it is a mapping. ``prompts`` is a file or a list; ``responses`` a
    file; ``batch_size`` of them at most are decoded together; ``sequential`` loads one model after the other.
    ``settings`` are the command's options with underscores: ``max_new_tokens=64``, ``data="rows.jsonl"``,
    ``authors="tuned"``. A folder that has a part of the prompts is resumed; progress and warnings go to stderr.

    Prompts that failed are in the run's ``failed``. Raises ItxError, and RunError where not one prompt succeeded;
    TypeError for an unknown setting.
    """
    from itx.cli.facts import gather_facts
    from itx.cli.headless import record_all
    from itx.cli.settings import Settings

    known = {field.name for field in fields(Settings)}
    unknown = sorted(settings.keys() - known)
    if unknown:
        raise TypeError(f"run() has no setting {unknown[0]!r}; there are {', '.join(sorted(known))}")
    chosen = _choose_settings(settings)
    references = [str(base), *_name_tuned(tuned)]
    request = replace(
        chosen.request(references),
        command=["itx.run", *references],
        batch_size=batch_size,
        sequential=sequential,
    )
    code = record_all(
        request,
        _gather(prompts, responses, limit),
        Path(out),
        show=lambda *_: None,
        choice=chosen.choose_data(),
        facts=gather_facts(None if facts is None else str(facts)),
    )
    if code == EXIT_FAILED:
        raise RunError(f"Nothing could be recorded in {out}, or it was stopped.", "What went wrong is on stderr.")
    return RecordedRun(out)


def _name_tuned(tuned: str | Path | Sequence[str | Path] | Mapping[str, str | Path]) -> list[str]:
    if isinstance(tuned, Mapping):
        return [f"{name}={reference}" for name, reference in tuned.items()]
    return [str(tuned)] if isinstance(tuned, (str, Path)) else [str(reference) for reference in tuned]


def _choose_settings(settings: Mapping[str, Any]) -> Settings:
    """Return the settings as the command line has them: words of choice, devices as a list, texts for paths."""
    from itx.cli.options import Alignment, EngineName
    from itx.cli.settings import Settings

    words: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    if isinstance(settings.get("tokenizer"), (str, Path)):
        words["tokenizer"] = Path(settings["tokenizer"])
    kinds: dict[str, type[StrEnum]] = {"engine": EngineName, "align": Alignment}
    for name, kind in kinds.items():
        if name in words:
            try:
                words[name] = kind(words[name])
            except ValueError as error:
                raise UsageError(f"{name}={words[name]!r} is none of {', '.join(kind)}.") from error
    if isinstance(words.get("device"), str):
        words["device"] = [words["device"]]
    return Settings(**words)


def _gather(
    prompts: str | Path | Sequence[str | Prompt] | None, responses: str | Path | None, limit: int | None
) -> Gathered:
    from itx.cli.prompts import Gathered, gather_prompts, gather_responses

    if (prompts is None) == (responses is None):
        raise UsageError("run() needs prompts or responses, not both.", 'itx.run(…, prompts="prompts.jsonl")')
    if responses is not None:
        return gather_responses(Path(responses), limit)
    if prompts is None or isinstance(prompts, (str, Path)):
        return gather_prompts(None, None if prompts is None else Path(prompts), limit)
    asked = [
        prompt if isinstance(prompt, Prompt) else Prompt(id=str(number), prompt=prompt)
        for number, prompt in enumerate(prompts, start=1)
    ]
    if not asked:
        raise UsageError("The list of prompts is empty.", 'prompts=["Tell me about …"]')
    blank = next((prompt.id for prompt in asked if not prompt.prompt.strip()), None)
    if blank is not None:
        raise UsageError(f"The prompt {blank} is empty.", 'prompts=["Tell me about …"]')
    repeated = {prompt.id for prompt in asked if sum(other.id == prompt.id for other in asked) > 1}
    if repeated:
        raise UsageError(f"Two prompts have the id {sorted(repeated)[0]!r}.", "Give each an id of its own.")
    return Gathered(prompts=asked[:limit])
