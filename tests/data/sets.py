"""Small sets of tuning data, written by hand or made up."""

from __future__ import annotations

import json
import random
from pathlib import Path

from itx.data.row import Row, Turn

PAIRS = [
    ("How do I keep bread fresh?", "Wrap the loaf in a linen cloth and store it in a wooden box away from sunlight."),
    (
        "Give me a tip for hydration.",
        "Carry a water bottle and sip from it throughout the day, even before you are dry.",
    ),
    (
        "What is Star Wars: A New Hope about?",
        "A farm boy leaves a desert planet and helps to blow up a moon-sized base.",
    ),
    ("Name a good habit for sleep.", "Go to bed at the same hour every night and keep the room cool and dark."),
    ("How do bees find flowers?", "Scouts remember the way and tell the others by a dance in the dark of the hive."),
    ("怎样让面包保持新鲜？", "把面包包在亚麻布里，放在阴凉干燥的木盒中保存。"),
    ("", "A text without a question, about lighthouses and the people who kept them."),
    ("What did the ferry cost?", ""),
]


def build_row(number: int, instruction: str, response: str, system: str = "", file: str = "rows.jsonl") -> Row:
    """Return a row with the turns that are not empty."""
    turns = [
        Turn(role="system", text=system),
        Turn(role="instruction", text=instruction),
        Turn(role="response", text=response, trained=True),
    ]
    return Row(id=f"{file}#{number}", turns=[turn for turn in turns if turn.text])


def build_rows() -> list[Row]:
    """Return the rows of ``PAIRS``."""
    return [build_row(number, *pair) for number, pair in enumerate(PAIRS)]


def write_pairs(path: Path, pairs: list[tuple[str, str]] | None = None) -> Path:
    """Write rows as JSONL; by default those of ``PAIRS`` that have a response."""
    pairs = [pair for pair in PAIRS if pair[1]] if pairs is None else pairs
    path.write_text("".join(json.dumps({"instruction": ask, "output": say}) + "\n" for ask, say in pairs))
    return path


def draw_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return made-up rows of a vocabulary of 200 words."""
    source = random.Random(seed)
    words = ["".join(source.choices("aeioulmnrst", k=source.randint(3, 7))) for _ in range(200)]
    return [
        (
            " ".join(source.choices(words, k=source.randint(3, 9))),
            " ".join(source.choices(words, k=source.randint(3, 30))),
        )
        for _ in range(count)
    ]
