"""``tuning.json`` beside the demo's weights says how they were made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from itx.demo import FIGURES, HERE, folder
from itx.tune.record import read_record

pytestmark = pytest.mark.weights


@pytest.mark.parametrize("name", ["lora", "full"])
def test_it_is_what_the_recipe_makes_of_the_rows_and_the_base(name: str) -> None:
    from itx.demo.recipes import describe_tuning
    from itx.demo.train import PLAN

    shipped = read_record(folder(name))
    assert shipped is not None
    figures = json.loads(FIGURES.read_text("utf-8"))
    about = next(each for each in figures["tunings"][name] if each["seed"] == figures["shipped_seed"])
    recipe = PLAN.lora if name == "lora" else PLAN.full
    made = describe_tuning(HERE, recipe, about)
    same = {key: getattr(made, key) for key in ("created", "threads", "versions", "trained_parameters")}
    assert shipped.finished
    assert replace(shipped, **same) == made


def test_the_first_epoch_repeated_has_the_shipped_loss(tmp_path: Path) -> None:
    """The retuning against the demo's own training: the same batches, the same mean loss."""
    from itx.demo import ROWS
    from itx.tune.preparation import prepare
    from itx.tune.request import TuneRequest
    from itx.tune.training import train
    from itx.tune.tuning import wrap

    record = read_record(folder("lora"))
    assert record is not None
    request = TuneRequest(
        base="demo:base", data=str(ROWS), recipe=record.recipe, device="cpu", resolved={"demo:base": folder("base")}
    )
    prepared = prepare(request, lambda step, fraction: None)
    first = prepared.course.epochs[0]
    model = wrap(prepared.engine.model, record.recipe)
    examples = prepared.examples.examples
    outcome = train(model, examples, prepared.course, record.recipe, folder=tmp_path, keep=False, most_steps=first)
    weights = [sum(examples[place].weight for place in prepared.course.members(step)) for step in range(first)]
    mean = sum(loss * weight for loss, weight in zip(outcome.losses, weights, strict=True)) / sum(weights)
    figures = json.loads(FIGURES.read_text("utf-8"))
    assert mean == pytest.approx(figures["tunings"]["lora"][0]["first_loss"], abs=2e-4)
