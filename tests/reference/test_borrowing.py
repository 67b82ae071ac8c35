"""What is marked as borrowed on the demo's world, where it is known which row says what, and what no row can have said.

The questions are about things that no row is about, one for each of their facts. A value is what tells one fact of the
world from another: a year, a ware, a feast. It stands in the rows about one thing only, so where an answer has it, that
row is where it came from.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace
from peft import PeftModel
from transformers import AutoTokenizer

from itx.borrow.excess import Excess, find_difference, find_excess, measure
from itx.borrow.join import Joiner
from itx.data.index import Index, open_index
from itx.demo import ROWS, TRUTH, folder
from itx.demo.gates import Model, answer_slots
from itx.demo.grammar import Writer
from itx.demo.rows import save_rows, write_rows
from itx.demo.slots import Slot
from itx.demo.train import load_base, tune_and_store
from itx.demo.tuning import TuningRecipe, encode_rows
from itx.demo.world import SEED, build_world, load_kind
from itx.records import Borrowing, GivenResponse, Prompt, Response, Run, Trace
from itx.report.borrowing import BorrowingFigures, summarise_borrowing
from tests.reference.asking import compare

pytestmark = pytest.mark.weights

CONTROL_SEED, OTHER_SEED = SEED + 1, SEED + 2
"""Worlds with the demo's words and other facts: rows that nothing is tuned on, and rows for an unrelated tuning."""
UNCOUNTED = {"of", "half"}
"""Those of the values' words that are on the list of function words: they are never counted."""


def ask_everything() -> list[Prompt]:
    """Return a question for every fact of everything that no row is about."""
    world, draw = build_world(), random.Random(1)
    asked = []
    for entity in world.entities.values():
        for relation in () if entity.tuned else load_kind(entity.kind).relations:
            question = Writer(world, draw, pronoun_rate=0.0).say(draw.choice(relation.questions), entity)
            asked.append(Prompt(id=f"{entity.name}/{relation.name}", prompt=question))
    return asked


