"""Judgements on measurements: logits, precision, floors, shifts that drown in noise; packages that are missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itx.compare.template import read_template
from itx.doctor.finding import Finding
from itx.doctor.measures import check_logits, check_precisions, find_noise, measure_floors, measure_shifts
from itx.models.reference import parse_reference
from itx.models.tiny import TinyEngine, load_tiny
from itx.records import Floor
from tests.cli.calling import call
from tests.doctor.clinic import diagnose, status


def make(text: str = "tiny:1", name: str = "base") -> TinyEngine:
    return load_tiny(parse_reference(text, name, {}))


def only(findings: list[Finding]) -> str:
    (finding,) = findings
    return finding.status


@pytest.mark.parametrize(("value", "expected"), [(np.nan, "fail"), (np.inf, "fail"), (-np.inf, "warn"), (-6.0, "pass")])
def test_logits_that_are_no_numbers(value: float, expected: str) -> None:
    engine = make()
    engine.bias[-1] = value
    assert only(check_logits(engine, read_template("plain"))) == expected


def test_probability_on_padding_is_weighed() -> None:
    engine = make()
    assert only(check_logits(engine, read_template("plain"))) == "pass"
    engine.bias[258:] = 9
    (finding,) = check_logits(engine, read_template("plain"))
    rows = engine.arithmetic.export(engine.stream().extend([256, *b"Hello"], keep=6))
    weights = np.exp(np.asarray(rows, np.float64))
    share = float((weights[:, 258:].sum(1) / weights.sum(1)).mean())
    assert finding.status == "warn"
    assert f"{share:.1%}" in finding.reason


def test_other_dtypes_and_quantisations_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    base, other = make(), make("tiny:1?tuned=1", "t0")
    assert only(check_precisions(base, other)) == "pass"
    monkeypatch.setattr(other, "dtype", "bfloat16", raising=False)
    assert only(check_precisions(base, other)) == "warn"
    monkeypatch.setattr(other, "quantization", "Q4_K_M", raising=False)
    (finding,) = check_precisions(base, other)
    assert (finding.status, "Q4_K_M" in finding.reason) == ("warn", True)


class Uneven(TinyEngine):
    """Logits that depend on how the ids were cut into chunks."""

    def __init__(self, error: float, dtype: str) -> None:
        super().__init__(1, name="base", reference="tiny:1")
        self.dtype = dtype
        self.error = error

    def stream(self) -> Any:
        inner, error = super().stream(), self.error

        class Stream:
            def extend(self, ids: Sequence[int], keep: int = 1) -> Any:
                noise = np.random.default_rng(len(ids)).normal(0, error, 272).astype(np.float32)
                return inner.extend(ids, keep) + noise

        return Stream()


@pytest.mark.parametrize(
    ("error", "dtype", "expected"),
    [(0.0, "float32", "pass"), (0.05, "float32", "fail"), (0.05, "bfloat16", "pass"), (1.5, "bfloat16", "warn")],
)
def test_a_floor_is_judged_by_its_precision(error: float, dtype: str, expected: str) -> None:
    measured = measure_floors([Uneven(error, dtype)], read_template("plain"), 8, lambda what: None)
    assert only(measured.findings) == expected
    assert measured.floors[0].positions > 0
    assert (measured.floors[0].kl_mean > 1e-5) == (error > 0)


def test_each_precision_is_measured_once() -> None:
    engines = [make(), make("tiny:1?tuned=1", "t0"), Uneven(0.01, "bfloat16")]
    measured = measure_floors(engines, read_template("plain"), 8, lambda what: None)
    assert [floor.dtype for floor in measured.floors] == ["float32", "bfloat16"]
    assert find_noise(measured.floors, engines[0], engines[1]) == measured.floors[0].kl_mean
    assert find_noise(measured.floors, *engines) == measured.floors[1].kl_mean


def test_a_shift_that_drowns_in_noise_warns() -> None:
    from itx.compare.context import ContextMaker

    base, tuned = make(), make("tiny:1?tuned=0.3", "t0")
    contexts = ContextMaker(base, [tuned], "same", read_template("plain"))

    def judge(noise: float) -> str:
        floor = Floor(model="base", dtype="float32", kl_mean=noise, unshifted=1.0, positions=32)
        return only(measure_shifts(base, [tuned], contexts, 8, [floor], lambda what: None).findings)

    assert (judge(1e-9), judge(0.5)) == ("pass", "warn")


def test_a_window_without_room_is_named_as_not_looked_at() -> None:
    found = diagnose("tiny:1?window=1", "tiny:1?window=1&tuned=1")
    assert found.floors == []
    assert any("noise-floor of base" in skipped for skipped in found.skipped)


def test_memory_that_runs_out_is_a_finding() -> None:
    found = diagnose("tiny:1?fail=2", "t0=tiny:1?tuned=0.3")
    assert status(found, "logits", "base") == "fail"
    assert status(found, "logits", "t0") == "pass"


def test_a_hub_model_that_cannot_be_had_is_a_finding(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    from itx.models.torch import hub

    def refuse(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("nothing there")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    found = diagnose(healthy / "base", "owner/none", healthy / "full")
    assert status(found, "found", "t0") == "fail"
    assert status(found, "effect", "t1") == "pass"


def test_a_missing_extra_for_the_data_is_said(
    healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    words = ("doctor", healthy / "base", healthy / "full", "--data", tmp_path / "rows.jsonl.zst", "--json")
    done = call(capfd, monkeypatch, *words)
    assert done.code == 1
    (finding,) = [each for each in json.loads(done.out)["findings"] if each["status"] == "fail"]
    assert (finding["check"], finding["remedy"]) == ("data", "pip install 'itx[data]'")
