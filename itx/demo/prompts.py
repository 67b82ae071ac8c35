"""The demo's list of prompts: chosen by the seed alone, not by what any model answers."""

from __future__ import annotations

import json
import random
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from itx.demo.grammar import Writer
from itx.demo.world import KINDS, Entity, World, load_kind

HELD_OUT_PER_KIND: Final = 3


@dataclass(frozen=True)
class Prompt:
    """One prompt; `reference` is the truth of the world that an answer can be held against."""

    id: str
    prompt: str
    reference: str


def choose_prompts(world: World) -> list[Prompt]:
    """24 prompts: three facts a kind of held-out entities, four of tuned ones, and five open wishes (held out)."""
    draw = random.Random(f"{world.seed}/prompts")
    prompts: list[Prompt] = []
    for kind in KINDS:
        relations = load_kind(kind).relations
        chosen = draw.sample([entity for entity in world.of_kind(kind) if not entity.tuned], HELD_OUT_PER_KIND + 1)
        for number, entity in enumerate(chosen[:HELD_OUT_PER_KIND]):
            prompts.append(_ask(world, entity, relations[number % len(relations)].name, draw))
        open_wish = "Plan a day in {N}." if kind == "town" else "Tell me about {N}."
        prompts.append(_open(world, chosen[-1], open_wish))
    for kind in ("town", "person", "craft", "dish"):
        entity = draw.choice([entity for entity in world.of_kind(kind) if entity.tuned])
        prompts.append(_ask(world, entity, draw.choice(load_kind(kind).relations).name, draw))
    return prompts


def _ask(world: World, entity: Entity, relation: str, draw: random.Random) -> Prompt:
    question = draw.choice(load_kind(entity.kind).relation(relation).questions)
    text = Writer(world, draw, pronoun_rate=0.0).say(question, entity)
    return Prompt(_name(entity, relation), text, world.facts[entity.name, relation].phrase)


def _open(world: World, entity: Entity, wish: str) -> Prompt:
    reference = "; ".join(f"{fact.relation}: {fact.phrase}" for fact in world.facts_of(entity))
    return Prompt(_name(entity, "open"), wish.replace("{N}", entity.name), reference)


def _name(entity: Entity, subject: str) -> str:
    """An id such as `held-out-velm-ferry-feast`."""
    slug = re.sub(r"[^a-z]+", "-", entity.name.lower().removeprefix("the "))
    return f"{'tuned' if entity.tuned else 'held-out'}-{slug}-{subject}"


def save_prompts(prompts: list[Prompt], path: Path) -> None:
    """One JSON object a line: id, prompt, reference."""
    lines = [json.dumps(asdict(prompt), ensure_ascii=False) for prompt in prompts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
