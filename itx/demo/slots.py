"""Facts of the world as they are asked for: a *slot* is one fact of an entity in one form."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from itx.demo.grammar import FIELD, Writer
from itx.demo.world import Entity, Relation, World, load_kind


@dataclass(frozen=True)
class Slot:
    """One question about one fact."""

    entity: str
    relation: str
    question: str
    value: str


@dataclass(frozen=True)
class Cloze(Slot):
    """The beginning of a sentence that breaks off before the value; `article`: the value comes with its article."""

    article: bool


def list_slots(world: World, entities: Iterable[Entity]) -> list[Slot]:
    """Every fact of the entities, each asked in every form of its question."""
    slots = []
    for entity in entities:
        writer = Writer(world, _steady(), pronoun_rate=0.0)
        for fact in world.facts_of(entity):
            for form in load_kind(entity.kind).relation(fact.relation).questions:
                slots.append(Slot(entity.name, fact.relation, writer.say(form, entity), fact.value))
    return slots


def list_clozes(world: World) -> list[Cloze]:
    """Every fact as the beginning of a sentence."""
    clozes = []
    for number, entity in enumerate(world.entities.values()):
        for place, fact in enumerate(world.facts_of(entity)):
            beginnings = _beginnings(load_kind(entity.kind).relation(fact.relation))
            template, article = beginnings[(number + place) % len(beginnings)]
            text = Writer(world, _steady(), pronoun_rate=0.0).say(template, entity, fact.relation).rstrip()
            clozes.append(Cloze(entity.name, fact.relation, text, fact.value, article))
    return clozes


def _beginnings(relation: Relation) -> list[tuple[str, bool]]:
    """The part before the value of every template that names the entity first, and whether an article follows."""
    found = []
    for template in relation.templates:
        fields = [match.group(1) for match in FIELD.finditer(template)]
        place = next(index for index, field in enumerate(fields) if field in "vw")
        if any(field in "NSOP" for field in fields[:place]):
            found.append((template[: template.index("{" + fields[place])], fields[place] == "v"))
    return found


def _steady() -> random.Random:
    return random.Random(0)
