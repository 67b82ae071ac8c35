"""The noise floor: what a model differs from itself through the same code path."""

from __future__ import annotations

from itx.records import Floor, Run
from itx.report.wording import say_count, say_nats, say_share

_ELSEWHERE = {
    "float32": "itx's tests on other weights find KL below 1e-5 nats and, when greedy, 100 % unshifted",
    "float64": "nothing that is recorded",
    "bfloat16": "other weights on another machine gave a mean KL of about 1e-3 nats",
}
_UNKNOWN = "compare the base with itself to know it"


def describe_noise(run: Run) -> str:
    """Say what part of the figures may be noise: as measured in the run, by dtype, or that it was not measured."""
    said = [_say_measured(floor) for floor in run.floors]
    dtypes = {model.quantization or model.dtype for model in run.models} - {floor.dtype for floor in run.floors}
    said += [f"in {dtype}, not measured in this run: {_ELSEWHERE.get(dtype, _UNKNOWN)}" for dtype in sorted(dtypes)]
    return f"A model compared with itself: {'; '.join(said)}."


def _say_measured(floor: Floor) -> str:
    unshifted = say_share(round(floor.unshifted * floor.positions), floor.positions)
    return (
        f"in {floor.dtype}, measured in this run on {floor.model}: a mean KL of {say_nats(floor.kl_mean)} nats, "
        f"{unshifted} of {say_count(floor.positions, 'position')} unshifted"
    )
