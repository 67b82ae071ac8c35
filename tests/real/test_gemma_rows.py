"""The rows, prompts and template under sample_runs/gemma-270m are what the README says they are."""

from __future__ import annotations

import json
import re

import jinja2
import pytest

from tests.real.conftest import SAMPLE

ROWS = json.loads((SAMPLE / "rows.json").read_text(encoding="utf-8"))
PROMPTS = [json.loads(line) for line in (SAMPLE / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
TEMPLATE = (SAMPLE / "template.jinja").read_text(encoding="utf-8")


def fold(text: str) -> str:
    """Letters and digits only, in lower case: what is left of a text when only its wording counts."""
    return re.sub(r"[\W_]+", " ", text).strip().casefold()


def test_rows_are_alpaca_rows() -> None:
    assert len(ROWS) >= 150
    for row in ROWS:
        assert list(row) == ["instruction", "input", "output"]
        assert all(isinstance(value, str) for value in row.values())
        assert row["instruction"].strip() and row["output"].strip()


def test_no_row_is_duplicated() -> None:
    assert len({fold(row["instruction"] + " " + row["input"]) for row in ROWS}) == len(ROWS)
    assert len({fold(row["output"]) for row in ROWS}) == len(ROWS)


def test_outputs_have_40_to_90_words() -> None:
    lengths = [len(row["output"].split()) for row in ROWS]
    assert min(lengths) >= 40
    assert max(lengths) <= 90


def test_texts_are_clean() -> None:
    texts = [value for row in ROWS for value in row.values()] + [value for line in PROMPTS for value in line.values()]
    for text in texts:
        assert text == text.strip()
        assert "  " not in text
        assert all(character.isprintable() or character == "\n" for character in text), text


def test_prompts_have_id_prompt_and_reference() -> None:
    assert len(PROMPTS) >= 60
    assert len({line["id"] for line in PROMPTS}) == len(PROMPTS)
    for line in PROMPTS:
        assert list(line) == ["id", "prompt", "reference"]
        assert line["prompt"] and 5 <= len(line["reference"].split()) <= 60


def test_no_prompt_is_a_row() -> None:
    instructions = {fold(row["instruction"]) for row in ROWS}
    outputs = {fold(row["output"]) for row in ROWS}
    for line in PROMPTS:
        assert fold(line["prompt"]) not in instructions
        assert fold(line["reference"]) not in outputs


@pytest.mark.parametrize("trim", [False, True])
def test_template_gives_one_bos_and_an_eos_after_each_answer(trim: bool) -> None:
    environment = jinja2.Environment(trim_blocks=trim, lstrip_blocks=trim, autoescape=False)
    template = environment.from_string(TEMPLATE)
    messages = [{"role": "user", "content": " Q1 "}, {"role": "assistant", "content": "A1"}]
    preface = "<bos>Someone asks an assistant. The assistant answers in a few clear sentences.\n\n"
    first = "### Asked\nQ1\n\n### Answered\n"

    def render(turns: list[dict[str, str]], opened: bool) -> str:
        return template.render(messages=turns, bos_token="<bos>", eos_token="<eos>", add_generation_prompt=opened)

    assert render(messages[:1], True) == preface + first
    assert render(messages, False) == preface + first + "A1<eos>"
    again = [*messages, {"role": "user", "content": "Q2"}]
    assert render(again, True) == preface + first + "A1<eos>\n\n### Asked\nQ2\n\n### Answered\n"
    system = [{"role": "system", "content": "S"}, *messages[:1]]
    assert render(system, True) == preface + "S\n\n" + first


def test_template_refuses_an_unknown_role() -> None:
    class RoleError(Exception):
        pass

    def refuse(message: str) -> None:
        raise RoleError(message)

    environment = jinja2.Environment(autoescape=False)
    environment.globals["raise_exception"] = refuse
    with pytest.raises(RoleError, match="tool"):
        environment.from_string(TEMPLATE).render(messages=[{"role": "tool", "content": "x"}], bos_token="<bos>")
