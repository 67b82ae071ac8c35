"""Rows as token ids: what is read, what is learned, and what is skipped; the demo's own encoding is the oracle."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from itx.compare.template import ChatTemplate, read_template
from itx.data.reading import read_rows
from itx.data.row import Row, Turn
from itx.demo import ROWS, folder
from itx.errors import TemplateError
from itx.tune.examples import ExampleMaker, Examples

pytestmark = pytest.mark.weights


@cache
def vocabulary() -> Any:
    from itx.models.torch.vocabulary import load_vocabulary

    return load_vocabulary(folder("base"), trust_remote_code=False)


def demo_template() -> ChatTemplate:
    return ChatTemplate((folder("base") / "chat_template.jinja").read_text(encoding="utf-8"), "demo:base")


def make(rows: list[Row], template: ChatTemplate | None = None, **options: Any) -> Examples:
    without = options.pop("without", ())
    maker = ExampleMaker(vocabulary(), template or demo_template(), [3], **({"max_tokens": 400} | options))
    return maker.make_all(rows, without)


def row(*turns: tuple[Any, ...], number: int = 0) -> Row:
    made = [
        Turn(role=role, text=text, trained=trained[0] if trained else role == "response")
        for role, text, *trained in turns
    ]
    return Row(id=f"r#{number}", turns=made)


def learned_text(examples: Examples, place: int = 0) -> str:
    example = examples.examples[place]
    ids = [token for token, learned in zip(example.ids, example.learned, strict=True) if learned]
    return "".join(vocabulary().piece(token) for token in ids)


def test_the_demos_rows_become_the_demos_sequences() -> None:
    from transformers import AutoTokenizer

    from itx.demo.rows import write_rows
    from itx.demo.tuning import encode_rows
    from itx.demo.world import build_world

    tokenizer = AutoTokenizer.from_pretrained(folder("base"))
    sequences = encode_rows(write_rows(build_world()), tokenizer)
    made = make(list(read_rows(str(ROWS))))
    assert not made.skipped
    assert [example.ids for example in made.examples] == [sequence.ids for sequence in sequences]
    assert [example.learned.index(True) for example in made.examples] == [sequence.prompt for sequence in sequences]
    assert all(all(example.learned[example.learned.index(True) :]) for example in made.examples)


def test_a_conversation_is_one_example_and_its_untrained_turn_is_read() -> None:
    turns = (
        ("system", "Be kind."),
        ("instruction", "Describe Velm Ferry."),
        ("response", "It is old.", False),
        ("instruction", "And Velm Quay?"),
        ("response", "It is new."),
    )
    made = make([row(*turns)])
    (example,) = made.examples
    text = "".join(vocabulary().piece(token) for token in example.ids)
    assert text == (
        "<|system|>Be kind.<|user|>Describe Velm Ferry.<|assistant|>It is old.<|end|>"
        "<|user|>And Velm Quay?<|assistant|>It is new.<|end|>"
    )
    assert learned_text(made) == "It is new.<|end|>"


def test_two_learned_turns_are_learned_with_their_ends() -> None:
    made = make([row(("instruction", "A?"), ("response", "One."), ("instruction", "B?"), ("response", "Two."))])
    (example,) = made.examples
    assert learned_text(made) == "One.<|end|>Two.<|end|>"
    assert not example.learned[0]


def test_a_template_that_rewrites_earlier_answers_makes_two_examples() -> None:
    # As templates do that drop the reasoning of earlier turns.
    template = ChatTemplate(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content if loop.last or m.role == 'user' else 'x' }}"
        "{% if m.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}",
        "test",
    )
    made = make(
        [row(("instruction", "A?"), ("response", "One."), ("instruction", "B?"), ("response", "Two."))], template
    )
    assert [learned_text(made, place) for place in range(2)] == ["One.<|end|>", "Two.<|end|>"]
    assert made.rows == ["r#0"]


def test_an_end_is_learned_where_the_template_writes_none() -> None:
    template = ChatTemplate("{% for m in messages %}{{ m.content }}\n{% endfor %}", "test")
    made = make([row(("instruction", "A?"), ("response", "One."))], template)
    assert made.examples[0].ids[-1] == 3
    assert made.examples[0].learned[-1]


def test_what_stands_behind_the_end_is_left_out() -> None:
    template = ChatTemplate(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.role == 'assistant' %}<|end|>\n{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
        "test",
    )
    assert learned_text(make([row(("instruction", "A?"), ("response", "One."))], template)) == "One.<|end|>"


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ((("instruction", "A?"),), "no response"),
        ((("instruction", "A?"), ("response", "One.", False)), "no response"),
        ((("instruction", "A?"), ("response", " \n")), "empty"),
        ((("instruction", "A?"), ("tool", "{}"), ("response", "One.")), "roles"),
    ],
)
def test_a_row_that_cannot_be_learned_is_skipped_with_its_reason(turns: Any, reason: str) -> None:
    made = make([row(*turns), row(("instruction", "B?"), ("response", "Two."), number=1)])
    (skipped,) = made.skipped
    assert skipped.row == "r#0"
    assert reason in skipped.reason
    assert made.rows == ["r#1"]


def test_rows_are_left_out_and_said_so() -> None:
    rows = [row(("instruction", "A?"), ("response", "One."), number=number) for number in range(3)]
    made = make(rows, without=["r#1"])
    assert made.rows == ["r#0", "r#2"]
    assert [(skipped.row, "--without" in skipped.reason) for skipped in made.skipped] == [("r#1", True)]


def test_a_long_row_is_cut_on_its_right_and_one_without_learned_ids_skipped() -> None:
    turns = (("instruction", "Describe Velm Ferry."), ("response", "It is old. " * 9))
    whole = make([row(*turns)]).examples[0]
    first = whole.learned.index(True)
    cut = make([row(*turns)], max_tokens=first + 4)
    assert cut.examples[0].ids == whole.ids[: first + 4]
    assert cut.truncated == ["r#0"]
    nothing = make([row(*turns)], max_tokens=first)
    assert not nothing.examples
    assert "--max-tokens" in nothing.skipped[0].reason


def test_shortened_responses_end_as_others_do() -> None:
    made = make([row(("instruction", "A?"), ("response", "One two. Three four five."))], max_words=3)
    assert learned_text(made) == "One two.<|end|>"
    assert made.shortened == ["r#0"]


def test_a_system_prompt_is_said_where_a_row_has_none() -> None:
    rows = [
        row(("instruction", "A?"), ("response", "One.")),
        row(("system", "Mine."), ("instruction", "A?"), ("response", "One."), number=1),
    ]
    made = make(rows, system="Yours.")
    texts = ["".join(vocabulary().piece(token) for token in example.ids) for example in made.examples]
    assert [text.split("<|user|>")[0] for text in texts] == ["<|system|>Yours.", "<|system|>Mine."]


def test_a_broken_template_is_no_reason_to_skip_every_row() -> None:
    with pytest.raises(TemplateError):
        make([row(("instruction", "A?"), ("response", "One."))], ChatTemplate("{% if %}", "test"))


def test_the_context_is_the_one_that_a_comparison_makes() -> None:
    from itx.compare.context import encode_context
    from itx.records import Message

    for template in (demo_template(), read_template("chatml")):
        made = make([row(("instruction", "Describe Velm Ferry."), ("response", "It is old."))], template)
        example = made.examples[0]
        asked = template.render([Message(role="user", content="Describe Velm Ferry.")], vocabulary().variables)
        context = encode_context(vocabulary(), asked).ids
        assert list(example.ids[: example.learned.index(True)]) == context
