"""Sentences agree with what they are about, and a pronoun is used only where its meaning is clear."""

from __future__ import annotations

import random
import re

import pytest

from itx.demo.grammar import AGREEMENT, FIELD, PRONOUNS, Writer, possessive
from itx.demo.prose import Step, needs, plan_article, write_article
from itx.demo.world import KINDS, Entity, build_world, load_kind

WORLD = build_world()


def pick(pronoun: str, kind: str | None = None) -> Entity:
    return next(
        entity for entity in WORLD.entities.values() if entity.pronoun == pronoun and kind in (None, entity.kind)
    )


def write(*templates: str, about: Entity, rate: float = 1.0) -> list[str]:
    writer = Writer(WORLD, random.Random(0), pronoun_rate=rate)
    return [writer.say(template, about) for template in templates]


@pytest.mark.parametrize(
    ("pronoun", "expected"),
    [
        ("he", "He is here, with his dog beside him."),
        ("she", "She is here, with her dog beside her."),
        ("it", "It is here, with its dog beside it."),
        ("they", "They are here, with their dog beside them."),
    ],
)
def test_pronouns_agree_in_gender_and_number(pronoun: str, expected: str) -> None:
    _, second = write("{S} <begins|begin>.", "{S} <is|are> here, with {p} dog beside {o}.", about=pick(pronoun))
    assert second == expected


def test_the_first_mention_is_by_name() -> None:
    for entity in WORLD.entities.values():
        (first,) = write("{s} <is|are> here with {p} dog.", about=entity)
        assert first.lower().startswith(f"{entity.name} {'are' if entity.plural else 'is'} here".lower())
        assert PRONOUNS[entity.pronoun][2] in first.split()


def test_a_rival_of_the_same_gender_takes_the_pronoun_away() -> None:
    town = pick("it", "town")
    sentences = write("{S} is old.", "{S} looks down on {river}.", "{S} is proud.", about=town)
    assert sentences[1].startswith("It looks down on the ")
    assert sentences[2] == f"{town.name} is proud."


def test_a_person_keeps_the_pronoun_beside_a_town() -> None:
    person = pick("she")
    assert write("{S} came from {town}.", "{S} sang.", about=person)[1] == "She sang."


def test_possessive_of_plural_names_has_no_second_s() -> None:
    assert possessive("widow's buns", plural=True) == "widow's buns'"
    assert possessive("Ilse", plural=False) == "Ilse's"


def test_every_template_can_be_filled_for_every_entity() -> None:
    for kind_name in KINDS:
        kind = load_kind(kind_name)
        steps = [Step(template) for template in (*kind.openings, *kind.links, *kind.causes)]
        steps += [Step(template, one.name) for one in kind.relations for template in (*one.templates, *one.questions)]
        for entity in WORLD.of_kind(kind_name):
            writer = Writer(WORLD, random.Random(1))
            for step in steps:
                text = writer.say(step.template, entity, step.relation)
                assert not FIELD.search(text) and not AGREEMENT.search(text) and "{" not in text, text
                assert text[0].isupper() or text[0].isdigit()


def test_plural_dishes_never_take_a_singular_verb() -> None:
    dumplings = pick("they")
    draw = random.Random(5)
    name = re.escape(dumplings.name)
    for _ in range(200):
        text = write_article(WORLD, dumplings, draw)
        assert not re.search(rf"^(?:{name}|They) (?:is|was|comes|gets|smells|contains|owes)\b", text, re.I | re.M), text


def test_people_are_never_called_by_the_wrong_pronoun() -> None:
    draw = random.Random(6)
    for pronoun, wrong in (("he", r"\b(?:she|hers?)\b"), ("she", r"\b(?:he|him|his)\b")):
        person = pick(pronoun)
        for _ in range(200):
            assert not re.search(wrong, write_article(WORLD, person, draw), re.IGNORECASE)


def test_a_cause_comes_after_the_facts_it_rests_on() -> None:
    draw = random.Random(7)
    seen = 0
    for entity in WORLD.entities.values():
        kind = load_kind(entity.kind)
        relations = {relation.name for relation in kind.relations}
        for _ in range(5):
            steps = plan_article(entity, draw, 3)
            for place, step in enumerate(steps):
                if step.template in kind.causes:
                    earlier = {one.relation for one in steps[:place]}
                    assert needs(step.template, relations) <= earlier
                    seen += 1
    assert seen > 100
