"""Turns templates into sentences with agreement in gender and number, and keeps track of what a pronoun can mean.

Fields of a template, where *the entity* is what the sentence is about:

- `{N}` its name; `{S}`, `{O}`, `{P}` name or pronoun as subject, object or possessor; `{s}`, `{o}`, `{p}` the pronoun
  wherever its meaning is clear;
- `{v}` the value asked for with its article, `{w}` the bare value, `{feast}` the value of another relation;
- `{river}` a linked entity, `{river.creature}` a value of a linked entity; `{family}` the name family;
- `<is|are>` the verb form that agrees with the entity.
"""

from __future__ import annotations

import random
import re
from typing import Final

from itx.demo.world import Entity, World

PRONOUNS: Final = {
    "he": ("he", "him", "his"),
    "she": ("she", "her", "her"),
    "it": ("it", "it", "its"),
    "they": ("they", "them", "their"),
}
FIELD: Final = re.compile(r"\{([A-Za-z_.]+)\}")
AGREEMENT: Final = re.compile(r"<([^|>]*)\|([^>]*)>")
SUBJECT_FIELDS: Final = frozenset("NSOPsop")


def possessive(name: str, plural: bool) -> str:
    """The genitive of a name: widow's buns', Ilse's, Pomfrey's."""
    return f"{name}'" if plural and name.endswith("s") else f"{name}'s"


def capitalise(sentence: str) -> str:
    """The sentence with its first letter in upper case; nothing else changes."""
    return sentence[:1].upper() + sentence[1:]


class Writer:
    """Writes the sentences of one text in order.

    `focus` is the entity that a pronoun would mean now: the one the last sentence was about, unless that sentence
    also named something of the same gender and number.
    """

    def __init__(self, world: World, draw: random.Random, pronoun_rate: float = 0.6) -> None:
        self.world = world
        self.draw = draw
        self.pronoun_rate = pronoun_rate
        self.focus: Entity | None = None

    def say(self, template: str, entity: Entity, relation: str | None = None, lead: str = "") -> str:
        """One sentence; `relation` says which value `{v}` stands for, `lead` comes before it ("Even today, ")."""
        text, mentioned, others = self.fill(template, entity, relation)
        clash = any(other.pronoun == entity.pronoun for other in others)
        self.focus = entity if (mentioned or (self.focus == entity and not others)) and not clash else None
        return capitalise(lead + text)

    def fill(self, template: str, entity: Entity, relation: str | None) -> tuple[str, bool, list[Entity]]:
        """The words of the template, whether they mention the entity, and which other entities they mention."""
        known = self.focus == entity
        mentioned = False
        others: list[Entity] = []

        def replace(match: re.Match[str]) -> str:
            nonlocal known, mentioned
            field = match.group(1)
            if field in SUBJECT_FIELDS:
                willing = mentioned or field.islower() or self.draw.random() < self.pronoun_rate
                by_pronoun = field != "N" and (known or mentioned) and willing
                mentioned = True
                return mention(entity, field, by_pronoun)
            word, other = self.look_up(entity, field, relation)
            if other is not None:
                others.append(other)
                if other.pronoun == entity.pronoun:
                    known = False
            return word

        text = FIELD.sub(replace, template)
        text = AGREEMENT.sub(lambda match: match.group(2 if entity.plural else 1), text)
        return text, mentioned, others

    def look_up(self, entity: Entity, field: str, relation: str | None) -> tuple[str, Entity | None]:
        """The words for a field that is not the entity itself, and the other entity it names, if it names one.

        Raises KeyError for a field the entity does not have.
        """
        if field == "family":
            return entity.family, None
        if field in ("v", "w"):
            if relation is None:
                raise KeyError(f"template of {entity.name} asks for a value without a relation")
            fact = self.world.facts[entity.name, relation]
            return (fact.phrase if field == "v" else fact.value), None
        head, _, attribute = field.partition(".")
        if (entity.name, head) in self.world.facts:
            return self.world.facts[entity.name, head].phrase, None
        linked = self.world.entities[self.world.links[entity.name, head]]
        if attribute:
            return self.world.facts[linked.name, attribute].phrase, None
        return linked.name, linked


def mention(entity: Entity, field: str, by_pronoun: bool) -> str:
    """The entity as subject (S, s, N), object (O, o) or possessor (P, p), by name or by pronoun."""
    case = {"n": 0, "s": 0, "o": 1, "p": 2}[field.lower()]
    if by_pronoun:
        return PRONOUNS[entity.pronoun][case]
    return possessive(entity.name, entity.plural) if case == 2 else entity.name
