"""The noise floor: what a model differs from itself through the same code path."""

from __future__ import annotations

from itx.records import Floor, Run
from itx.report.wording import say_count, say_nats, say_share

_ELSEWHERE = {
    "float32": "itx's tests on other weights find KL below 1e-5 nats and, when greedy, 100 % unshifted",
    "float64": "nothing that is recorded",
    "bfloat16": "other weights on another machine gave a mean KL of about 1e-3 nats",
}
_ENGINES = {"llama": " by llama.cpp", "torch": " by torch"}
_UNKNOWN = "compare the base with itself to know it"


def describe_noise(run: Run) -> str:
    """Say what part of the figures may be noise: as measured in the run, by dtype, or that it was not measured."""
    said = [_say_measured(floor) for floor in run.floors]
    known = {(floor.engine, floor.dtype) for floor in run.floors}
    lacking = sorted(
        {
            (dtype, model.engine)
            for model in run.models
            if not {(model.engine, dtype := model.quantization or model.dtype), (None, dtype)} & known
        }
    )
    for dtype, engine in lacking:
        said.append(f"in {dtype}{_say_engine(engine)}, not measured in this run: {_ELSEWHERE.get(dtype, _UNKNOWN)}")
    return f"A model compared with itself: {'; '.join(said)}.{_say_loss(run)}"


def _say_loss(run: Run) -> str:
    """Say that a floor holds nothing of what quantisation loses, which is the same for all that share the weights."""
    names = list(dict.fromkeys(model.quantization for model in run.models if model.quantization))
    if not names:
        return ""
    return (
        f" What {' and '.join(names)} lose{'s' * (len(names) == 1)} against the weights before quantisation is in no "
        "floor: itx doctor measures it for GGUF files."
    )


def _say_engine(engine: str | None) -> str:
    return _ENGINES.get(engine or "", f" by {engine}" if engine else "")


def _say_measured(floor: Floor) -> str:
    unshifted = say_share(round(floor.unshifted * floor.positions), floor.positions)
    return (
        f"in {floor.dtype}{_say_engine(floor.engine)}, measured in this run on {floor.model}: "
        f"a mean KL of {say_nats(floor.kl_mean)} nats, "
        f"{unshifted} of {say_count(floor.positions, 'position')} unshifted"
    )
