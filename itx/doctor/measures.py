"""Checks that need the weights: logits that are numbers, a tuning that shows, the noise floor, merges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from itx.compare.context import ContextMaker
from itx.compare.floor import measure_distance
from itx.compare.rounding import round_figure
from itx.compare.template import ChatTemplate
from itx.doctor.finding import Distance, Finding, failed, passed, refused, warned
from itx.errors import ItxError
from itx.models.checks import check_effect, compare_precision
from itx.models.contract import Engine
from itx.records import Floor, Prompt

_EXACT = ("float32", "float64")
_EXACT_FLOOR = 1e-5
_LOUD_FLOOR = 0.02
_STEADY = 0.9
_CLEAR = 10
"""Times the noise floor that a distance must be for it to be told from noise."""
_NEAR = 0.1
"""The part of an adapter's own shift within which another model counts as meant to be the same tuning."""
_PROBED = 48


@dataclass(slots=True)
class Measured:
    """What the measurements came to."""

    findings: list[Finding] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)
    distances: list[Distance] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def check_logits(engine: Engine, template: ChatTemplate) -> list[Finding]:
    """Fail where a logit behind a probe prompt is NaN or +Inf; warn of −Inf, and of probability on unused columns."""
    try:
        ids = _own_contexts(engine, template).make(Prompt(id="probe", prompt="Hello"))[engine.name].ids[:_PROBED]
        stream = engine.stream()
        # While the stream lives: an engine's rows may be its own memory.
        rows = engine.arithmetic.export(stream.extend(ids, keep=len(ids)))
    except ItxError as error:
        return [refused("logits", engine.name, error)]
    unusable = int((np.isnan(rows) | np.isposinf(rows)).sum())
    if unusable:
        reason = f"{unusable:,} of {rows.size:,} logits behind a probe prompt are NaN or infinite."
        remedy = "Try --dtype float32; if it stays, its weights are damaged: take an earlier checkpoint."
        return [failed("logits", engine.name, reason, remedy)]
    masked = int(np.isneginf(rows).sum())
    if masked:
        reason = f"{masked:,} of {rows.size:,} logits behind a probe prompt are −Inf: such ids count as −10,000 nats."
        return [
            warned("logits", engine.name, reason, "Look for a mask in its head's bias; divergences are finite only.")
        ]
    outside = _weigh_padding(rows, engine.vocabulary.size)
    if outside > 1e-3:
        reason = f"{outside:.1%} of the probability behind a probe prompt lies on columns that are no token (padding)."
        return [warned("logits", engine.name, reason, "Check that its tokenizer is the one it was trained with.")]
    said = f"All {rows.size:,} logits behind a probe prompt are finite"
    padding = (
        f"; {outside:.1e} of the probability lies on padding" if engine.vocab_size > engine.vocabulary.size else ""
    )
    return [passed("logits", engine.name, f"{said}{padding}.")]


def _weigh_padding(rows: np.typing.NDArray[np.float32], size: int) -> float:
    """Return the mean probability on the columns from ``size`` on."""
    if rows.shape[1] <= size:
        return 0.0
    weights = np.exp(rows.astype(np.float64) - rows.max(axis=1, keepdims=True))
    return float((weights[:, size:].sum(axis=1) / weights.sum(axis=1)).mean())


def _own_contexts(engine: Engine, template: ChatTemplate) -> ContextMaker:
    return ContextMaker(engine, [engine], "same", template)


def check_tunings(base: Engine, tuned: Sequence[Engine], contexts: ContextMaker) -> tuple[list[Finding], list[Engine]]:
    """Fail for each tuned model whose logits are base's own; return the others, too. Raises ItxError."""
    ids = contexts.make(Prompt(id="probe", prompt="Hello"))[base.name].ids
    findings: list[Finding] = []
    working: list[Engine] = []
    for engine in tuned:
        said = check_effect(base, [engine], ids)
        remedy = "Name the weights that were saved after the tuning; check the scale (lora_alpha) of an adapter."
        findings += [failed("effect", engine.name, warning, remedy) for warning in said]
        if not said:
            working.append(engine)
            findings.append(passed("effect", engine.name, "Its logits behind a probe prompt are not base's."))
    return findings, working


