"""The base's training text: documents of every sort in fixed shares, in a shuffled order, from the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from itx.demo.dialogue import write_dialogue, write_family_page, write_questions_page, write_telling
from itx.demo.prose import write_article, write_chapter, write_letter, write_note
from itx.demo.world import Entity, Relation, World, load_kind

ROUNDS: Final = 10
DIALOGUES: Final = 4
NOTES: Final = 3
ARTICLES: Final = 2


def write_corpus(world: World, rounds: int = ROUNDS) -> list[str]:
    """All documents. Each round has articles, letters, pages and talks about every entity; see `write_round`."""
    draw = random.Random(f"{world.seed}/corpus")
    documents = [document for _ in range(rounds) for document in write_round(world, draw)]
    draw.shuffle(documents)
    return documents


def write_round(world: World, draw: random.Random) -> Iterator[str]:
    """Articles, a telling and a letter about every entity, lists and chapters about some, notes and talks on all."""
    entities = draw.sample(list(world.entities.values()), len(world.entities))
    towns = world.of_kind("town")
    for index, entity in enumerate(entities):
        for _ in range(ARTICLES):
            yield write_article(world, entity, draw)
        yield write_telling(world, entity, draw)
        subjects = [entity, *draw.sample(entities, draw.randint(0, 2))]
        yield write_letter(world, draw, draw.choice(towns), subjects)
        if index % 2 == 0:
            yield write_family_page(world, entity, draw)
        if index % 6 == 0:
            yield write_chapter(world, entity, draw)
    for _ in range(NOTES):
        for group in _grouped(_all_slots(world, draw), draw):
            yield write_note(world, group, draw)
    for _ in range(DIALOGUES):
        for group in _grouped(_all_slots(world, draw), draw):
            yield write_dialogue(world, group, draw)
    for group in _grouped(_all_slots(world, draw), draw):
        yield write_questions_page(world, group, draw)


def _all_slots(world: World, draw: random.Random) -> list[tuple[Entity, Relation]]:
    slots = [(entity, relation) for entity in world.entities.values() for relation in load_kind(entity.kind).relations]
    draw.shuffle(slots)
    return slots


def _grouped(slots: list[tuple[Entity, Relation]], draw: random.Random) -> Iterator[list[tuple[Entity, Relation]]]:
    """The slots in groups of one (mostly), two or three."""
    position = 0
    while position < len(slots):
        size = draw.choice([1, 1, 1, 2, 3])
        yield slots[position : position + size]
        position += size
