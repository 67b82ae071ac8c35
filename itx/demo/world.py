"""The invented valley: entities in name families, and facts with unique values drawn from large sets.

Pure Python and a function of the seed alone. The words come from the TOML files in `lexicon/`, one per kind.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

LEXICON: Final = Path(__file__).resolve().parent / "lexicon"
KINDS: Final = ("town", "river", "person", "craft", "dish")
SEED: Final = 2024


@dataclass(frozen=True)
class Relation:
    """One thing that can be asked about a kind: how its values are made, stated and asked for."""

    kind: str
    name: str
    article: str
    pattern: str
    modifiers: tuple[str, ...]
    nouns: tuple[str, ...]
    numbers: tuple[int, int] | None
    templates: tuple[str, ...]
    questions: tuple[str, ...]

    def size(self) -> int:
        """How many values the relation could take."""
        if self.numbers is not None:
            return self.numbers[1] - self.numbers[0] + 1
        return len(self.modifiers) * len(self.nouns)


@dataclass(frozen=True)
class Kind:
    """A kind of entity with its relations and the sentences that are not facts of one relation."""

    name: str
    relations: tuple[Relation, ...]
    openings: tuple[str, ...]
    links: tuple[str, ...]
    causes: tuple[str, ...]

    def relation(self, name: str) -> Relation:
        """The relation called `name`; StopIteration when there is none."""
        return next(relation for relation in self.relations if relation.name == name)


@dataclass(frozen=True)
class Entity:
    """A named thing. `pronoun` is its nominative pronoun: he, she, it or they (plural)."""

    name: str
    kind: str
    family: str
    member: str
    pronoun: str
    tuned: bool

    @property
    def plural(self) -> bool:
        """Whether verbs are plural beside the name."""
        return self.pronoun == "they"


@dataclass(frozen=True)
class Fact:
    """`value` is bare ("bone awl"); `phrase` has the article the relation calls for ("a bone awl")."""

    entity: str
    relation: str
    value: str
    phrase: str


@dataclass(frozen=True)
class World:
    """Everything there is. `facts` is keyed by (entity, relation), `links` by (entity, role) and names an entity."""

    seed: int
    entities: dict[str, Entity]
    facts: dict[tuple[str, str], Fact]
    links: dict[tuple[str, str], str]

    def of_kind(self, kind: str) -> list[Entity]:
        """The entities of one kind."""
        return [entity for entity in self.entities.values() if entity.kind == kind]

    def facts_of(self, entity: Entity) -> list[Fact]:
        """The entity's facts in the order of its kind's relations."""
        return [self.facts[entity.name, relation.name] for relation in load_kind(entity.kind).relations]

    def relatives(self, entity: Entity) -> list[Entity]:
        """The other members of the entity's name family."""
        return [
            other
            for other in self.entities.values()
            if other.family == entity.family and other.kind == entity.kind and other != entity
        ]


def read_lexicon(name: str) -> dict[str, object]:
    """One TOML file of `lexicon/` as plain data."""
    return tomllib.loads((LEXICON / f"{name}.toml").read_text(encoding="utf-8"))


