"""The weights themselves: all that can be loaded are, and what cannot says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from itx.doctor.finding import Finding, passed, refused, warned
from itx.errors import ItxError, MissingExtraError, UsageError
from itx.models.contract import Engine
from itx.models.load import load_engines
from itx.models.options import Options, Tell
from itx.models.reference import Reference


@dataclass(frozen=True, slots=True)
class Ward:
    """The engines that could be loaded, by name, on shared weights where they share them."""

    engines: dict[str, Engine]
    findings: list[Finding]


def load_what_can_be(references: Sequence[Reference], options: Options, tell: Tell) -> Ward:
    """Load all models at once, as a comparison does. Where one fails, find which, and load the others without it."""
    references = list(references)
    if not any(reference.name == "base" for reference in references):
        return _load_alone(references, options, tell)
    try:
        return _admit(references, options, tell, [])
    except ItxError as error:
        if len(references) == 1:
            return Ward({}, [_refuse(references[0], error)])
        if isinstance(error, MissingExtraError) and len({each.kind == "gguf" for each in references}) == 1:
            return Ward({}, [refused("engine", "all", error)])
    base, *tuned = references
    findings: list[Finding] = []
    whole: list[Reference] = []
    try:
        load_engines([base], options, tell)
    except ItxError as error:
        findings.append(_refuse(base, error))
        alone = _load_alone(tuned, options, tell)
        return Ward(alone.engines, findings + alone.findings)
    for reference in tuned:
        try:
            load_engines([base, reference], options, tell)
            whole.append(reference)
        except ItxError as error:
            findings.append(_refuse(reference, error))
    try:
        return _admit([base, *whole], options, tell, findings)
    except ItxError as error:
        # Each fits beside the base; all of them do not.
        return Ward({}, [*findings, refused("loading", "all", error)])


def _admit(references: Sequence[Reference], options: Options, tell: Tell, findings: list[Finding]) -> Ward:
    loaded = load_engines(references, options, tell)
    found = list(findings)
    for engine in loaded.engines:
        said = f"Loaded with {engine.kind} on {engine.device}, in {engine.quantization or engine.dtype}."
        found.append(passed("loading", engine.name, said))
    return Ward({engine.name: engine for engine in loaded.engines}, found)


def _load_alone(references: Sequence[Reference], options: Options, tell: Tell) -> Ward:
    """Load each model that needs no base, without one."""
    engines: dict[str, Engine] = {}
    findings: list[Finding] = []
    for reference in references:
        try:
            (engine,) = load_engines([reference], options, tell).engines
            engines[reference.name] = engine
            findings.append(passed("loading", engine.name, f"Loaded with {engine.kind}, without its base."))
        except MissingExtraError as error:
            findings.append(_refuse(reference, error))
        except ItxError as error:
            reason = f"It was not loaded: {error.cause}"
            findings.append(warned("loading", reference.name, reason, error.remedy or "Mend the base first."))
    return Ward(engines, findings)


def _refuse(reference: Reference, error: ItxError) -> Finding:
    if isinstance(error, UsageError):
        raise error
    return refused("engine" if isinstance(error, MissingExtraError) else "loading", reference.name, error)
