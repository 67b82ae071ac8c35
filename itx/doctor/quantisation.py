"""What quantisation loses: GGUF weights against the same weights in float32, beside singly against chunked.

For a LoRA also: attached to the float32 weights against merged into them, where both must be one, and attached to the
quantised weights against attached to the others. All of the same greedy tokens as the noise floor's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from itx.compare.context import ContextMaker
from itx.compare.floor import measure_distance
from itx.compare.template import ChatTemplate
from itx.doctor.finding import Distance, Finding, passed, warned
from itx.doctor.measures import Measured
from itx.errors import ItxError
from itx.models.contract import Engine
from itx.records import Floor

if TYPE_CHECKING:
    from itx.models.llama.engine import LlamaEngine

_MERGED = 1e-5
"""Nats within which a LoRA merged in float32 is itself attached."""


def measure_quantisation(
    engines: Sequence[Engine], loras: Mapping[str, Path], template: ChatTemplate, chunk: int, floors: Sequence[Floor],
    memory: int | None, tell: Callable[[str], None],
) -> Measured:  # fmt: skip
    """Measure each GGUF file that is no plain float32, and each LoRA on one (``loras``: its file, by its name).

    ``memory`` is how many bytes are free. What disk or memory has no room for is skipped, and says so.
    """
    measured = Measured()
    for engine in engines:
        if engine.kind != "llama" or engine.adapter:
            continue
        model = cast("LlamaEngine", engine)
        riders = [
            (cast("LlamaEngine", each), loras[each.name])
            for each in engines
            if each.name in loras and cast("LlamaEngine", each).weights is model.weights
        ]
        if riders or not _is_plain(model):
            _Comparison(model, riders, template, chunk, floors, memory, tell, measured).make()
    return measured


def _is_plain(engine: Engine) -> bool:
    return engine.quantization is None and engine.dtype == "float32"


class _Comparison:
    """One file and the LoRAs on it, against its weights in float32."""

    def __init__(
        self, model: LlamaEngine, riders: Sequence[tuple[LlamaEngine, Path]], template: ChatTemplate, chunk: int,
        floors: Sequence[Floor], memory: int | None, tell: Callable[[str], None], measured: Measured,
    ) -> None:  # fmt: skip
        self.model = model
        self.riders = riders
        self.template = template
        self.chunk = chunk
        self.floors = floors
        self.memory = memory
        self.tell = tell
        self.measured = measured
        self.stored = model.quantization or model.dtype

    def make(self) -> None:
        """Measure what there is room for."""
        from itx.models.llama import twin

        names = ", ".join([self.model.name, *(rider.name for rider, _ in self.riders)])
        try:
            path = self.model.weights.header.path
            lack = twin.find_lack(path, 1, self.memory)
            if lack is not None:
                self.measured.skipped.append(f"quantisation of {names}: {lack}")
                return
            with twin.open_folder() as folder:
                said = f"writing {self.model.name} in float32"
                self.tell(said)
                whole = twin.write_twin(self.model, folder, lambda share: None)
                if not _is_plain(self.model):
                    self._compare_twin(whole)
                lack = twin.find_lack(path, 1, self.memory and self.memory - whole.weights.header.path.stat().st_size)
                for rider, lora in self.riders:
                    attached = twin.attach(whole, rider, lora)
                    if not _is_plain(self.model):
                        self._compare_attached(rider, attached)
                    if lack is not None:
                        self.measured.skipped.append(f"{rider.name} merged: {lack}")
                        continue
                    self.tell(f"merging {rider.name} in float32")
                    merged = twin.write_twin(rider, folder, lambda share: None, lora)
                    self._compare_merged(attached, merged)
                    merged.weights.header.path.unlink()
        except ItxError as error:
            self.measured.skipped.append(f"quantisation of {names}: {error.cause} {error.remedy}".rstrip())

    def _measure(self, kind: str, author: Engine, scorer: Engine) -> Distance | None:
        contexts = ContextMaker(author, [author], "same", self.template)
        found = measure_distance(author, scorer, contexts, self.chunk)
        if found is None:
            self.measured.skipped.append(f"{kind} of {author.name}: its window has no room")
            return None
        distance = Distance(
            kind="merged" if kind == "merged" else "quantisation",
            author=author.name,
            scorer=author.name,
            kl_mean=found.kl_mean,
            unshifted=found.unshifted,
            positions=found.positions,
        )
        self.measured.distances.append(distance)
        return distance

    def _compare_twin(self, whole: Engine) -> None:
        found = self._measure("quantisation", self.model, whole)
        if found is None:
            return
        said = f"{self.stored} against its own weights in float32: {_say(found)}"
        floor = next((each for each in self.floors if each.engine == "llama" and each.dtype == self.stored), None)
        if floor is not None:
            said += (
                f"; the same file token by token against chunks: {floor.kl_mean:.2g} nats, "
                f"{floor.unshifted:.1%} unshifted"
            )
        self.measured.findings.append(passed("quantisation", self.model.name, f"{said}."))

    def _compare_attached(self, rider: Engine, attached: Engine) -> None:
        found = self._measure("quantisation", rider, attached)
        if found is not None:
            said = f"On the {self.stored} base against on the same base in float32: {_say(found)}."
            self.measured.findings.append(passed("quantisation", rider.name, said))

    def _compare_merged(self, attached: Engine, merged: Engine) -> None:
        found = self._measure("merged", attached, merged)
        if found is not None:
            self.measured.findings.append(judge_merged(found))


def judge_merged(found: Distance) -> Finding:
    """Judge a LoRA merged into float32 weights against itself attached to them."""
    said = f"Attached to the base in float32 against merged into it: {_say(found)}."
    if found.kl_mean <= _MERGED:
        return passed("merged", found.author, said)
    remedy = f"Within {_MERGED:g} nats they would be one: update llama-cpp-python, and check adapter.lora.alpha."
    return warned("merged", found.author, said, remedy)


def _say(found: Distance) -> str:
    return f"mean KL {found.kl_mean:.2g} nats, {found.unshifted:.1%} unshifted over {found.positions} tokens"


def judge_shifts(base: Engine, tuned: Sequence[Engine], distances: Sequence[Distance]) -> list[Finding]:
    """Warn of each shift that is no larger than what quantisation loses, where base and tuned are quantised apart."""
    findings = []
    losses = {each.author: each.kl_mean for each in distances if each.kind == "quantisation"}
    shifts = {each.author: each.kl_mean for each in distances if each.kind == "tuning"}
    for engine in tuned:
        loss = max(losses.get(base.name, 0.0), losses.get(engine.name, 0.0))
        shift = shifts.get(engine.name)
        if engine.quantization == base.quantization or shift is None or shift > loss:
            continue
        reason = f"It lies {shift:.2g} nats from base, and quantisation alone moves one of the two by {loss:.2g}."
        remedy = "Compare files of one quantisation, or both in F32."
        findings.append(warned("shift", engine.name, reason, remedy))
    return findings
