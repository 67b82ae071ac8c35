"""Everything up to the first step of a tuning: the base, its examples, their course, and the record of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import msgspec
import torch

from itx.compare.template import ChatTemplate, list_builtins, read_template
from itx.config import cache_folder
from itx.data.contents import hash_files
from itx.data.reading import Broken, data_files, read_rows
from itx.data.row import Row
from itx.errors import InputError, TemplateError, UsageError
from itx.models.options import Options
from itx.models.reference import Reference, parse_reference
from itx.models.torch.engine import TorchEngine
from itx.models.torch.hub import locate
from itx.models.torch.load import TorchLoader
from itx.models.versions import read_versions
from itx.tune.examples import ExampleMaker, Examples, Skipped
from itx.tune.plan import Course, plan_course
from itx.tune.recipe import check_recipe
from itx.tune.record import Base, Data, Template, TuningRecord
from itx.tune.request import TuneRequest
from itx.version import VERSION

Tell = Callable[[str, float], None]
"""Hears what takes a step, and the fraction of it that is done; one below 0 makes a notice of it."""

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """A loaded base and what it will be fed; ``place`` is the base's folder."""

    engine: TorchEngine
    place: Path
    examples: Examples
    course: Course
    record: TuningRecord

    @property
    def pad_id(self) -> int:
        """An id that fills up batches; no figure depends on it."""
        return min(self.engine.eos, default=0)


def prepare(request: TuneRequest, tell: Tell) -> Prepared:
    """Load the base and make the examples. Raises ItxError; InputError where no row can be tuned on."""
    recipe = request.recipe
    check_recipe(recipe)
    if request.chat_template is not None and request.template is None:
        read_template(request.chat_template).check()
    paths = data_files(request.data)
    reference = parse_reference(request.base, "base", request.resolved)
    if reference.kind not in {"folder", "hub"}:
        raise UsageError(f"{request.base} cannot be tuned.", "Name a folder with safetensors or a hub id.")
    engine = load_base(request, reference, tell)
    window = engine.window
    if window is not None and recipe.max_tokens > window:
        recipe = msgspec.structs.replace(recipe, max_tokens=window)
    template = _find_template(request, engine)
    maker = ExampleMaker(
        engine.vocabulary,
        template,
        engine.eos,
        max_tokens=recipe.max_tokens,
        max_words=recipe.max_response_words,
        system=request.system_prompt,
    )
    rows = _Rows(request)
    limited = islice(rows, request.limit)
    examples = maker.make_all(limited, request.without, lambda count: tell("reading rows", 0.0))
    if not paths:
        rows.exhaust()
    _check_rows(request, rows, examples)
    course = plan_course([len(example.ids) for example in examples.examples], recipe)
    record = TuningRecord(
        itx=VERSION,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=request.command,
        finished=False,
        method=recipe.method,
        base=Base(reference=_spell(reference), weights=engine.fingerprint, tokenizer=engine.vocabulary.fingerprint),
        data=Data(
            reference=request.data,
            fingerprint=hash_files(paths, cache_folder() / "index", tell) if paths else rows.fingerprint,
            columns=request.columns,
            limit=request.limit,
            rows=examples.rows,
            skipped=[*rows.broken, *examples.skipped],
            without=request.without,
            truncated=examples.truncated,
            shortened=examples.shortened,
        ),
        template=Template(
            text=template.text,
            fingerprint=template.fingerprint,
            source=template.source,
            system=request.system_prompt,
        ),
        recipe=recipe,
        steps=course.steps,
        learned_tokens=sum(example.weight for example in examples.examples),
        device=engine.device,
        threads=torch.get_num_threads(),
        versions=read_versions(),
    )
    place = locate(reference, trust_remote_code=request.trust_remote_code)
    return Prepared(engine, place, examples, course, record)


def load_base(request: TuneRequest, reference: Reference, tell: Tell) -> TorchEngine:
    """Load the base as the recipe computes with it. Raises ItxError."""
    recipe = request.recipe
    options = Options(
        device={} if request.device is None else {"": request.device},
        # What an adapter leaves alone may lie in bfloat16; what is learned is held in float32.
        dtype="bfloat16" if recipe.method == "lora" and recipe.dtype == "bfloat16" else "float32",
        threads=request.threads,
        trust_remote_code=request.trust_remote_code,
    )
    return TorchLoader(options, lambda what, done, total: tell(what, done / total if total else 0.0)).load(reference)


class _Rows:
    """The rows of the data, those that cannot be used, and the hash of a data set that has no files."""

    def __init__(self, request: TuneRequest) -> None:
        self.broken: list[Skipped] = []
        self.ids: set[str] = set()
        self._digest = hashlib.sha256()
        self._rows = read_rows(request.data, request.columns or None, self._note)

    def _note(self, broken: Broken) -> None:
        self.broken.append(Skipped(row=f"{Path(broken.file).name}#{broken.index}", reason=broken.reason))

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.ids.add(row.id)
            self._digest.update(json.dumps(msgspec.to_builtins(row)).encode("ascii"))
            yield row

    def exhaust(self) -> None:
        """Read what is left, so that ``fingerprint`` is of all rows."""
        for _ in self:
            pass

    @property
    def fingerprint(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


def _check_rows(request: TuneRequest, rows: _Rows, examples: Examples) -> None:
    unknown = [row for row in request.without if row not in rows.ids]
    if unknown:
        raise UsageError(
            f"--without names {len(unknown)} rows that {request.data} does not have, {unknown[0]} first.",
            "A row's id is FILE#INDEX: the file's name and the row's number from 0.",
        )
    if not examples.examples:
        reasons = "; ".join(f"{each.row}: {each.reason}" for each in examples.skipped[:_SHOWN])
        raise InputError(f"None of the {len(rows.ids)} rows of {request.data} can be tuned on. {reasons}.")


def _find_template(request: TuneRequest, engine: TorchEngine) -> ChatTemplate:
    if request.template is not None:
        return ChatTemplate(request.template, request.chat_template or "tuning.json")
    if request.chat_template is not None:
        return read_template(request.chat_template)
    if engine.template:
        return ChatTemplate(engine.template, engine.reference)
    raise TemplateError(
        f"{request.base} brings no chat template, and itx does not guess one.",
        f"Pass the one to tune with: --chat-template FILE, or a built-in: {', '.join(list_builtins())}.",
    )


def _spell(reference: Reference) -> str:
    """Return a reference as it can be loaded again from another folder."""
    if reference.kind == "hub" or reference.text.startswith("demo:"):
        return reference.text
    return str(reference.folder.absolute())
