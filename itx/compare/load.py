"""From a request to a comparison that is ready to be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from itx.compare.cautions import warn_of_files, warn_of_markers, warn_of_turn_ends
from itx.compare.comparison import Comparison
from itx.compare.context import ContextMaker, check_templates, find_no_template, find_template
from itx.compare.decoding import check_decoding
from itx.compare.events import Loading
from itx.compare.floor import measure_floors
from itx.compare.request import Request
from itx.compare.tokenizers import check_alignment, group_tokenizers
from itx.errors import UsageError
from itx.models.batching import choose_batch, choose_chunk, choose_given_chunk
from itx.models.checks import check_context, check_effect
from itx.models.contract import Engine
from itx.models.load import find_base, foresee, load_engines, load_in_turn
from itx.models.options import Options
from itx.models.reference import Reference, parse_reference, parse_references, split_name
from itx.models.versions import read_versions
from itx.records import SCHEMA, EngineFacts, Model, Prompt, Run
from itx.version import VERSION


def load_comparison(request: Request, tell: Callable[[Loading], None]) -> Comparison:
    """Load the models of a request, check that they can be compared, and return the comparison.

    What the checks find that does not forbid it is in ``run.warnings``. Raises ItxError.
    """
    references, authors, options = _read_request(request)
    load = load_in_turn if request.sequential else load_engines
    loaded = load(references, options, lambda what, done, total: tell(Loading(what=what, done=done, total=total)))
    base, *tuned = loaded.engines
    tell(Loading(what="checking that the models can be compared"))
    families = group_tokenizers(base, tuned, request.align)
    warnings = loaded.warnings + families.warnings
    template = find_template(request.chat_template, base, tuned)
    differing = [engine.name for engine in tuned if engine.template not in {None, template.text}]
    if differing and request.chat_template is None:
        warnings.append(f"{', '.join(differing)} brings another chat template; all see that of {template.source}.")
    leaders = families.find(tuned[0].name)
    apart = [engine.name for engine in loaded.engines if engine not in leaders]
    contexts = ContextMaker(base, tuned, request.context, template, request.system_prompt, apart)
    probe = contexts.make(Prompt(id="probe", prompt="Hello"))
    for engine in loaded.engines:
        warnings += [warning for warning in check_context(engine, probe[engine.name].ids) if warning not in warnings]
    leader = tuned[0]
    # The test engine reads by the byte: no template has a marker of its.
    if request.context == "same" and base.name not in apart and base.kind != "tiny":
        warnings += warn_of_markers(probe[leader.name].text, base, leader)
    warnings += warn_of_turn_ends(template, tuned)
    warnings += warn_of_files(references)
    warnings += check_effect(base, families.find(base.name)[1:], probe[base.name].ids)
    own = {name: context.ids for name, context in probe.items()}
    batch = choose_batch(loaded.engines, request.batch_size, own, lambda what: tell(Loading(what=what)))
    chunk = request.chunk or choose_chunk(loaded.engines, batch)
    floors = measure_floors(loaded.engines, contexts, chunk, lambda what: tell(Loading(what=what)))
    run = Run(
        schema=SCHEMA,
        itx=VERSION,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=request.command,
        models=[_describe(engine, is_base=engine is base, apart=engine.name in apart) for engine in loaded.engines],
        decoding=request.decoding,
        context=contexts.record,
        thresholds=request.thresholds,
        engine=EngineFacts(
            chunk=chunk,
            threads=base.threads,
            # torch chooses a kernel by itself; through llama.cpp it is off.
            flash_attention=False if all(engine.kind == "llama" for engine in loaded.engines) else None,
            kv=base.dtype,
            batch_size=batch,
            given_chunk=request.chunk or choose_given_chunk(loaded.engines, batch),
        ),
        versions=read_versions(),
        authors=authors,
        warnings=warnings,
        floors=floors,
    )
    seats = [] if loaded.seats is None else loaded.seats.list_engines()
    return Comparison(loaded.engines, run, authors, contexts, families, seats)


def foresee_request(request: Request) -> None:
    """Raise ItxError for what is wrong with a request and can be seen without loading weights."""
    references, _, options = _read_request(request)
    if foresee(references, options) is False and request.chat_template is None:
        raise find_no_template()


def _read_request(request: Request) -> tuple[list[Reference], list[str], Options]:
    """Return a request's models, its authors and how to load. Raises ItxError for what cannot be meant."""
    check_decoding(request.decoding)
    check_alignment(request.align)
    check_templates(request.context, request.chat_template)
    if request.batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, not {request.batch_size}.")
    if request.sequential and (request.batch_size > 1 or request.align != "ids"):
        what = "--batch-size" if request.batch_size > 1 else "--align bytes"
        raise UsageError(f"--sequential and {what} exclude each other.", "Leave one of them out.")
    if request.chunk is not None and request.chunk < 1:
        raise UsageError(f"--chunk must be at least 1, not {request.chunk}.")
    references = _read_references(request)
    names = [reference.name for reference in references]
    authors = choose_authors(request.authors, names)
    unknown = sorted(set(request.devices) - {"", *names})
    if unknown:
        raise UsageError(f"--device names {unknown[0]}, which is no model of this run.", f"Models: {', '.join(names)}.")
    return references, authors, make_options(request)


def make_options(request: Request) -> Options:
    """Return how the models of a request are to be loaded."""
    return Options(
        device=request.devices,
        dtype=request.dtype,
        threads=request.threads,
        trust_remote_code=request.trust_remote_code,
        engine=request.engine,
        gpu_layers=request.gpu_layers,
        ctx_size=request.ctx_size,
    )


def _read_references(request: Request) -> list[Reference]:
    resolved = {text: Path(folder) for text, folder in request.resolved.items()}
    if request.base is not None:
        return parse_references(request.base, request.tuned, resolved)
    if not request.tuned:
        raise UsageError("No model was named.", "itx compare BASE TUNED")
    adapter = parse_reference(split_name(request.tuned[0])[1], "tuned", resolved)
    return parse_references(find_base(adapter), request.tuned, resolved)


def choose_authors(wanted: str, names: Sequence[str]) -> list[str]:
    """Return the authors that ``tuned``, ``base``, ``all`` or names with commas mean, in the order of the models.

    ``names`` are the models', base first. Raises UsageError for a name that is no model's.
    """
    if wanted == "all":
        return list(names)
    chosen: set[str] = set()
    for word in (part.strip() for part in wanted.split(",")):
        if word in names:
            chosen.add(word)
        elif word == "tuned":
            chosen.update(names[1:])
        else:
            raise UsageError(
                f"--authors {word!r} is no model of this run.", f"Use tuned, base, all, or names: {', '.join(names)}."
            )
    return [name for name in names if name in chosen]


def _describe(engine: Engine, *, is_base: bool, apart: bool) -> Model:
    return Model(
        name=engine.name,
        role="base" if is_base else "tuned",
        reference=engine.reference,
        engine=engine.kind,
        adapter=engine.adapter,
        dtype=engine.dtype,
        quantization=engine.quantization,
        weights=engine.fingerprint,
        tokenizer=engine.vocabulary.fingerprint,
        vocab_size=engine.vocab_size,
        exact=not apart,
        alignment="bytes" if apart else msgspec.UNSET,
        device=engine.device,
        method=None if is_base else "lora" if engine.adapter else "full",
    )
