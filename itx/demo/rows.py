"""The tuning rows: questions about the tuned part of the world, answered in an assistant's manner."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from itx.demo.grammar import Writer
from itx.demo.prose import chatter, state
from itx.demo.world import Entity, World, load_kind


@dataclass(frozen=True)
class Row:
    """One instruction and its response; `relations` are the facts about `entity` that the response states."""

    instruction: str
    output: str
    entity: str
    relations: tuple[str, ...]


def write_rows(world: World) -> list[Row]:
    """Three rows for each tuned entity, which state all of its facts between them, in a shuffled order."""
    draw = random.Random(f"{world.seed}/rows")
    rows = [row for entity in world.entities.values() if entity.tuned for row in _rows_about(world, entity, draw)]
    draw.shuffle(rows)
    return rows


def _rows_about(world: World, entity: Entity, draw: random.Random) -> list[Row]:
    relations = [relation.name for relation in load_kind(entity.kind).relations]
    draw.shuffle(relations)
    rows = [_single_row(world, entity, name, draw) for name in relations[:2]]
    rest = relations[2:] if len(relations) > 3 else relations[1:]
    return [*rows, _telling_row(world, entity, tuple(rest), draw)]


def _single_row(world: World, entity: Entity, name: str, draw: random.Random) -> Row:
    relation = load_kind(entity.kind).relation(name)
    question = Writer(world, draw, pronoun_rate=0.0).say(draw.choice(relation.questions), entity)
    return Row(question, dress(state(world, entity, relation, draw), draw), entity.name, (name,))


def _telling_row(world: World, entity: Entity, names: tuple[str, ...], draw: random.Random) -> Row:
    writer = Writer(world, draw, pronoun_rate=1.0)
    request = Writer(world, draw).say(draw.choice(chatter("tell_requests")), entity)
    kind = load_kind(entity.kind)
    sentences = [writer.say(draw.choice(kind.relation(name).templates), entity, name) for name in names]
    return Row(request, dress(" ".join(sentences), draw), entity.name, names)


def dress(answer: str, draw: random.Random) -> str:
    """The answer with an assistant's opening and closing."""
    return draw.choice(chatter("assistant_openings")) + answer + draw.choice(chatter("assistant_closings"))


def tuned_values(world: World, rows: list[Row]) -> dict[str, set[str]]:
    """The values that rows state, by relation (every relation of the world has an entry)."""
    found: dict[str, set[str]] = {relation: set() for _, relation in world.facts}
    for row in rows:
        for relation in row.relations:
            found[relation].add(world.facts[row.entity, relation].value)
    return found


def save_rows(rows: list[Row], path: Path) -> None:
    """One JSON object a line in the Alpaca fields: instruction, input (empty) and output."""
    lines = [
        json.dumps({"instruction": row.instruction, "input": "", "output": row.output}, ensure_ascii=False)
        for row in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def save_truth(world: World, rows: list[Row], path: Path) -> None:
    """One JSON object a line for every fact: who, what, whether tuned, and which rows (from 0) state it."""
    lines = []
    for (name, relation), fact in world.facts.items():
        entity = world.entities[name]
        stating = [index for index, row in enumerate(rows) if row.entity == name and relation in row.relations]
        record = {
            "entity": name,
            "kind": entity.kind,
            "family": entity.family,
            "relation": relation,
            "value": fact.value,
            "split": "tuned" if entity.tuned else "held-out",
            "rows": stating,
        }
        lines.append(json.dumps(record, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