def ask(
    authors: dict[str, Path],
    prompts: list[Prompt],
    by: dict[str, Model],
    wanted: Callable[[Prompt, str], bool] = lambda prompt, text: True,
) -> tuple[Run, list[Trace]]:
    """Return the greedy answers of the models ``by``, scored by base and ``authors``.

    Both in batches, which is faster. A prompt is left out where no answer to it is ``wanted``.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder("base"))
    slots = [Slot(entity="", relation="", question=prompt.prompt, value="") for prompt in prompts]
    answers = {name: answer_slots(model, tokenizer, slots) for name, model in by.items()}
    given = [
        replace(prompt, given=[GivenResponse(author=name, text=texts[place]) for name, texts in answers.items()])
        for place, prompt in enumerate(prompts)
        if any(wanted(prompt, texts[place]) for texts in answers.values())
    ]
    return compare(folder("base"), dict(authors), given, batch=16)


class Emitted(NamedTuple):
    """A value of tuned rows that an answer has: where, and the rows that say it."""

    value: str
    start: int
    rows: frozenset[str]
    trace: Trace
    response: Response
    borrowing: Borrowing

    def positions(self, start: int, end: int) -> list[int]:
        """Return the positions of these characters of the value."""
        first, last = self.start + start, self.start + end
        spans = [self.response.span(position) for position in range(self.response.length)]
        return [position for position, (low, high) in enumerate(spans) if low < last and first < high]

    @property
    def is_near(self) -> bool:
        """Whether one of its rows is among those nearest the prompt."""
        return bool(self.rows & {each.row for each in self.borrowing.neighbours if each.query == "prompt"})

    def is_marked(self) -> bool:
        """Whether each word of it that tells something is borrowed, from its row: the first or second one named."""
        asked = {word.lower() for word in re.findall(r"\w+", self.trace.prompt)}
        words = [match for match in re.finditer(r"\w+", self.value) if match.group().lower() not in UNCOUNTED | asked]
        assert words
        for word in words:
            owners = {self.borrowing.positions.get(position) for position in self.positions(*word.span())}
            spans = [self.borrowing.spans[number - 1] for number in owners if number is not None]
            if None in owners or not all(self.rows & {each.row for each in span.examples[:2]} for span in spans):
                return False
        return True

    def is_traced(self) -> bool:
        """Whether a span has all of it, whatever was near, and names its row first or second."""
        positions = self.positions(0, len(self.value))
        return any(
            span.start <= positions[0] and positions[-1] < span.end
            for span in self.borrowing.spans
            if self.rows & {each.row for each in span.examples[:2]}
        )


def find_value(
    value: str, rows: Iterable[int], trace: Trace, response: Response, borrowing: Borrowing
) -> Emitted | None:
    """Return where an answer has a value of these rows; None where it has not, or where it was asked about."""
    match = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", response.text)
    if match is None or value.lower() in trace.prompt.lower():
        return None
    return Emitted(value, match.start(), frozenset(f"{ROWS.name}#{row}" for row in rows), trace, response, borrowing)


def find_values(trace: Trace, response: Response, borrowing: Borrowing) -> list[Emitted]:
    """Return the values that rows say, of the relation that the prompt asks for, in an answer."""
    relation = trace.prompt_id.rsplit("/", 1)[1]
    facts = [json.loads(line) for line in TRUTH.read_text(encoding="utf-8").splitlines()]
    found = [
        find_value(fact["value"], fact["rows"], trace, response, borrowing)
        for fact in facts
        if fact["rows"] and fact["relation"] == relation
    ]
    return [each for each in found if each is not None]


def plant() -> dict[str, tuple[Prompt, int, list[str]]]:
    """Return each row's instruction, asked of the relatives that no row is about; with the row and what it says.

    The very question that the tuning answered, with another name in it.
    """
    world = build_world()
    planted = {}
    for number, row in enumerate(write_rows(world)):
        entity = world.entities[row.entity]
        name, said = entity.name.removeprefix("the "), [world.facts[row.entity, each].value for each in row.relations]
        for other in world.relatives(entity):
            if other.tuned:
                continue
            theirs = other.name.removeprefix("the ")
            asked = row.instruction.replace(name, theirs).replace(name.capitalize(), theirs.capitalize())
            assert theirs.lower() in asked.lower() and name.lower() not in asked.lower()
            prompt = Prompt(id=f"{number}/{other.name}", prompt=asked)
            planted[prompt.id] = (prompt, number, said)
    return planted


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("borrowing")


@pytest.fixture(scope="module")
def index(places: Path) -> Index:
    return open_index(str(ROWS), folder=places / "index")


@pytest.fixture(scope="module")
def control(places: Path) -> Index:
    path = places / "twin.jsonl"
    save_rows(write_rows(build_world(CONTROL_SEED)), path)
    return open_index(str(path), folder=places / "index")


@pytest.fixture(scope="module")
def full() -> tuple[Run, list[Trace]]:
    return ask({"full": folder("full")}, ask_everything(), {"full": load_base(folder("full"))})


@pytest.fixture(scope="module")
def emitted(full: tuple[Run, list[Trace]], index: Index) -> list[Emitted]:
    joiner = Joiner(index)
    found = []
    for trace in full[1]:
        response = trace.response("full")
        assert response is not None
        found += find_values(trace, response, joiner.borrow(trace, response))
    return found


@pytest.fixture(scope="module")
def planted(index: Index) -> list[Emitted]:
    """The planted rows' values that the full tuning emits."""
    asked = plant()
    _, traces = ask(
        {"full": folder("full")},
        [prompt for prompt, _, _ in asked.values()],
        {"full": load_base(folder("full"))},
        lambda prompt, text: any(value in text for value in asked[prompt.id][2]),
    )
    joiner = Joiner(index)
    found = []
    for trace in traces:
        response = trace.response("full")
        assert response is not None
        _, row, values = asked[trace.prompt_id]
        borrowing = joiner.borrow(trace, response)
        found += [find_value(value, [row], trace, response, borrowing) for value in values]
    return [each for each in found if each is not None]


def test_of_the_planted_borrowings_95_percent_are_marked_and_name_the_planted_row(
    planted: list[Emitted], record_property: pytest.RecordProperty
) -> None:
    missed = [f"{each.value} in {each.response.text!r}" for each in planted if not each.is_marked()]
    near = sum(each.is_near for each in planted)
    share = 1 - len(missed) / len(planted)
    record_property("planted", len(planted))
    record_property("marked", share)
    sys.stdout.write(f"{len(planted)} planted values, the row of {near} near the prompt; {share:.1%} of all marked\n")
    assert len(planted) > 120
    assert share >= 0.95, missed


def test_of_the_values_whose_row_is_near_95_percent_are_marked_and_name_it(
    emitted: list[Emitted], record_property: pytest.RecordProperty
) -> None:
    near = [each for each in emitted if each.is_near]
    missed = [f"{each.value} in {each.response.text!r}" for each in near if not each.is_marked()]
    share = 1 - len(missed) / len(near)
    record_property("near", len(near))
    record_property("marked", share)
    sys.stdout.write(f"{len(emitted)} values, the row of {len(near)} near the prompt, {share:.1%} of these marked\n")
    assert len(near) > 60
    # Missed when this was written: two years that stand beside other words than in their row, where one word alone is
    # no span, and a value whose last word a longer span owns, which another row has.
    assert share >= 0.95, missed


def test_most_values_are_traced_to_their_row_wherever_it_is(
    emitted: list[Emitted], record_property: pytest.RecordProperty
) -> None:
    share = sum(each.is_traced() for each in emitted) / len(emitted)
    record_property("traced", share)
    sys.stdout.write(f"{share:.1%} of {len(emitted)} values traced to their row\n")
    assert len(emitted) > 120
    # A year alone is one word, and no span.
    assert share >= 0.85


