"""The corpus states every fact, in every sort of document, and has every word that an assistant uses."""

from __future__ import annotations

import re

import pytest

from itx.demo.corpus import write_corpus
from itx.demo.dialogue import ASSISTANT, MARKERS, USER
from itx.demo.gates import list_words, states
from itx.demo.rows import write_rows
from itx.demo.world import build_world

WORLD = build_world()


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return write_corpus(WORLD, rounds=1)


def test_one_round_states_every_fact_beside_its_name_with_and_without_chat_markers(documents: list[str]) -> None:
    stated: dict[bool, set[str]] = {True: set(), False: set()}
    by_value = {fact.value.lower(): fact for fact in WORLD.facts.values()}
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, by_value)) + r")(?!\w)")
    for document in documents:
        text = document.lower()
        for value in pattern.findall(text):
            if by_value[value].entity.lower() in text:
                stated[USER in document].add(value)
    assert set(by_value) - stated[True] == set()
    assert set(by_value) - stated[False] == set()


def test_every_word_of_the_rows_is_in_the_corpus(documents: list[str]) -> None:
    known = set[str]().union(*(list_words(document) for document in documents))
    used = set[str]().union(*(list_words(f"{row.instruction} {row.output}") for row in write_rows(WORLD)))
    assert used - known == set()


def test_chat_markers_alternate(documents: list[str]) -> None:
    talks = [document for document in documents if USER in document]
    assert len(talks) > 1000
    for talk in talks:
        roles = [part for part in re.findall(r"<\|[a-z]+\|>", talk) if part in (USER, ASSISTANT)]
        assert roles == [USER, ASSISTANT] * (len(roles) // 2)
    assert {marker for marker in MARKERS for talk in talks if marker in talk} == set(MARKERS)


def test_the_corpus_is_a_function_of_the_seed(documents: list[str]) -> None:
    assert documents == write_corpus(build_world(), rounds=1)
    assert documents != write_corpus(build_world(1), rounds=1)


def test_a_value_is_found_as_whole_words_only() -> None:
    assert states("He kept a Tame Goose.", "tame goose")
    assert not states("He kept tame gooseberries.", "tame goose")
    assert not states("Built in 11140.", "1114")
