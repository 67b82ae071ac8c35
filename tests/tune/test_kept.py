"""What finished retunings leave: a check that was ended goes on, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from itx.records import Decoding
from itx.tune import check, verification
from itx.tune.check import Plan
from itx.tune.kept import find_figures, keep_figures, place_weights
from itx.tune.record import Base, Data
from itx.tune.verification import carry_out, count_left, discard_kept
from tests.tune.checks import Answering, answer_job, make_plan, make_record
from tests.tune.setting import quiet


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "itx" / "retunings"


def let_answer(monkeypatch: pytest.MonkeyPatch, most: int = 99) -> Answering:
    answering = Answering(most)
    monkeypatch.setattr(verification, "run_jobs", answering)
    return answering


def test_a_check_that_was_ended_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    let_answer(monkeypatch, most=2)
    assert count_left(plan) == 5
    with pytest.raises(KeyboardInterrupt):
        carry_out(plan, quiet)
    assert count_left(plan) == 3
    rest = let_answer(monkeypatch)
    found = carry_out(plan, quiet)
    assert len(rest.asked) == 3
    assert count_left(plan) == 0
    discard_kept(plan)
    assert count_left(plan) == 5
    whole = let_answer(monkeypatch)
    assert replace(carry_out(plan, quiet), time="") == replace(found, time="")
    assert len(whole.asked) == 5


def test_the_masked_rows_of_each_arm_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order that arms were tuned in."""
    let_answer(monkeypatch)
    plan = make_plan(controls=[["r#30"], ["r#200"], ["r#3000"]])
    found = carry_out(plan, quiet)
    for masked, arm in zip(
        [[], ["r#1"], *plan.controls], (found.unmasked, found.removed, *found.controls), strict=True
    ):
        job = plan.make_job(0, masked)
        assert arm.masked == masked
        assert arm.logp == answer_job(job).logp[1:3]


@pytest.mark.parametrize(
    "changes",
    [
        {"record": make_record(base=Base(reference="base", weights="sha256:other", tokenizer="sha256:2"))},
        {"record": make_record(data=Data(reference="rows.jsonl", fingerprint="sha256:other", rows=["r#0", "r#1"]))},
        {"record": make_record(data=Data(reference="rows.jsonl", fingerprint="sha256:3", rows=["r#1", "r#0"]))},
        {"record": make_record(stored="bfloat16")},
        {"decoding": Decoding(max_new_tokens=3)},
        {"removed": ["r#7"]},
    ],
)
def test_figures_of_another_check_are_not_taken(changes: dict[str, Any]) -> None:
    plan, other = make_plan(), make_plan(**changes)
    job = plan.make_jobs()[1]
    keep_figures(job, plan.record, answer_job(job))
    assert find_figures(job, plan.record) == answer_job(job)
    assert find_figures(other.make_jobs()[1], other.record) is None


def test_threads_and_numbers_do_not_matter() -> None:
    plan = make_plan()
    job = plan.make_jobs()[1]
    keep_figures(job, plan.record, answer_job(job))
    same = replace(job, number=4, request=replace(job.request, threads=7, command=["itx", "verify"]))
    assert find_figures(same, plan.record) == replace(answer_job(job), number=4)


def test_broken_figures_are_none(cache: Path) -> None:
    plan = make_plan()
    job = plan.make_jobs()[1]
    keep_figures(job, plan.record, answer_job(job))
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    assert find_figures(job, plan.record) is None
    keep_figures(job, plan.record, replace(answer_job(job), logp=[-1.0]))
    assert find_figures(job, plan.record) is None


def test_a_cache_that_cannot_be_written_is_told_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    let_answer(monkeypatch)
    told: list[str] = []
    found = carry_out(make_plan(), lambda step, fraction: told.append(step) if fraction < 0 else None)
    assert len(found.controls) == 3
    assert any("not kept" in step for step in told)


def test_weights_are_kept_of_the_unmasked_arm_of_a_small_tuning() -> None:
    plan = make_plan()
    unmasked, removed = plan.make_jobs()[:2]
    place = place_weights(unmasked, plan.record)
    assert place is not None
    assert place_weights(removed, plan.record) is None
    assert place_weights(unmasked, make_record(trained_parameters=10**9)) is None
    assert place_weights(unmasked, make_record(trained_parameters=0)) is None
    # Another span and another prompt: the same tuning.
    elsewhere = replace(unmasked, context=[9], response=[8], prompt_id="two", author="a", decoding=Decoding(seed=1))
    assert place_weights(elsewhere, plan.record) == place
    other = make_record(base=Base(reference="base", weights="sha256:other", tokenizer="sha256:2"))
    assert place_weights(unmasked, other) != place


def test_an_arm_whose_weights_are_there_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    place = place_weights(plan.make_jobs()[0], plan.record)
    assert place is not None
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    assert count_left(plan) == 4
    answering = let_answer(monkeypatch)
    carry_out(plan, quiet)
    # Its response is scored all the same.
    assert [(job.number, job.weights) for job in answering.asked][-1] == (0, place)
    assert {job.weights for job in answering.asked[:-1]} == {None}


@pytest.mark.parametrize(
    ("changes", "left", "workers"),
    [
        ({}, 5, 2),
        ({"cores": 8}, 5, 5),
        ({"cores": 8}, 2, 2),
        ({"cores": 1}, 5, 1),
        ({"parameters": 60_000_000}, 5, 1),
        ({"parameters": 0}, 5, 1),
        ({"jobs": 3}, 5, 3),
        ({"jobs": 3, "parameters": 60_000_000}, 2, 2),
        ({"request": replace(make_plan().request, device="cuda")}, 5, 1),
        ({"cores": 8, "parameters": 40_000_000, "record": make_record(trained_parameters=40_000_000)}, 5, 4),
    ],
)
def test_as_many_arms_at_once_as_cores_and_memory_let(
    changes: dict[str, Any], left: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half of it is for the arms: of 40 million parameters one takes 0.64 GB and what torch takes beside.
    monkeypatch.setattr(check, "read_free_memory", lambda: 14_500_000_000)
    assert make_plan(**changes).count_workers(left) == workers


def test_the_last_arms_share_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "read_free_memory", lambda: None)

    def threads(plan: Plan) -> dict[int, int | None]:
        answering = let_answer(monkeypatch)
        carry_out(plan, quiet)
        discard_kept(plan)
        return {job.number: job.request.threads for job in answering.asked}

    assert threads(make_plan()) == {1: 1, 2: 1, 3: 1, 4: 1, 0: 2}
    assert threads(make_plan(cores=4)) == {1: 1, 2: 1, 3: 1, 4: 1, 0: 4}
    assert threads(make_plan(cores=12)) == {1: 2, 2: 2, 3: 2, 4: 2, 0: 2}
    assert threads(make_plan(cores=12, jobs=1)) == {1: 12, 2: 12, 3: 12, 4: 12, 0: 12}