def check_precisions(base: Engine, engine: Engine) -> list[Finding]:
    """Warn where base and tuned differ in dtype or quantisation, which would count as shift."""
    remedy = "Compare models of one quantisation, with one --dtype."
    said = [warned("precision", engine.name, warning, remedy) for warning in compare_precision(base, engine)]
    kind = engine.quantization or engine.dtype
    return said or [passed("precision", engine.name, f"It computes in {kind}, as base does.")]


def measure_floors(
    engines: Sequence[Engine], template: ChatTemplate, chunk: int, tell: Callable[[str], None]
) -> Measured:
    """Measure each engine, dtype and quantisation once: the same weights, token by token against chunks."""
    measured = Measured()
    known: set[tuple[str, str, str | None]] = set()
    for engine in engines:
        precision = (engine.kind, engine.dtype, engine.quantization)
        if precision in known:
            continue
        known.add(precision)
        tell(f"measuring the noise floor of {engine.kind} in {engine.quantization or engine.dtype}")
        try:
            floor = measure_distance(engine, engine, _own_contexts(engine, template), chunk)
        except ItxError as error:
            measured.findings.append(refused("noise-floor", engine.name, error))
            continue
        if floor is None:
            measured.skipped.append(f"noise-floor of {engine.name}: its window has no room")
            continue
        measured.floors.append(floor)
        measured.findings.append(_judge_floor(engine, floor))
    return measured


def _judge_floor(engine: Engine, floor: Floor) -> Finding:
    said = (
        f"{engine.kind} in {floor.dtype}, token by token against chunks: mean KL {floor.kl_mean:.2g} nats, "
        f"{floor.unshifted:.1%} unshifted, over {floor.positions} tokens."
    )
    # llama.cpp rounds inputs of its products to the weights' own type, whatever it calls the rest.
    exact = floor.dtype in _EXACT and engine.kind != "llama"
    if exact and (floor.kl_mean >= _EXACT_FLOOR or floor.unshifted < 1):
        reason = f"{said} In this precision it should be below 1e-5, and all unshifted."
        remedy = "Update transformers and torch; --chunk 1 scores as it writes."
        return failed("noise-floor", engine.name, reason, remedy)
    if floor.kl_mean > _LOUD_FLOOR or floor.unshifted < _STEADY:
        remedy = "Read no shift below it; a larger --dtype (float32) or quantisation is quieter."
        return warned("noise-floor", engine.name, said, remedy)
    return passed("noise-floor", engine.name, said)


def measure_shifts(
    base: Engine, tuned: Sequence[Engine], contexts: ContextMaker, chunk: int, floors: Sequence[Floor],
    tell: Callable[[str], None],
) -> Measured:  # fmt: skip
    """Measure how far what each tuned model writes lies from base, and whether that stands out of the noise."""
    measured = Measured()
    for engine in tuned:
        tell(f"measuring what {engine.name} changes")
        try:
            found = measure_distance(engine, base, contexts, chunk)
        except ItxError as error:
            measured.skipped.append(f"shift of {engine.name}: {error.cause}")
            continue
        if found is None:
            measured.skipped.append(f"shift of {engine.name}: a window has no room")
            continue
        measured.distances.append(_record("tuning", found, base))
        noise = find_noise(floors, base, engine)
        said = (
            f"What it writes lies {found.kl_mean:.2g} nats from base (mean KL, {found.positions} tokens, "
            f"{found.unshifted:.1%} unshifted); the noise floor is {noise:.1g}."
        )
        if found.kl_mean < _CLEAR * noise:
            remedy = "Compare in a larger --dtype (float32), and over many prompts, before reading a shift."
            measured.findings.append(warned("shift", engine.name, f"{said} That is hardly more than noise.", remedy))
        else:
            measured.findings.append(passed("shift", engine.name, said))
    return measured


def find_noise(floors: Sequence[Floor], *engines: Engine) -> float:
    """Return the largest noise floor, in nats, of the precisions that these engines compute in."""
    kinds: set[tuple[str | None, str]] = {(engine.kind, engine.quantization or engine.dtype) for engine in engines}
    kinds |= {(None, dtype) for _, dtype in kinds}
    return max((floor.kl_mean for floor in floors if (floor.engine, floor.dtype) in kinds), default=0.0)