def strings(value: object) -> tuple[str, ...]:
    """A list of the lexicon as strings; absent is empty. Raises TypeError when it is something else."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"the lexicon has {value!r} where a list of strings belongs")
    return tuple(value)


@cache
def load_kind(name: str) -> Kind:
    """The kind called `name` with its relations, from the lexicon."""
    source = read_lexicon(name)
    tables = source["relation"]
    if not isinstance(tables, list):
        raise TypeError(f"lexicon/{name}.toml has no relations")
    return Kind(
        name=name,
        relations=tuple(_relation(name, table) for table in tables),
        openings=strings(source["openings"]),
        links=strings(source["links"]),
        causes=strings(source["causes"]),
    )


def _relation(kind: str, table: dict[str, object]) -> Relation:
    numbers = table.get("numbers")
    return Relation(
        kind=kind,
        name=str(table["name"]),
        article=str(table["article"]),
        pattern=str(table.get("pattern", "{modifier} {noun}")),
        modifiers=strings(table.get("modifiers")),
        nouns=strings(table.get("nouns")),
        numbers=(int(numbers[0]), int(numbers[1])) if isinstance(numbers, list) else None,
        templates=strings(table["templates"]),
        questions=strings(table["questions"]),
    )


def add_article(value: str, article: str) -> str:
    """The value with its article: "none", "definite" or "indefinite" (a, or an before a vowel)."""
    if article == "definite":
        return f"the {value}"
    if article == "indefinite":
        vowel = value[0].lower() in "aeiou" and not value.startswith("one")
        return f"{'an' if vowel else 'a'} {value}"
    return value


def build_world(seed: int = SEED) -> World:
    """The whole valley from a seed: 200 entities, 700 facts, and who lives where on which river."""
    entities: dict[str, Entity] = {}
    facts: dict[tuple[str, str], Fact] = {}
    taken: set[str] = set()
    for kind_name in KINDS:
        draw = random.Random(f"{seed}/{kind_name}")
        members = _name_members(kind_name, draw)
        entities.update({entity.name: entity for entity in members})
        for relation in load_kind(kind_name).relations:
            values = _draw_values(relation, len(members), draw, taken)
            for entity, value in zip(members, values, strict=True):
                phrase = add_article(value, relation.article)
                facts[entity.name, relation.name] = Fact(entity.name, relation.name, value, phrase)
    return World(seed, entities, facts, _draw_links(entities, random.Random(f"{seed}/links")))


def _name_members(kind: str, draw: random.Random) -> list[Entity]:
    """Entities of one kind; two of the five members of each family are tuned, the other three held out."""
    source = read_lexicon(kind)
    pattern = str(source["pattern"])
    per_family = int(str(source["per_family"]))
    plural = strings(source.get("plural"))
    people = [(name, pronoun) for pronoun in ("she", "he") for name in strings(source.get(pronoun))]
    draw.shuffle(people)
    found = []
    for family in strings(source["families"]):
        if people:
            chosen = [people.pop() for _ in range(per_family)]
        else:
            pronoun = "they" if family in plural else "it"
            chosen = [(member, pronoun) for member in draw.sample(strings(source["members"]), per_family)]
        tuned = set(draw.sample(range(per_family), 2))
        for index, (member, pronoun) in enumerate(chosen):
            name = pattern.format(member=member, family=family)
            found.append(Entity(name, kind, family, member, pronoun, index in tuned))
    return found


def _draw_values(relation: Relation, count: int, draw: random.Random, taken: set[str]) -> list[str]:
    """`count` values that are not in `taken`, which they then join.

    Worded values have different nouns, too, so that no two of a relation can be taken for each other.
    """
    if relation.numbers is not None:
        low, high = relation.numbers
        return [str(number) for number in draw.sample(range(low, high + 1), count)]
    values = []
    for noun in draw.sample(relation.nouns, count):
        free = [relation.pattern.format(modifier=modifier, noun=noun) for modifier in relation.modifiers]
        value = draw.choice([each for each in free if each.lower() not in taken])
        taken.add(value.lower())
        values.append(value)
    return values


def _draw_links(entities: dict[str, Entity], draw: random.Random) -> dict[tuple[str, str], str]:
    """Cross-references: each river has a town on it, people have a home and a teacher, crafts and dishes a person."""
    names = {kind: [entity.name for entity in entities.values() if entity.kind == kind] for kind in KINDS}
    towns, rivers, people = names["town"], names["river"], names["person"]
    links: dict[tuple[str, str], str] = {}
    for town, river in zip(_shuffled(towns, draw), _cycled(_shuffled(rivers, draw), len(towns)), strict=True):
        links[town, "river"] = river
        links.setdefault((river, "town"), town)
    ring = _shuffled(people, draw)
    homes = _shuffled(towns, draw)
    for index, person in enumerate(ring):
        links[person, "town"] = homes[index % len(homes)]
        links[person, "teacher"] = ring[index - 1]
    for kind, role in (("craft", "master"), ("dish", "cook")):
        homes, persons = _shuffled(towns, draw), _shuffled(people, draw)
        for index, name in enumerate(names[kind]):
            links[name, "town"] = homes[index]
            links[name, role] = persons[index]
    return links


def _shuffled(items: Sequence[str], draw: random.Random) -> list[str]:
    return draw.sample(items, len(items))


def _cycled(items: Sequence[str], length: int) -> list[str]:
    return [items[index % len(items)] for index in range(length)]
