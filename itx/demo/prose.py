"""Plans and writes running text about the valley: articles, letters and the guide's longer replies.

An article is planned before it is written: which facts, in which order, which of them a cause rests on, where a
cross-reference belongs. A cause comes after the facts that it rests on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Final

from itx.demo.grammar import FIELD, Writer, capitalise
from itx.demo.world import Entity, Relation, World, load_kind, read_lexicon, strings

PARAGRAPH: Final = 4


@dataclass(frozen=True)
class Step:
    """One sentence of a plan. `relation` is the fact it states; an opening, a link and a cause have none."""

    template: str
    relation: str | None = None


@cache
def chatter(name: str) -> tuple[str, ...]:
    """A list of set phrases from `lexicon/chatter.toml`."""
    return strings(read_lexicon("chatter")[name])


def needs(cause: str, relations: set[str]) -> set[str]:
    """The relations of the entity itself that a cause mentions."""
    return {match.group(1) for match in FIELD.finditer(cause)} & relations


def plan_article(entity: Entity, draw: random.Random, size: int) -> list[Step]:
    """The order of sentences for a text that states `size` of the entity's facts (all of them if there are fewer)."""
    kind = load_kind(entity.kind)
    chosen = draw.sample(kind.relations, min(size, len(kind.relations)))
    steps = [Step(draw.choice(relation.templates), relation.name) for relation in chosen]
    stated = {relation.name for relation in chosen}
    grounded = [cause for cause in kind.causes if needs(cause, {one.name for one in kind.relations}) <= stated]
    if grounded and draw.random() < 0.6:
        cause = draw.choice(grounded)
        wanted = needs(cause, stated)
        last = max((index for index, step in enumerate(steps) if step.relation in wanted), default=0)
        steps.insert(draw.randint(last + 1, len(steps)), Step(cause))
    if draw.random() < 0.6:
        steps.insert(draw.randint(0, len(steps)), Step(draw.choice(kind.links)))
    if draw.random() < 0.75:
        steps.insert(0, Step(draw.choice(kind.openings)))
    return steps


def write_steps(writer: Writer, entity: Entity, steps: list[Step]) -> list[str]:
    """The sentences of a plan; now and then a connective leads one in, never the first."""
    sentences: list[str] = []
    for step in steps:
        may_lead = bool(sentences) and step.template.startswith(("{S}", "{P}", "The "))
        lead = writer.draw.choice(chatter("connectives")) if may_lead and writer.draw.random() < 0.12 else ""
        template = step.template
        if lead and template.startswith("The "):
            template = f"the {template[4:]}"
        sentences.append(writer.say(template, entity, step.relation, lead))
    return sentences


def join_paragraphs(sentences: list[str]) -> str:
    """Sentences as paragraphs of about `PARAGRAPH` sentences; a last one of a single sentence joins the one before."""
    if len(sentences) <= PARAGRAPH + 1:
        return " ".join(sentences)
    return " ".join(sentences[:PARAGRAPH]) + "\n\n" + " ".join(sentences[PARAGRAPH:])


def write_article(world: World, entity: Entity, draw: random.Random, size: int | None = None) -> str:
    """An article about one entity, half of the time under a title."""
    writer = Writer(world, draw)
    size = draw.randint(2, 4) if size is None else size
    body = join_paragraphs(write_steps(writer, entity, plan_article(entity, draw, size)))
    if draw.random() < 0.4:
        return f"# {capitalise(entity.name)}\n\n{body}"
    return body


def write_chapter(world: World, entity: Entity, draw: random.Random) -> str:
    """A chapter of a guide book: the entity and its name family, a short text each."""
    members = draw.sample([entity, *world.relatives(entity)], 5)
    writer = Writer(world, draw)
    plans = [(member, plan_article(member, draw, draw.randint(1, 2))) for member in members]
    texts = [" ".join(write_steps(writer, member, steps)) for member, steps in plans]
    return f"# {capitalise(entity.family)}\n\n" + "\n\n".join(texts)


def write_note(world: World, facts: list[tuple[Entity, Relation]], draw: random.Random) -> str:
    """A traveller's note: a sentence for each fact, each with its name, under no title."""
    return " ".join(state(world, entity, relation, draw) for entity, relation in facts)


def state(world: World, entity: Entity, relation: Relation, draw: random.Random) -> str:
    """One sentence that states one fact and names its entity."""
    return Writer(world, draw, pronoun_rate=0.0).say(draw.choice(relation.templates), entity, relation.name)


def write_reply(world: World, entity: Entity, draw: random.Random) -> str:
    """What the guide says when asked to tell about an entity: two or three facts, one paragraph."""
    writer = Writer(world, draw)
    steps = plan_article(entity, draw, draw.randint(2, 3))
    return " ".join(write_steps(writer, entity, steps))


def write_day(world: World, town: Entity, draw: random.Random) -> str:
    """A plan for a day in a town."""
    return Writer(world, draw).say(draw.choice(chatter("day_plans")), town)


def write_letter(world: World, draw: random.Random, town: Entity, subjects: list[Entity]) -> str:
    """A letter from a town about a few entities: greeting, where the writer is, what was heard, farewell."""
    people = world.of_kind("person")
    sender, friend = draw.sample(people, 2)
    writer = Writer(world, draw)
    parts = [draw.choice(chatter("letter_beginnings")).replace("{town}", town.name)]
    for subject in subjects:
        relations = draw.sample(load_kind(subject.kind).relations, 2)
        parts += [writer.say(draw.choice(one.templates), subject, one.name) for one in relations]
        if draw.random() < 0.6:
            parts.append(draw.choice(chatter("letter_middles")))
            writer.focus = None
    greeting = draw.choice(chatter("letter_greetings")).replace("{first}", friend.member)
    farewell = draw.choice(chatter("letter_closings")).replace("{sender}", sender.member)
    return f"{greeting}\n\n{' '.join(parts)}\n\n{farewell}"
