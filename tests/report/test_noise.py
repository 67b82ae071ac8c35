"""The noise floor in words: what was measured is said with its figures, what was not is said to be none."""

from __future__ import annotations

import msgspec
import pytest

from itx.records import Floor, Run
from itx.report.figures import summarise
from itx.report.noise import describe_noise
from itx.report.provenance import write_provenance
from itx.report.summary import write_summary
from tests.support.traces import build_run

FLOOR = Floor(model="base", dtype="bfloat16", kl_mean=0.00234, unshifted=0.96875, positions=32)


def build(*dtypes: str, floors: tuple[Floor, ...] = ()) -> Run:
    run = build_run(("lora", "full"))
    models = [msgspec.structs.replace(model, dtype=dtype) for model, dtype in zip(run.models, dtypes * 3, strict=False)]
    return msgspec.structs.replace(run, models=models, floors=list(floors))


def test_a_measured_floor_is_said_with_its_figures() -> None:
    said = describe_noise(build("bfloat16", floors=(FLOOR,)))
    assert "in bfloat16, measured in this run on base: a mean KL of 0.002 nats" in said
    assert "31 (97 %) of 32 positions unshifted" in said
    assert "not measured" not in said
    assert "1e-3" not in said


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "Q4_K_M"])
def test_what_was_not_measured_is_said_to_be_so(dtype: str) -> None:
    said = describe_noise(build(dtype))
    assert f"in {dtype} by torch, not measured in this run: " in said


def test_models_of_several_dtypes_are_all_named() -> None:
    said = describe_noise(build("bfloat16", "float32", "float16", floors=(FLOOR,)))
    assert [said.count(word) for word in ("measured in this run", "not measured")] == [3, 2]
    assert said.index("0.002") < said.index("in float16 by torch, not") < said.index("in float32 by torch, not")


def test_engines_of_one_dtype_have_floors_of_their_own() -> None:
    run = build("bfloat16", floors=(msgspec.structs.replace(FLOOR, engine="llama"),))
    said = describe_noise(run)
    assert "in bfloat16 by llama.cpp, measured in this run on base" in said
    assert "in bfloat16 by torch, not measured in this run" in said
    said = describe_noise(build("bfloat16", floors=(msgspec.structs.replace(FLOOR, engine="torch"),)))
    assert "not measured" not in said
    assert "quantisation" not in said


def test_what_quantisation_loses_is_said_to_be_in_no_floor() -> None:
    run = build("float32")
    models = [msgspec.structs.replace(model, engine="llama", quantization="Q4_K_M") for model in run.models]
    floor = msgspec.structs.replace(FLOOR, engine="llama", dtype="Q4_K_M", quantization="Q4_K_M")
    said = describe_noise(msgspec.structs.replace(run, models=models, floors=[floor]))
    assert "in Q4_K_M by llama.cpp, measured in this run" in said
    assert "What Q4_K_M loses against the weights before quantisation is in no floor" in said
    assert "not measured" not in said


def test_report_and_export_carry_it() -> None:
    run = build("bfloat16", floors=(FLOOR,))
    for text in (write_summary(run, summarise(run, [])), write_provenance(run)):
        assert "a mean KL of 0.002 nats" in text


@pytest.mark.parametrize("wrong", [{"kl_mean": -1.0}, {"kl_mean": 1e999}, {"unshifted": 2.0}, {"positions": 0}])
def test_impossible_floors_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="noise floor"):
        Floor(**(msgspec.structs.asdict(FLOOR) | wrong))


def test_a_run_that_knows_no_floors_is_read() -> None:
    data = msgspec.to_builtins(build("bfloat16", floors=(FLOOR,)))
    assert msgspec.convert(data, Run).floors == [FLOOR]
    del data["floors"]
    assert msgspec.convert(data, Run).floors == []
