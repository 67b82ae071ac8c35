"""The whole examination, in order: what lies on disk, the memory, the weights, what ids mean, contexts, measurements.

Nothing stops it but wrong usage: what cannot be looked at because of an earlier failure is named as skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from itx.compare.context import ContextMaker, check_templates
from itx.compare.load import make_options
from itx.compare.request import Request
from itx.compare.template import ChatTemplate, read_template
from itx.doctor import contexts as contexts_of
from itx.doctor import fitting, folders, measures, quantisation, tokens
from itx.doctor.finding import Diagnosis, Finding, failed, refused
from itx.doctor.fitting import Exchange
from itx.doctor.loading import load_what_can_be
from itx.doctor.memory import check_memory, count_bytes, sum_needed
from itx.doctor.numbers import check_gguf_numbers
from itx.doctor.subject import Subject, check_base_alone, read_references, read_subject
from itx.doctor.tokens import Reader
from itx.errors import ItxError, TemplateError, UsageError
from itx.models.contract import Engine
from itx.models.host import read_free_memory
from itx.models.load import find_base
from itx.models.options import Options
from itx.models.reference import ADAPTER_CONFIG, parse_reference, split_name
from itx.records import Floor

Tell = Callable[[str], None]


class _Examination:
    """What is known so far, and what was found."""

    def __init__(self, request: Request, tell: Tell) -> None:
        self.request = request
        self.tell = tell
        self.findings: list[Finding] = []
        self.skipped: list[str] = []
        self.subjects: list[Subject] = []
        self.engines: dict[str, Engine] = {}
        self.readers: dict[str, Reader] = {}
        self.apart: set[str] = set()
        """Names of tuned models that are compared with base by bytes."""

    @property
    def base(self) -> Subject | None:
        """The base's folder, where it is there."""
        return next((subject for subject in self.subjects if subject.name == "base"), None)

    def look_at_folders(self, base: str, tuned: Sequence[str]) -> None:
        """Read every folder and check it. Raises UsageError."""
        references, found = read_references(base, tuned, self.request.resolved)
        self.findings += found
        for reference in references:
            self.tell(f"reading what lies in {reference.name}")
            subject, found = read_subject(reference, trust_remote_code=self.request.trust_remote_code)
            self.subjects.append(subject)
            self.findings += found
        unreadable = {
            finding.subject for finding in self.findings if finding.check == "weights" and finding.status == "fail"
        }
        base_subject = self.base
        for subject in self.subjects:
            self.tell(f"checking the weights of {subject.name}")
            self.findings += folders.check_numbers(subject)
            if subject.name not in unreadable:
                self.findings += check_gguf_numbers(subject)
            self.findings += folders.check_generation(subject)
            if subject is base_subject:
                self.findings += check_base_alone(subject)
            elif base_subject is not None:
                self.findings += folders.check_adapter_base(subject, base_subject)
                self.findings += folders.check_adapter_shapes(subject, base_subject)
                self.findings += folders.check_beside(subject, base_subject)
                self.findings += folders.check_architecture(subject, base_subject)

    def check_room(self) -> bool:
        """Check that there is memory for all models; return whether loading them may be tried. Raises UsageError."""
        places: dict[str, str] = {}
        free: dict[str, int | None] = {"cpu": read_free_memory()}
        asked = Options(device=self.request.devices)
        for subject in self.subjects:
            device: str = "cpu"
            if find_spec("torch") is not None and subject.reference.kind in {"folder", "hub"}:
                from itx.models.torch.capacity import find_place

                device, there = find_place(asked.device_of(subject.name))
                if device != "cpu":
                    free[device] = there
            places[subject.name] = device
        found = check_memory(sum_needed(self.subjects, places, self.request.dtype), free)
        self.findings += found
        return all(finding.status != "fail" for finding in found)

    def can_copy_base(self) -> bool:
        """Return whether there is memory for the base's weights once more."""
        base = self.base
        engine = self.engines.get("base")
        if base is None or engine is None:
            return False
        free = read_free_memory()
        if engine.device.startswith("cuda"):
            from itx.models.torch.capacity import find_place

            free = find_place(engine.device)[1]
        return free is None or count_bytes(base, engine.dtype, on_host=engine.device == "cpu") < free

    def load(self) -> None:
        """Load all that can be loaded. Raises UsageError."""
        unusable = {finding.subject for finding in self.findings if finding.check in {"found", "weights", "config"}
                    and finding.status == "fail"}  # fmt: skip
        references = [subject.reference for subject in self.subjects if subject.name not in unusable]
        if not references:
            return
        ward = load_what_can_be(references, make_options(self.request), lambda what, done, total: self.tell(what))
        self.engines = ward.engines
        self.findings += ward.findings

    def read_vocabularies(self) -> None:
        """Gather how each model reads text: of the engine, else of its folder, else (an adapter) of the base."""
        for subject in self.subjects:
            engine = self.engines.get(subject.name)
            if engine is not None:
                self.readers[subject.name] = Reader(
                    engine.name,
                    engine.reference,
                    engine.vocabulary,
                    engine.template,
                    engine.eos,
                    engine.vocab_size,
                    engine.adapter is not None,
                )
            elif subject.folder is not None and find_spec("transformers") is not None:
                try:
                    reader = tokens.read_reader(subject, self.readers.get("base"), self.request.trust_remote_code)
                except ItxError as error:
                    self.findings.append(refused("tokenizer", subject.name, error))
                else:
                    if reader is not None:
                        self.readers[subject.name] = reader

    def look_at_tokens(self) -> set[str]:
        """Check what ids mean to each model; return the names of those that mean what base does."""
        base = self.readers.get("base")
        agreeing = {"base"} if base is not None else set()
        for name, reader in self.readers.items():
            if base is None or name == "base":
                if base is not None:
                    self.findings += tokens.check_columns(reader, base)
                continue
            found = tokens.check_tokenizers(base, reader, self.request.align)
            self.findings += found
            apart = any(finding.status != "pass" for finding in found)
            if apart and self.request.align == "bytes":
                self.apart.add(name)
                self.skipped.append(f"columns, eos, effect and shift of {name}: its ids are not base's")
                continue
            self.findings += tokens.check_columns(reader, base)
            self.findings += tokens.check_ends(base, reader)
            if not apart:
                agreeing.add(name)
                self.findings += tokens.check_added(base, reader)
        return agreeing

    def look_at_contexts(self) -> ChatTemplate | None:
        """Check the chat template and what the models make of it; return it where it works. Raises UsageError."""
        base = self.readers.get("base")
        tuned = [reader for name, reader in self.readers.items() if name != "base"]
        readers = [*([base] if base is not None else []), *tuned]
        if not readers:
            return None
        leader = (tuned or readers)[0]
        template, found = contexts_of.choose_template(self.request.chat_template, base or leader, tuned)
        self.findings += found
        if template is None:
            return None
        text, found = contexts_of.check_rendering(template, leader)
        self.findings += found
        if text is None:
            return None
        for reader in readers:
            if reader is not base or self.request.context == "same":
                # A model with another tokenizer sees its own markers where the template asks for them by name.
                own = contexts_of.check_rendering(template, reader)[0] if self.apart else text
                self.findings += contexts_of.check_markers(own or text, reader, reader if self.apart else leader)
                self.findings += contexts_of.check_bos(own or text, reader)
            if reader is not base:
                self.findings += contexts_of.check_turn_end(template, reader)
        of_leader = {leader.name} if leader.name in self.apart else self.readers.keys() - self.apart
        under_it = [
            reader
            for reader in readers
            if reader.name in of_leader and (reader is not base or self.request.context == "same")
        ]
        self.findings += tokens.check_lacking(under_it, leader.vocabulary.encode(text))
        return template


