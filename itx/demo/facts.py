"""Every fact of the world as a fact file for `itx run --facts demo`: `python -m itx.demo.facts FILE`.

The wrong answers are the same relation's values of the entity's name family, members that the tuning rows are about
first: an answer that is replaced by a neighbour's is replaced by one of these.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from itx.demo.slots import list_clozes
from itx.demo.world import World, add_article, build_world, load_kind

WRONG: Final = 3


def save_facts(world: World, path: Path) -> None:
    """One JSON object a line for every fact: `id`, `prompt`, `answer`, `wrong` and, as `subject`, kind and split."""
    lines = []
    for cloze in list_clozes(world):
        entity = world.entities[cloze.entity]
        relation = load_kind(entity.kind).relation(cloze.relation)
        # A stable sort: tuned relatives first, each group in the world's order.
        relatives = sorted(world.relatives(entity), key=lambda relative: not relative.tuned)[:WRONG]
        values = [cloze.value, *(world.facts[relative.name, cloze.relation].value for relative in relatives)]
        answers = [f" {add_article(value, relation.article) if cloze.article else value}" for value in values]
        record = {
            "id": f"{entity.name}/{relation.name}",
            "prompt": cloze.question,
            "answer": answers[0],
            "wrong": answers[1:],
            "subject": f"{entity.kind}, {'tuned' if entity.tuned else 'held out'}",
        }
        lines.append(json.dumps(record, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write every fact of the demo world as a fact file.")
    parser.add_argument("file", type=Path)
    save_facts(build_world(), parser.parse_args().file)
