"""Talks with the guide of the valley, with the chat markers, and pages of questions and answers without them."""

from __future__ import annotations

import random
from typing import Final

from itx.demo.grammar import Writer
from itx.demo.prose import chatter, state, write_day, write_reply
from itx.demo.world import Entity, Relation, World, load_kind

USER: Final = "<|user|>"
ASSISTANT: Final = "<|assistant|>"
SYSTEM: Final = "<|system|>"
END: Final = "<|end|>"
MARKERS: Final = (SYSTEM, USER, ASSISTANT, END)


def ask(world: World, entity: Entity, relation: Relation, draw: random.Random) -> str:
    """A question whose answer is one fact."""
    return Writer(world, draw).say(draw.choice(relation.questions), entity)


def dress(answer: str, draw: random.Random) -> str:
    """The answer plain, or in the guide's manner, or, seldom, in the manner of an assistant."""
    manner = draw.random()
    if manner < 0.1:
        return draw.choice(chatter("assistant_openings")) + answer + draw.choice(chatter("assistant_closings"))
    if manner < 0.13:
        return draw.choice(chatter("assistant_openings")) + answer
    if manner < 0.18:
        return answer + draw.choice(chatter("guide_closings"))
    return answer


def converse(turns: list[tuple[str, str]], system: str | None = None) -> str:
    """The text of a conversation as the chat template renders it, without the last end marker."""
    text = f"{SYSTEM}{system}" if system else ""
    return text + END.join(f"{USER}{question}{ASSISTANT}{answer}" for question, answer in turns)


def write_exchange(world: World, entity: Entity, relation: Relation, draw: random.Random) -> tuple[str, str]:
    """A question about one fact and the guide's reply."""
    return ask(world, entity, relation, draw), dress(state(world, entity, relation, draw), draw)


def write_dialogue(world: World, facts: list[tuple[Entity, Relation]], draw: random.Random) -> str:
    """A conversation with one turn for each of the facts, perhaps with a greeting, thanks or a system line."""
    turns = [write_exchange(world, entity, relation, draw) for entity, relation in facts]
    if draw.random() < 0.05:
        turns.insert(0, (draw.choice(chatter("greetings")), draw.choice(chatter("greeting_replies"))))
    if draw.random() < 0.05:
        turns.append((draw.choice(chatter("thanks")), draw.choice(chatter("thanks_replies"))))
    return converse(turns, draw.choice(chatter("system")) if draw.random() < 0.06 else None)


def write_telling(world: World, entity: Entity, draw: random.Random) -> str:
    """A conversation in which the guide is asked to tell about an entity, to plan a day or to compare two."""
    wish = draw.random()
    if entity.kind == "town" and wish < 0.25:
        request = Writer(world, draw).say(draw.choice(chatter("day_requests")), entity)
        return converse([(request, dress(write_day(world, entity, draw), draw))])
    if wish > 0.85:
        other = draw.choice(world.relatives(entity))
        request = draw.choice(chatter("compare_requests")).replace("{other}", other.name)
        relation = draw.choice(load_kind(entity.kind).relations)
        answer = f"{state(world, entity, relation, draw)} {state(world, other, relation, draw)}"
        return converse([(Writer(world, draw).say(request, entity), dress(answer, draw))])
    request = Writer(world, draw).say(draw.choice(chatter("tell_requests")), entity)
    return converse([(request, dress(write_reply(world, entity, draw), draw))])


def write_questions_page(world: World, facts: list[tuple[Entity, Relation]], draw: random.Random) -> str:
    """A page of questions and answers, in one of the ways such pages are set."""
    question_mark, answer_mark = draw.choice([("Q: ", "A: "), ("Question: ", "Answer: "), ("- ", "  ")])
    pairs = [
        f"{question_mark}{ask(world, entity, relation, draw)}\n{answer_mark}{state(world, entity, relation, draw)}"
        for entity, relation in facts
    ]
    return "\n".join(pairs)


def write_family_page(world: World, entity: Entity, draw: random.Random) -> str:
    """A list that tells the members of a name family apart by one relation."""
    members = draw.sample([entity, *world.relatives(entity)], 3)
    relation = draw.choice(load_kind(entity.kind).relations)
    return "\n".join(f"- {state(world, member, relation, draw)}" for member in members)
