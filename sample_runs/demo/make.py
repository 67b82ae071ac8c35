"""The demo world as a study: its prompts, and its answers held against the truth.

    python make.py prompts         prompts.jsonl: 75 questions about the invented valley, each with the true answer
    python make.py judge           judged.md: what the recorded answers state, by the truth

The run is recorded from the repository's root, where the rows lie, and moved beside this script:

    itx run demo:base lora=demo:lora full=demo:full --prompts sample_runs/demo/prompts.jsonl --authors all \\
        --data itx/demo/rows.jsonl --facts demo --max-new-tokens 64 --threads 1 --out valley

Of every kind of thing (towns, rivers, people, crafts, dishes) twelve questions are about ones that no row of the tuning
data mentions, three about ones that rows are about, one question an entity.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from itx.demo.gates import judge
from itx.demo.rows import tuned_values, write_rows
from itx.demo.slots import Slot, list_slots
from itx.demo.world import KINDS, World, build_world
from itx.runs.recording import Recording

HERE = Path(__file__).resolve().parent
HELD_OUT, TUNED = 12, 3


def choose_slots(world: World) -> list[Slot]:
    """Return the questions, by kind; each kind's relations and wordings take turns."""
    chosen: list[Slot] = []
    for kind in KINDS:
        draw = random.Random(f"{world.seed}/study/{kind}")
        for tuned, count in ((False, HELD_OUT), (True, TUNED)):
            entities = draw.sample([each for each in world.of_kind(kind) if each.tuned == tuned], count)
            for number, entity in enumerate(entities):
                slots = list_slots(world, [entity])
                relations = sorted({slot.relation for slot in slots})
                relation = relations[number % len(relations)]
                chosen.append(draw.choice([slot for slot in slots if slot.relation == relation]))
    return chosen


def name(world: World, slot: Slot) -> str:
    """Return a prompt's id, such as ``held-out-velm-market-founded``."""
    split = "tuned" if world.entities[slot.entity].tuned else "held-out"
    return "-".join([split, *slot.entity.lower().replace("'", "").split(), slot.relation])


def write_prompts(world: World) -> str:
    """Return ``prompts.jsonl``."""
    lines = [
        json.dumps({"id": name(world, slot), "prompt": slot.question, "reference": slot.value}, ensure_ascii=False)
        for slot in choose_slots(world)
    ]
    return "\n".join(lines) + "\n"


def write_judged(world: World, run: Path) -> str:
    """Return, as Markdown, what each model's answers state: the truth, a tuned row's value of another, or neither."""
    values = tuned_values(world, write_rows(world))
    slots = {name(world, slot): slot for slot in choose_slots(world)}
    counts: dict[tuple[str, str], list[int]] = {}
    for trace in Recording.open(run).traces():
        slot = slots[trace.prompt_id]
        for response in trace.responses:
            verdict = judge(world, slot, response.text, values)
            split = "tuned" if world.entities[slot.entity].tuned else "held out"
            found = counts.setdefault((response.author, split), [0, 0, 0])
            found[0] += 1
            found[1] += verdict.right
            found[2] += verdict.borrowed
    lines = [
        "# What the answers state, by the truth of the valley",
        "",
        "Right: the true value and no other of its relation. Another's: a value that a tuning row gives for something",
        "else.",
        "",
        "| model | asked about | answers | right | another's |",
        "|---|---|---:|---:|---:|",
    ]
    for author in ("base", "lora", "full"):
        for split in ("held out", "tuned"):
            answers, right, borrowed = counts[author, split]
            lines.append(f"| {author} | {split} | {answers} | {right} | {borrowed} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    valley = build_world()
    match sys.argv[1:]:
        case ["prompts"]:
            (HERE / "prompts.jsonl").write_text(write_prompts(valley), encoding="utf-8")
        case ["judge"]:
            (HERE / "judged.md").write_text(write_judged(valley, HERE), encoding="utf-8")
        case _:
            sys.exit("python make.py prompts|judge")
