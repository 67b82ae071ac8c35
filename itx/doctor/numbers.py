"""A GGUF file's weights looked through for NaN and infinities: plain floats, and the scales of quantised blocks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from itx.doctor.finding import Finding, failed, passed, refused, warned
from itx.doctor.subject import Subject
from itx.errors import ItxError


def check_gguf_numbers(subject: Subject) -> list[Finding]:
    """Fail where a weight of a GGUF file is NaN or infinite, or the scale of a block of them. Reads all of the file."""
    if subject.reference.kind != "gguf":
        return []
    if find_spec("gguf") is None:
        reason = "The package gguf, which knows how its weights are packed, is not installed."
        return [warned("numbers", subject.name, reason, "pip install 'itx[llama]'")]
    try:
        broken = count_each(Path(subject.reference.place))
    except ItxError as error:
        return [refused("numbers", subject.name, error)]
    if not broken:
        return [passed("numbers", subject.name, "No weight and no scale of quantised weights is NaN or infinite.")]
    name = next(iter(broken))
    reason = (
        f"{sum(broken.values()):,} weights, or scales of quantised blocks, in {len(broken)} tensors are NaN or "
        f"infinite, {name[:60]} first."
    )
    remedy = "The tuning diverged, or the file is damaged: convert it again from a sound checkpoint."
    return [failed("numbers", subject.name, reason, remedy)]


def count_each(path: Path) -> dict[str, int]:
    """Return how many numbers of each tensor are NaN or infinite, of those that have any. Raises WeightsError."""
    import numpy as np

    from itx.models.llama.dequantising import read_values
    from itx.models.llama.layout import count_broken, read_layout

    layout = read_layout(path)
    broken: dict[str, int] = {}
    for place in layout.places():
        count = count_broken(layout, place)
        if count is None:
            # A layout without plain half floats: what the weights come to is looked at.
            count = sum(int(np.count_nonzero(~np.isfinite(part))) for part in read_values(layout, place))
        if count:
            broken[place.tensor.name] = count
    return broken