def examine(request: Request, exchanges: Sequence[Exchange] | None, tell: Tell) -> Diagnosis:
    """Look for everything that would make a comparison of these models lie.

    ``exchanges`` are rows of the tuning data, for finding the chat template; None for not looking. Raises UsageError
    for words that name no model, device or template, and nothing else of itx.
    """
    if request.chat_template is not None:
        read_template(request.chat_template)
    broken: list[Finding] = []
    try:
        check_templates(request.context, None)
    except TemplateError as error:
        broken = [refused("context", "base", error)]
        request = msgspec.structs.replace(request, context="same")
    examination = _Examination(request, tell)
    examination.findings += broken
    tuned = list(request.tuned)
    base = request.base
    if base is None:
        try:
            alone = parse_reference(split_name(tuned[0])[1], "tuned", request.resolved)
            if alone.kind == "folder" and not (alone.folder / ADAPTER_CONFIG).is_file():
                raise UsageError(f"{tuned[0]} is no adapter, and no other model is named.", "itx doctor BASE TUNED")
            base = find_base(alone)
        except UsageError:
            raise
        except ItxError as error:
            return Diagnosis(models={"tuned": tuned[0]}, findings=[refused("found", "tuned", error)])
    examination.look_at_folders(base, tuned)
    if examination.check_room():
        examination.load()
    else:
        examination.skipped.append("loading and all that needs the weights: there is not enough memory")
    _check_effects_on_disk(examination)
    examination.read_vocabularies()
    agreeing = examination.look_at_tokens()
    template = examination.look_at_contexts()
    measured = _measure(examination, agreeing, template)
    losses = []
    for engine in examination.engines.values():
        if exchanges and engine.name != "base":
            try:
                found = fitting.measure_losses(engine, fitting.list_candidates(engine, template), exchanges, tell)
            except ItxError as error:
                examination.findings.append(refused("template-loss", engine.name, error))
                continue
            losses += found
            measured.findings += fitting.judge_losses(engine, found, template)
    return Diagnosis(
        models={subject.name: subject.reference.text for subject in examination.subjects},
        findings=[*examination.findings, *measured.findings],
        floors=measured.floors,
        distances=measured.distances,
        losses=losses,
        skipped=[*examination.skipped, *measured.skipped],
    )