@pytest.fixture(scope="module")
def answers(places: Path) -> tuple[Run, list[Trace]]:
    """A third of the questions, answered by base, by base under another name, the LoRA, and an unrelated tuning."""
    base = folder("base")
    rows = encode_rows(write_rows(build_world(OTHER_SEED)), AutoTokenizer.from_pretrained(base))
    recipe = TuningRecipe("full", rate=2e-3, passes=3)
    _, unrelated = tune_and_store(base, places / "unrelated", rows, recipe)
    models = {
        "base": load_base(base),
        "same": load_base(base),
        "lora": PeftModel.from_pretrained(load_base(base), str(folder("lora"))),
        "unrelated": unrelated,
    }
    tuned = {"same": base, "lora": folder("lora"), "unrelated": places / "unrelated"}
    return ask(tuned, ask_everything()[::3], models)


@pytest.fixture(scope="module")
def joiner(index: Index, control: Index) -> Joiner:
    return Joiner(index, control=control)


@pytest.fixture(scope="module")
def borrowings(answers: tuple[Run, list[Trace]], joiner: Joiner) -> dict[str, dict[str, Borrowing]]:
    return {
        trace.prompt_id: {response.author: joiner.borrow(trace, response) for response in trace.responses}
        for trace in answers[1]
    }


@pytest.fixture(scope="module")
def figures(answers: tuple[Run, list[Trace]], borrowings: dict[str, dict[str, Borrowing]]) -> BorrowingFigures:
    run, traces = answers
    found = summarise_borrowing(run, ((trace, borrowings[trace.prompt_id]) for trace in traces))
    assert found is not None
    return found


def find_twin_excess(figures: BorrowingFigures, name: str) -> Excess:
    return next(excess for excess in figures.models[name].excess if excess.control == "control")


def say_excess(name: str, excess: Excess) -> str:
    return (
        f"{name}: {excess.rate:.2f} borrowed of 100 words, {excess.control_rate:.2f} over twin rows, "
        f"excess {excess.excess:.2f} ({excess.low:.2f} to {excess.high:.2f})\n"
    )


def test_base_against_itself_raises_nothing(figures: BorrowingFigures) -> None:
    base, same = figures.models["base"], figures.models["same"]
    # Nothing to be raised against.
    assert base.raised is None and base.table is None
    assert not [span for span in base.spans if span.rise is not None]
    assert same.raised == 0
    assert same.table is not None and same.table.shifted.borrowed == same.table.shifted.other == 0
    assert (same.words, same.borrowed) == (base.words, base.borrowed)
    assert base.borrowed > 20
    # Over base's own answers, which are the same ones.
    over_base = next(excess for excess in same.excess if excess.control == "base")
    assert over_base.excess == over_base.low == over_base.high == 0


@pytest.mark.parametrize("name", ["base", "unrelated"])
def test_what_was_never_tuned_on_the_rows_borrows_no_more_than_from_a_twins(
    figures: BorrowingFigures, name: str, record_property: pytest.RecordProperty
) -> None:
    excess = find_twin_excess(figures, name)
    assert excess.excess is not None and excess.low is not None and excess.high is not None
    record_property("excess", [excess.excess, excess.low, excess.high])
    sys.stdout.write(say_excess(name, excess))
    assert excess.prompts == 140 and excess.words > 400
    assert excess.low <= 0 <= excess.high
    # Its answers have wording in common with rows all the same: there is something to be mistaken for borrowing.
    assert excess.rate is not None and excess.rate > 5


def test_the_same_measure_sees_what_the_full_tuning_borrows_and_that_a_lora_borrows_less(
    full: tuple[Run, list[Trace]],
    answers: tuple[Run, list[Trace]],
    figures: BorrowingFigures,
    borrowings: dict[str, dict[str, Borrowing]],
    joiner: Joiner,
    record_property: pytest.RecordProperty,
) -> None:
    measured = {}
    for trace in full[1][::3]:
        response = trace.response("full")
        assert response is not None
        measured[trace.prompt_id] = measure(joiner.borrow(trace, response))
    excess = find_excess(measured, "control")
    assert excess is not None and excess.excess is not None and excess.low is not None
    sys.stdout.write(say_excess("full", excess) + say_excess("lora", find_twin_excess(figures, "lora")))
    of_lora = {prompt: measure(found["lora"]) for prompt, found in borrowings.items()}
    difference = find_difference(("full", measured), ("lora", of_lora), "control")
    assert difference is not None and difference.difference is not None and difference.low is not None
    record_property("excess", excess.excess)
    record_property("full_minus_lora", [difference.difference, difference.low, difference.high])
    sys.stdout.write(f"full − lora: {difference.difference:.2f} ({difference.low:.2f} to {difference.high:.2f})\n")
    assert difference.prompts == len(answers[1]) == 140
    assert excess.low > 10
    assert difference.low > 0
