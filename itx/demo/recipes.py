"""The recipes of the embedded tunings as `itx tune` and `itx verify` know them: `tuning.json` beside the weights.

`itx.demo.train` writes it; `python -m itx.demo.recipes --out DIR` does so for weights that were made before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from itx.demo import HERE
from itx.demo.tuning import RANK, TARGETS, TuningRecipe
from itx.tune.preparation import prepare
from itx.tune.recipe import Recipe
from itx.tune.record import NAME, TuningRecord, write_record
from itx.tune.request import TuneRequest


def describe_recipe(recipe: TuningRecipe) -> Recipe:
    """What `itx.demo.tuning.tune` does, in the words of `itx tune`."""
    return Recipe(
        method="lora" if recipe.method == "lora" else "full",
        epochs=recipe.passes,
        batch_size=1,
        gradient_accumulation=1,
        learning_rate=recipe.rate,
        schedule="linear",
        warmup_steps=10,
        clip_norm=0.0,
        lora_r=RANK,
        lora_alpha=2 * RANK,
        target_modules=list(TARGETS),
        max_tokens=512,
        seed=recipe.seed,
        batching="grouped",
        budget=recipe.budget,
    )


def describe_tuning(out: Path, recipe: TuningRecipe, about: Mapping[str, Any]) -> TuningRecord:
    """The record of a tuning of the base in `out`; `about` is what `figures.json` says of it."""
    request = TuneRequest(
        base="demo:base",
        data=str(out / "rows.jsonl"),
        recipe=describe_recipe(recipe),
        device="cpu",
        resolved={"demo:base": out / "weights" / "base"},
    )
    record = prepare(request, lambda step, fraction: None).record
    return replace(
        record,
        finished=True,
        data=replace(record.data, reference="rows.jsonl"),
        seconds=about["seconds"],
        stored="float16",
    )


def write_tunings(out: Path) -> list[Path]:
    """Writes `tuning.json` beside the tuned weights in `out`, from its `figures.json`; the files written."""
    figures = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    written = []
    for name in ("lora", "full"):
        about = next(each for each in figures["tunings"][name] if each["seed"] == figures["shipped_seed"])
        recipe = TuningRecipe(about["method"], about["rate"], about["passes"], about["budget"], about["seed"])
        record = describe_tuning(out, recipe, about)
        learned = figures["base"]["parameters"] if name == "full" else _count_adapter(out / "weights" / name)
        write_record(
            out / "weights" / name,
            replace(record, trained_parameters=learned, threads=figures["threads"], versions=figures["versions"]),
        )
        written.append(out / "weights" / name / NAME)
    return written


def _count_adapter(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(str(folder / "adapter_model.safetensors"), framework="pt") as tensors:
        names: list[str] = tensors.keys()
        return sum(tensors.get_tensor(name).numel() for name in names)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m itx.demo.recipes", description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="the folder with rows.jsonl, weights/ and figures.json")
    for path in write_tunings(parser.parse_args().out):
        print(path)


if __name__ == "__main__":
    main()
