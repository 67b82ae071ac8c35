"""The noise floor is measured where rounding can be seen, through the loop that compares."""

from __future__ import annotations

from pathlib import Path

import pytest

from itx.compare.events import Loading
from itx.compare.floor import POSITIONS
from itx.compare.load import load_comparison
from itx.compare.request import Request
from itx.models.tiny import TinyEngine
from itx.records import Prompt, Run
from tests.compare.tiny import ask, load
from tests.reference.asking import compare
from tests.support.llamas import write_adapter, write_llama, write_tuned


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("floor") / "base")


def run_in(dtype: str, base: Path, *tuned: Path) -> tuple[Run, list[Loading]]:
    steps: list[Loading] = []
    references = [f"t{number}={folder}" for number, folder in enumerate(tuned)]
    request = Request(base=str(base), tuned=references, command=[], devices={"": "cpu"}, dtype=dtype)
    return load_comparison(request, steps.append).run, steps


def test_in_bfloat16_it_is_measured_on_base(base: Path, tmp_path: Path) -> None:
    """Once: the others have the same dtype. It is rounding: there is some, and little."""
    full, lora = write_tuned(base, tmp_path / "full"), write_adapter(base, tmp_path / "lora")
    run, steps = run_in("bfloat16", base, full, lora)
    (floor,) = run.floors
    assert (floor.model, floor.dtype) == ("base", "bfloat16")
    assert POSITIONS // 2 <= floor.positions <= POSITIONS
    assert 0 < floor.kl_mean < 0.05
    assert 0.8 < floor.unshifted <= 1
    assert any("noise floor of base in bfloat16" in step.what for step in steps)


def test_it_is_what_comparing_the_base_with_itself_gives(base: Path) -> None:
    """The same prompt and chunks through a comparison of two copies."""
    run, traces = compare(base, {"same": base}, ["Hello"], length=POSITIONS, dtype="bfloat16", authors="base")
    (response,) = traces[0].responses
    assert response.length == POSITIONS
    divergences = response.scores["same"].kl_author_scorer
    (floor,) = run.floors
    assert floor.positions == POSITIONS
    assert floor.kl_mean == pytest.approx(sum(divergences) / POSITIONS, rel=1e-5)
    assert floor.unshifted == response.scores["same"].rank.count(1) / POSITIONS


def test_in_float32_nothing_is_measured(base: Path, tmp_path: Path) -> None:
    run, steps = run_in("float32", base, write_adapter(base, tmp_path / "lora"))
    assert run.floors == []
    assert not any("noise" in step.what for step in steps)


def test_each_other_dtype_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where every checkpoint has its own on a device."""
    dtypes = {"base": "float32", "one": "bfloat16", "two": "float16", "three": "bfloat16"}
    monkeypatch.setattr(TinyEngine, "dtype", property(lambda engine: dtypes[engine.name]))
    run = load("one=tiny:1?tuned=0.1", "two=tiny:1?tuned=0.2", "three=tiny:1?tuned=0.3").run
    assert [(floor.model, floor.dtype) for floor in run.floors] == [("one", "bfloat16"), ("two", "float16")]
    assert all((floor.unshifted, floor.positions) == (1, POSITIONS) for floor in run.floors)


def test_a_base_that_soon_ends_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says first becomes its EOS after a few tokens; other prompts make up for it."""
    (response,) = ask(load(authors="base", length=POSITIONS), Prompt(id="1", prompt="Hello"))[1].responses
    place = max(response.ids.index(token) for token in response.ids)
    assert 0 < place < POSITIONS - 1
    monkeypatch.setattr(TinyEngine, "dtype", "bfloat16")
    monkeypatch.setattr(TinyEngine, "eos", frozenset({response.ids[place]}))
    (floor,) = load().run.floors
    assert place < floor.positions <= POSITIONS


def test_a_window_without_room_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinyEngine, "dtype", "bfloat16")
    assert load("tiny:1?tuned=0.1&window=8", base="tiny:1?window=8").run.floors == []
