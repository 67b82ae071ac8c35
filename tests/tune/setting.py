"""Small tunings of the demo's base."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from itx.demo import ROWS, folder
from itx.tune.preparation import Prepared, prepare
from itx.tune.recipe import Recipe
from itx.tune.record import TuningRecord
from itx.tune.request import TuneRequest
from itx.tune.tuning import tune


def quiet(step: str, fraction: float) -> None:
    """Hear nothing."""


def prepare_small(recipe: Recipe, **options: Any) -> Prepared:
    """Return a tuning of the demo's base on its first 24 rows."""
    words: dict[str, Any] = {"limit": 24, "device": "cpu", "threads": 1, **options}
    return prepare(
        TuneRequest(
            base="demo:base",
            data=words.pop("data", str(ROWS)),
            recipe=recipe,
            resolved={"demo:base": folder("base")},
            **words,
        ),
        quiet,
    )


def tune_small(
    out: Path, recipe: Recipe, *, resume: bool = False, stop: Callable[[], bool] = lambda: False, **options: Any
) -> TuningRecord:
    """Carry one out."""
    return tune(prepare_small(recipe, **options), out, resume=resume, tell=quiet, stop=stop)


def hash_weights(out: Path) -> str:
    """Return the hash of the weights that a tuning saved."""
    (file,) = out.glob("*.safetensors")
    return hashlib.sha256(file.read_bytes()).hexdigest()