def _record(kind: str, found: Floor, scorer: Engine) -> Distance:
    return Distance(
        kind="merged" if kind == "merged" else "tuning",
        author=found.model,
        scorer=scorer.name,
        kl_mean=round_figure(found.kl_mean),
        unshifted=found.unshifted,
        positions=found.positions,
    )


def measure_merges(
    base: Engine, tuned: Sequence[Engine], contexts: ContextMaker, chunk: int, floors: Sequence[Floor],
    shifts: Sequence[Distance], tell: Callable[[str], None], *, may_merge: bool,
) -> Measured:  # fmt: skip
    """Measure each adapter against itself merged in memory, and against the checkpoints that are merges of it.

    The first needs the base's memory once more: ``may_merge`` says whether it is there.
    """
    measured = Measured()
    adapters = [engine for engine in tuned if engine.adapter]
    for adapter in adapters:
        merging = 0.0
        if adapter.kind == "torch" and not may_merge:
            measured.skipped.append(f"{adapter.name} merged: there is no memory for another copy of base")
        elif adapter.kind == "torch" and adapter.quantization is None:
            tell(f"merging {adapter.name} in memory")
            try:
                found = _measure_merged(adapter, contexts, chunk)
            except ItxError as error:
                measured.skipped.append(f"{adapter.name} merged: {error.cause}")
                found = None
            if found is not None:
                merging = found.kl_mean
                measured.distances.append(_record("merged", found, adapter))
                measured.findings.append(_judge_merging(adapter, found))
        shift = next((each.kl_mean for each in shifts if each.author == adapter.name), None)
        for full in (engine for engine in tuned if not engine.adapter):
            try:
                apart = measure_distance(adapter, full, contexts, chunk)
            except ItxError as error:
                measured.skipped.append(f"{full.name} against {adapter.name}: {error.cause}")
                continue
            near = apart is not None and shift is not None and apart.kl_mean < _NEAR * shift
            if apart is not None and (near or _is_merge(full, adapter, base)):
                measured.distances.append(_record("merged", apart, full))
                noise = max(merging, find_noise(floors, adapter, full), _EXACT_FLOOR / _CLEAR)
                measured.findings.append(_judge_merge(adapter, full, apart, noise, near=near))
    return measured


def _measure_merged(adapter: Engine, contexts: ContextMaker, chunk: int) -> Floor | None:
    from itx.models.torch.engine import TorchEngine
    from itx.models.torch.merging import merge_adapter

    return measure_distance(adapter, merge_adapter(cast(TorchEngine, adapter)), contexts, chunk)


def _is_merge(full: Engine, adapter: Engine, base: Engine) -> bool:
    if {full.kind, adapter.kind, base.kind} != {"torch"}:
        return False
    from itx.models.torch.engine import TorchEngine
    from itx.models.torch.merging import is_merge

    return is_merge(cast(TorchEngine, full), cast(TorchEngine, adapter), cast(TorchEngine, base))


def _judge_merging(adapter: Engine, found: Floor) -> Finding:
    said = f"Merged into the weights in {adapter.dtype} it lies {found.kl_mean:.2g} nats from itself attached."
    if found.kl_mean > (_EXACT_FLOOR if adapter.dtype in _EXACT else _LOUD_FLOOR):
        remedy = "Merge in float32, or keep it attached: figures of a merged checkpoint would hold this as shift."
        return warned("merged", adapter.name, said, remedy)
    return passed("merged", adapter.name, said)


def _judge_merge(adapter: Engine, full: Engine, apart: Floor, noise: float, *, near: bool) -> Finding:
    said = (
        f"It looks like {adapter.name} merged, and lies {apart.kl_mean:.2g} nats from it ({apart.unshifted:.1%} "
        f"unshifted over {apart.positions} tokens); noise is {noise:.1g}."
    )
    if apart.kl_mean <= _CLEAR * noise:
        return passed("merged", full.name, said)
    remedy = "Merge again, once, into the unquantised base: merge_and_unload, then save_pretrained in float32."
    make = warned if near else failed
    return make("merged", full.name, said, remedy)