def _check_effects_on_disk(examination: _Examination) -> None:
    """Look in the files of adapters that could not be loaded with their base."""
    for subject in examination.subjects:
        if subject.name not in examination.engines or "base" not in examination.engines:
            examination.findings += folders.check_effect_on_disk(subject)


def _measure(examination: _Examination, agreeing: set[str], template: ChatTemplate | None) -> measures.Measured:
    """Measure what needs weights."""
    measured = measures.Measured()
    engines, tell, request = examination.engines, examination.tell, examination.request
    if not engines:
        measured.skipped.append("logits, effect, noise-floor, shift and merged: no weights could be loaded")
        return measured
    # Without a template of its own the measurements still can be made, in plain text.
    rendering = template or read_template("plain")
    chunk = request.chunk or min(engine.chunk for engine in engines.values())
    sound: list[Engine] = []
    for engine in engines.values():
        tell(f"probing the logits of {engine.name}")
        found = measures.check_logits(engine, rendering)
        measured.findings += found
        if all(finding.status != "fail" for finding in found):
            sound.append(engine)
    of_floors = measures.measure_floors(sound, rendering, chunk, tell)
    _add(measured, of_floors)
    _add(measured, _measure_quantisation(examination, sound, rendering, chunk, measured.floors))
    base = next((engine for engine in sound if engine.name == "base"), None)
    tuned = [engine for engine in sound if engine.name in agreeing and engine.name != "base"]
    if base is None or not tuned:
        measured.skipped.append(
            "effect, shift and merged: they need a sound base and a tuned model that reads as it does"
        )
        return measured
    try:
        context = ContextMaker(base, tuned, request.context, rendering, request.system_prompt)
        for engine in tuned:
            measured.findings += measures.check_precisions(base, engine)
        found, working = measures.check_tunings(base, tuned, context)
    except ItxError as error:
        measured.findings.append(failed("context", "all", error.cause, error.remedy))
        return measured
    measured.findings += found
    of_shifts = measures.measure_shifts(base, working, context, chunk, measured.floors, tell)
    _add(measured, of_shifts)
    measured.findings += quantisation.judge_shifts(base, working, measured.distances)
    roomy = examination.can_copy_base()
    _add(
        measured,
        measures.measure_merges(
            base, working, context, chunk, measured.floors, of_shifts.distances, tell, may_merge=roomy
        ),
    )
    return measured


def _measure_quantisation(
    examination: _Examination, sound: Sequence[Engine], template: ChatTemplate, chunk: int, floors: Sequence[Floor]
) -> measures.Measured:
    loras = {
        subject.name: Path(subject.reference.place)
        for subject in examination.subjects
        if subject.adapter and subject.reference.kind == "gguf"
    }
    tell, free = examination.tell, read_free_memory()
    return quantisation.measure_quantisation(sound, loras, template, chunk, floors, free, tell)


def _add(measured: measures.Measured, more: measures.Measured) -> None:
    measured.findings += more.findings
    measured.floors += more.floors
    measured.distances += more.distances
    measured.skipped += more.skipped
