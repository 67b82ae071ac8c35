"""Memory needed for all models at once against memory there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from itx.doctor.finding import Finding, failed, passed, warned
from itx.doctor.subject import Subject
from itx.doctor.tensors import count_elements

_SIZES = {
    "float64": 8, "fp64": 8, "double": 8, "float32": 4, "fp32": 4, "f32": 4,
    "bfloat16": 2, "bf16": 2, "float16": 2, "fp16": 2, "half": 2,
}  # fmt: skip
_TIGHT = 0.85


def count_bytes(subject: Subject, dtype: str | None, *, on_host: bool) -> int:
    """Return how many bytes a model's weights take: in ``dtype``, else in float32 on the host, else as stored.

    An adapter shares its base's weights and brings its own matrices only; quantised weights stay as they are.
    """
    stored = sum(tensor.end - tensor.begin for tensor in subject.tensors)
    if not subject.tensors and subject.reference.kind not in {"folder", "hub"}:
        path = Path(subject.reference.place)
        return path.stat().st_size if path.is_file() else 0
    if "quantization_config" in subject.config:
        return stored
    size = _SIZES.get(dtype or "", 4 if on_host else 0)
    return count_elements(subject.tensors) * size if size else stored


def check_memory(needed: Mapping[str, int], free: Mapping[str, int | None]) -> list[Finding]:
    """Judge each device: bytes needed against bytes free (None: not known). Fails where it cannot be enough."""
    findings = []
    for device, wanted in needed.items():
        there = free.get(device)
        said = f"The weights need {say_bytes(wanted)} on {device}"
        remedy = (
            "Use a smaller --dtype (bfloat16), another --device, fewer models at once, or an adapter, which shares "
            "the base's weights."
        )
        if there is None:
            findings.append(passed("memory", "all", f"{said}; how much is free cannot be told."))
        elif wanted > there:
            findings.append(failed("memory", "all", f"{said}, and {say_bytes(there)} are free.", remedy))
        elif wanted > _TIGHT * there:
            reason = f"{said}, and {say_bytes(there)} are free: caches and logits may not fit beside them."
            findings.append(warned("memory", "all", reason, remedy))
        else:
            findings.append(passed("memory", "all", f"{said}, and {say_bytes(there)} are free."))
    return findings


def sum_needed(subjects: Sequence[Subject], places: Mapping[str, str], dtype: str | None) -> dict[str, int]:
    """Return the bytes needed on each device; ``places`` maps a model's name to its device."""
    needed: dict[str, int] = {}
    for subject in subjects:
        device = places[subject.name]
        needed[device] = needed.get(device, 0) + count_bytes(subject, dtype, on_host=device == "cpu")
    return needed


def say_bytes(count: int) -> str:
    """Return a number of bytes as people write it."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
