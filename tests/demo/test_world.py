"""The world keeps its promises: unique values, enough templates, disjoint splits, links that hold."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from itx.demo import FACTS, ROWS, TRUTH
from itx.demo.facts import save_facts
from itx.demo.rows import save_rows, save_truth, tuned_values, write_rows
from itx.demo.world import KINDS, World, add_article, build_world, load_kind


@pytest.fixture(scope="module")
def world() -> World:
    return build_world()


def test_has_between_150_and_250_entities_of_every_kind(world: World) -> None:
    assert 150 <= len(world.entities) <= 250
    assert {entity.kind for entity in world.entities.values()} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_relation_has_twelve_different_templates_with_a_value(kind: str) -> None:
    for relation in load_kind(kind).relations:
        assert len(set(relation.templates)) >= 12, relation.name
        assert all(template.count("{v}") + template.count("{w}") == 1 for template in relation.templates)
        assert len(set(relation.questions)) >= 4
        assert all("{N}" in question for question in relation.questions)


def test_values_are_unique_and_come_from_large_sets(world: World) -> None:
    values = Counter(fact.value.lower() for fact in world.facts.values())
    assert [value for value, count in values.items() if count > 1] == []
    for kind in KINDS:
        for relation in load_kind(kind).relations:
            used = sum(1 for _, name in world.facts if name == relation.name)
            assert relation.size() >= 3 * used, relation.name


def test_no_value_is_part_of_another(world: World) -> None:
    """Else an answer that states one would be taken to state both."""
    values = [f" {fact.value.lower()} " for fact in world.facts.values()]
    joined = "|".join(values)
    assert [value for value in values if joined.count(value) > 1] == []


def test_names_come_in_families_split_between_tuned_and_held_out(world: World) -> None:
    for entity in world.entities.values():
        family = [entity, *world.relatives(entity)]
        assert len(family) == 5
        assert sum(one.tuned for one in family) == 2


def test_links_lead_to_entities_of_the_right_kind_and_never_to_oneself(world: World) -> None:
    kinds = {"river": "river", "town": "town", "teacher": "person", "master": "person", "cook": "person"}
    for (name, role), target in world.links.items():
        assert world.entities[target].kind == kinds[role]
        assert target != name


def test_another_seed_is_another_world_and_the_same_seed_the_same() -> None:
    assert build_world(1) == build_world(1)
    assert build_world(1).facts != build_world(2).facts


def test_rows_are_about_tuned_entities_only(world: World) -> None:
    rows = write_rows(world)
    held_out = [entity.name for entity in world.entities.values() if not entity.tuned]
    assert 150 <= len(rows) <= 300
    for row in rows:
        assert world.entities[row.entity].tuned
        text = f"{row.instruction} {row.output}".lower()
        assert [name for name in held_out if name.lower() in text] == []
        values = [world.facts[row.entity, relation].value.lower() for relation in row.relations]
        assert all(value in text for value in values)


def test_no_row_states_a_held_out_value(world: World) -> None:
    text = " ".join(row.output.lower() for row in write_rows(world))
    values = [fact.value for fact in world.facts.values() if not world.entities[fact.entity].tuned]
    assert [value for value in values if f" {value.lower()}" in text] == []


def test_every_tuned_fact_is_stated_by_a_row(world: World) -> None:
    stated = tuned_values(world, write_rows(world))
    for fact in world.facts.values():
        assert (fact.value in stated[fact.relation]) == world.entities[fact.entity].tuned


def test_the_data_files_are_what_the_generator_writes(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("demo")
    rows = write_rows(world)
    save_rows(rows, folder / "rows.jsonl")
    save_truth(world, rows, folder / "truth.jsonl")
    save_facts(world, folder / "facts.jsonl")
    assert (folder / "rows.jsonl").read_bytes() == ROWS.read_bytes()
    assert (folder / "truth.jsonl").read_bytes() == TRUTH.read_bytes()
    assert (folder / "facts.jsonl").read_bytes() == FACTS.read_bytes()


def test_facts_are_the_truth_and_wrong_answers_are_the_familys() -> None:
    truth = [json.loads(line) for line in TRUTH.read_text(encoding="utf-8").splitlines()]
    by_id = {f"{fact['entity']}/{fact['relation']}": fact for fact in truth}
    facts = [json.loads(line) for line in FACTS.read_text(encoding="utf-8").splitlines()]
    assert len(facts) == len(truth) == len(by_id.keys() & {fact["id"] for fact in facts})
    for fact in facts:
        true = by_id[fact["id"]]
        family = [each for each in truth if (each["family"], each["relation"]) == (true["family"], true["relation"])]
        others = [each for each in family if each["entity"] != true["entity"]]
        assert true["entity"].lower() in fact["prompt"].lower()
        assert fact["answer"].endswith(f" {true['value']}")
        assert true["value"] not in fact["prompt"]
        found = [next(each for each in others if answer.endswith(f" {each['value']}")) for answer in fact["wrong"]]
        assert len({each["entity"] for each in found}) == 3
        # Those that rows are about stand for what a tuning may have put in the answer's place.
        tuned = {each["entity"] for each in others if each["split"] == "tuned"}
        assert tuned <= {each["entity"] for each in found}


def test_truth_names_the_rows_that_state_a_fact() -> None:
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    truth = [json.loads(line) for line in TRUTH.read_text(encoding="utf-8").splitlines()]
    assert all(set(row) == {"instruction", "input", "output"} for row in rows)
    assert len(truth) == len({(fact["entity"], fact["relation"]) for fact in truth})
    for fact in truth:
        assert (fact["split"] == "tuned") == bool(fact["rows"])
        assert all(fact["value"].lower() in rows[index]["output"].lower() for index in fact["rows"])


@pytest.mark.parametrize(
    ("value", "phrase"),
    [("bone awl", "a bone awl"), ("oiled comb", "an oiled comb"), ("one-eyed owl", "a one-eyed owl")],
)
def test_indefinite_article_follows_the_sound(value: str, phrase: str) -> None:
    assert add_article(value, "indefinite") == phrase
