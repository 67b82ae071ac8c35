"""What objects of tuning data mean: every shape people write, its roles, and what of it was trained."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.data.columns import Fields, override_columns
from itx.data.row import Role, Turn
from itx.data.shapes import find_shape, read_turns
from itx.errors import UsageError

NAMES = override_columns(None)
TURNS = [{"role": "user", "content": "Name a port."}, {"role": "assistant", "content": "Ash"}]
CALL = '{"name": "tide", "arguments": {"port": "Ash"}}'


def read(row: dict[str, Any], columns: dict[str, str] | None = None) -> list[tuple[str, str, bool]]:
    fields = Fields(row, override_columns(columns))
    shape = find_shape(fields)
    assert shape is not None
    return [(turn.role, turn.text, turn.trained) for turn in read_turns(fields, shape)]


def asked(text: str) -> tuple[str, str, bool]:
    return ("instruction", text, False)


def answered(text: str) -> tuple[str, str, bool]:
    return ("response", text, True)


def said(role: Role, text: str) -> tuple[str, str, bool]:
    return (role, text, False)


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Name a port.", "output": "Ash"},
        {"instruction": "Name a port.", "input": "", "output": "Ash", "text": "### Name a port. Ash"},
        {"instruction": "", "input": "Name a port.", "output": "Ash"},
        {"instruction": "Name a port.", "input": None, "output": "Ash", "messages": None, "system": None},
        {"Instruction": "Name a port.", "Response": "Ash"},
        {"prompt": "Name a port.", "response": "Ash"},
        {"prompt": "Name a port.", "completion": "Ash"},
        {"question": "Name a port.", "answer": "Ash"},
        {"query": "Name a port.", "response": "Ash", "messages": []},
        {"problem": "Name a port.", "solution": "Ash", "answer": "A"},
        {"input": "Name a port.", "output": "Ash"},
        {"inputs": "Name a port.", "targets": "Ash"},
        {"user": "Name a port.", "assistant": "Ash"},
        {"prompt": TURNS[:1], "completion": TURNS[1:]},
        {"messages": TURNS},
        {"messages": json.dumps(TURNS)},
        {"messages": str(TURNS)},
        {"conversations": [{"from": "human", "value": "Name a port."}, {"from": "gpt", "value": "Ash"}]},
        {"conversation": [{"role": "User", "content": [{"type": "text", "text": "Name a port."}]},
                          {"role": "model", "content": ["As", {"type": "text", "value": "h"}]}]},
    ],
)  # fmt: skip
def test_one_exchange_in_every_spelling(row: dict[str, Any]) -> None:
    assert read(row) == [asked("Name a port."), answered("Ash")]


def test_the_input_joins_the_instruction_and_the_rest_stands_in_order() -> None:
    row = {
        "system": "Be brief.",
        "tools": [{"name": "tide"}],
        "history": [["Who?", "Me."]],
        "instruction": "Sum up.",
        "input": "A long story.",
        "output": "Short.",
    }
    assert read(row) == [
        said("system", "Be brief."),
        said("tool", '[{"name": "tide"}]'),
        asked("Who?"),
        answered("Me."),
        asked("Sum up.\n\nA long story."),
        answered("Short."),
    ]


def test_a_system_prompt_that_stands_twice_counts_once() -> None:
    row = {"system": "S", "messages": [{"role": "system", "content": "S"}, *TURNS]}
    assert read(row) == [said("system", "S"), asked("Name a port."), answered("Ash")]
    assert read({**row, "system": "T"})[:2] == [said("system", "T"), said("system", "S")]


def test_sharegpt_with_calls() -> None:
    row = {
        "tools": '[{"name": "tide"}]',
        "conversations": [
            {"from": "system", "value": "You watch the sea."},
            {"from": "human", "value": "When is high tide?"},
            {"from": "function_call", "value": CALL},
            {"from": "observation", "value": "04:10"},
            {"from": "gpt", "value": "At ten past four."},
        ],
    }
    assert read(row) == [
        said("tool", '[{"name": "tide"}]'),
        said("system", "You watch the sea."),
        asked("When is high tide?"),
        answered(CALL),
        said("tool", "04:10"),
        answered("At ten past four."),
    ]
    assert read({**row, "tools": "[]"}) == read(row)[1:]


def test_openai_with_calls_thought_and_parts() -> None:
    function = {"name": "tide", "arguments": '{"port": "Ash"}'}
    row = {
        "messages": [
            {"role": "developer", "content": "You watch the sea."},
            {"role": "user", "content": [{"type": "text", "text": "When"}, {"type": "image_url", "value": "sea.png"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]},
            {"role": "tool", "tool_call_id": "1", "content": "04:10"},
            {"role": "assistant", "reasoning_content": "Early.", "content": "At ten past four.", "tool_calls": None},
            {"role": "assistant", "function_call": {"name": "tide", "arguments": {"port": "Ash", "day": None}}},
            {"role": "assistant", "content": None},
        ],
    }  # fmt: skip
    assert read(row) == [
        said("system", "You watch the sea."),
        asked("When"),
        answered(CALL),
        said("tool", "04:10"),
        answered("Early."),
        answered("At ten past four."),
        answered(CALL),
        answered(""),
    ]


@pytest.mark.parametrize("key", ["weight", "loss_weight", "train"])
def test_a_message_of_no_weight_was_not_trained(key: str) -> None:
    row = {
        "messages": [
            {"role": "user", "content": "A?", key: 0},
            {"role": "assistant", "content": "a", key: 0.0},
            {"role": "user", "content": "B?"},
            {"role": "assistant", "content": "b", key: 1},
            {"role": "assistant", "content": "c"},
        ]
    }
    assert read(row) == [asked("A?"), said("response", "a"), asked("B?"), answered("b"), answered("c")]


USER, GOOD, BAD = ({"role": "user", "content": "Q"}, {"role": "assistant", "content": "yes"},
                   {"role": "assistant", "content": "no"})  # fmt: skip


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "chosen": "yes", "rejected": "no"},
        {"question": "Q", "response_j": "yes", "response_k": "no"},
        {"instruction": "Q", "input": "", "chosen": "yes", "rejected": "no"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "Q", "chosen": [USER, GOOD], "rejected": [USER, BAD], "messages": [USER, GOOD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen_messages": [{**USER, "loss_weight": 0.0}, {**GOOD, "loss_weight": 1.0}],
         "rejected_messages": [USER, BAD]},
        {"conversations": [{"from": "human", "value": "Q"}], "chosen": {"from": "gpt", "value": "yes"},
         "rejected": {"from": "gpt", "value": "no"}},
        {"input": {"messages": [USER], "tools": []}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
        {"chosen": "\n\nHuman: Q\n\nAssistant: yes", "rejected": "\n\nHuman: Q\n\nAssistant: no"},
    ],
)  # fmt: skip
def test_of_a_pair_the_chosen_answer_was_trained(row: dict[str, Any]) -> None:
    assert read(row) == [asked("Q"), answered("yes"), said("rejected", "no")]


def test_earlier_answers_of_a_pair_are_context() -> None:
    first = [USER, {"role": "assistant", "content": "hm"}, USER]
    row = {"system": "S", "chosen": [*first, GOOD], "rejected": [*first, BAD]}
    context = [said("system", "S"), asked("Q"), said("response", "hm"), asked("Q")]
    assert read(row) == [*context, answered("yes"), said("rejected", "no")]
    assert read({"system": "S", "chosen": [*first, GOOD]}) == [*context, answered("yes")]
    assert read({"prompt": first, "completion": [GOOD], "system": "S"}) == [*context, answered("yes")]
    same = {"chosen": [USER, GOOD], "rejected": [USER, GOOD]}
    assert read(same) == [asked("Q"), answered("yes"), said("rejected", "yes")]


@pytest.mark.parametrize("label", [True, False, "True", "false"])
@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, {"role": "assistant", "content": "hm"}, USER, GOOD]},
        {"prompt": [USER, {"role": "assistant", "content": "hm"}, USER], "completion": [GOOD]},
    ],
)
def test_an_answer_judged_bad_is_no_training_target(row: dict[str, Any], label: object) -> None:
    last = answered("yes") if label in (True, "True") else said("rejected", "yes")
    assert read({**row, "label": label}) == [asked("Q"), said("response", "hm"), asked("Q"), last]


def test_a_label_of_a_class_is_no_judgement() -> None:
    assert read({"text": "Good film.", "label": 0}) == [answered("Good film.")]
    assert read({"prompt": "Q", "completion": "yes", "label": "positive"}) == [asked("Q"), answered("yes")]


def test_text_is_all_trained_and_an_answer_needs_no_question() -> None:
    assert read({"text": "Once."}) == [answered("Once.")]
    assert read({"instruction": None, "output": "Once."}) == [answered("Once.")]
    assert read({"question": "2 + 2?", "answer": 4}) == [asked("2 + 2?"), answered("4")]


def test_columns_can_be_named() -> None:
    row = {
        "ask": "Q",
        "more": "M",
        "reply_text": "A",
        "who": "S",
        "messages": [USER, GOOD],
        "text": "T",
        "context": "C",
    }
    named = {"instruction": "ask", "input": "more", "response": "reply_text", "system": "who"}
    assert read(row, named) == [said("system", "S"), asked("Q\n\nM"), answered("A")]
    assert read(row, {**named, "input": "", "system": ""}) == [asked("Q"), answered("A")]
    assert read(row, {"text": "reply_text"}) == [answered("A")]
    assert read({"chosen": "no", "talk": [USER, GOOD]}, {"messages": "talk"}) == [asked("Q"), answered("yes")]
    with pytest.raises(UsageError, match="'answer' is nothing that a column can hold"):
        override_columns({"answer": "x"})


@pytest.mark.parametrize("row", [{}, {"id": 3, "title": "x"}, {"prompt": "Q"}, {"messages": []}, {"output": None}])
def test_what_has_no_shape(row: dict[str, Any]) -> None:
    assert find_shape(Fields(row, NAMES)) is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "Q", "output": ["a"]}, "text among its messages"),
        ({"instruction": "Q", "output": True}, '"output" holds true or false, where text is meant'),
        ({"messages": [{"role": "wizard\x1b", "content": "x"}]}, r'the role "wizard\\u001b"'),
        (
            {"messages": [USER, {"role": "assistant", "content": 7.5}, {"role": "user", "content": True}]},
            "true or false",
        ),
        ({"messages": [{"role": "assistant", "content": [{"type": "poem"}]}]}, 'type "poem" holds no text'),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "a tool call has no name"),
        ({"history": [["x"]], "instruction": "Q", "output": "a"}, "no list of pairs"),
    ],
)
def test_what_does_not_fit_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(row)


texts = st.text(min_size=1).filter(lambda text: bool(text.strip()))
exchanges = st.lists(st.tuples(texts, st.text()), min_size=1, max_size=4)


@given(st.none() | texts, exchanges)
def test_a_dialogue_is_the_same_in_every_shape(system: str | None, dialogue: list[tuple[str, str]]) -> None:
    head = [] if system is None else [said("system", system)]
    expected = [*head, *(turn for question, answer in dialogue for turn in (asked(question), answered(answer)))]
    *earlier, (question, answer) = dialogue
    openai = [{"role": role, "content": text} for role, text in _spell(system, dialogue, "system", "user", "assistant")]
    sharegpt = [{"from": role, "value": text} for role, text in _spell(system, dialogue, "system", "human", "gpt")]
    aside = [{"role": role, "content": text} for role, text in _spell(None, dialogue, "system", "user", "assistant")]
    shapes: list[dict[str, Any]] = [
        {"messages": openai},
        {"conversations": sharegpt},
        {"messages": aside, "system": system},
        {"messages": [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in openai]},
        {"system": system, "history": [list(pair) for pair in earlier], "instruction": question, "output": answer},
    ]
    for row in shapes:
        assert read(row) == expected


def _spell(system: str | None, dialogue: list[tuple[str, str]], *names: str) -> list[tuple[str, str]]:
    head = [] if system is None else [(names[0], system)]
    return [*head, *(turn for question, answer in dialogue for turn in ((names[1], question), (names[2], answer)))]


anything = st.text(st.characters(exclude_categories=()))
values = st.recursive(
    st.none() | st.booleans() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
columns = st.sampled_from([name for known in NAMES.values() for name in known])
messages = st.lists(st.fixed_dictionaries({"role": values | st.just("user"), "content": values}), max_size=3)


@given(st.dictionaries(columns, values | messages, max_size=5))
def test_whatever_stands_in_known_columns_is_turns_or_a_reason(row: dict[str, Any]) -> None:
    fields = Fields(row, NAMES)
    shape = find_shape(fields)
    if shape is None:
        return
    try:
        turns = read_turns(fields, shape)
    except ValueError as error:
        assert str(error).encode()
    else:
        for turn in turns:
            assert isinstance(turn, Turn)
            turn.text.encode()
