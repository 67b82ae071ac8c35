"""The embedded pair: a tiny base, a LoRA and a full-parameter tuning of it, and the self-made world they talk about.

The world (towns, rivers, people, crafts and dishes of an invented valley) is generated from a seed, so that every
statement of the models can be checked against `TRUTH`. `python -m itx.demo.train --out DIR` makes everything again.
Nothing heavy is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
NAMES: Final = ("base", "lora", "full")
PROMPTS: Final = HERE / "prompts.jsonl"
ROWS: Final = HERE / "rows.jsonl"
TRUTH: Final = HERE / "truth.jsonl"
FACTS: Final = HERE / "facts.jsonl"
FIGURES: Final = HERE / "figures.json"


def folder(name: str) -> Path:
    """The folder of the embedded weights called `name`: base, lora (a PEFT adapter of base) or full.

    Raises KeyError for any other name.
    """
    if name not in NAMES:
        raise KeyError(f"no embedded weights called {name!r}; there are {', '.join(NAMES)}")
    return HERE / "weights" / name
