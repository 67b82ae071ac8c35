"""Contexts by policy, the system prompt, and exactly one BOS."""

from __future__ import annotations

from pathlib import Path

import pytest

from itx.compare.context import ContextMaker, find_template
from itx.compare.template import ChatTemplate
from itx.errors import MismatchError, TemplateError, UsageError
from itx.models.tiny import BOS, TinyEngine
from itx.records import Message, Prompt

PROMPT = Prompt(id="1", prompt="Name a river.")
TEMPLATE = ChatTemplate("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant] ", "a test")
RENDERED = "[user] Name a river.\n[assistant] "


def engine(name: str) -> TinyEngine:
    return TinyEngine(1, name=name, reference=f"folder of {name}")


BASE, ONE, TWO = engine("base"), engine("one"), engine("two")


def make(policy: str = "same", prompt: Prompt = PROMPT, **settings: str) -> dict[str, tuple[list[int], str]]:
    maker = ContextMaker(BASE, [ONE, TWO], policy, TEMPLATE, **settings)
    return {name: (context.ids, context.text) for name, context in maker.make(prompt).items()}


def ids(text: str) -> list[int]:
    return [BOS, *text.encode()]


def test_same_gives_all_models_the_same_ids() -> None:
    found = make()
    assert list(found) == ["base", "one", "two"]
    assert set(map(str, found.values())) == {str((ids(RENDERED), "<bos>" + RENDERED))}


@pytest.mark.parametrize(("policy", "text"), [("plain", "Name a river."), ("qa", "Question: Name a river.\nAnswer:")])
def test_other_policies_change_what_the_base_sees(policy: str, text: str) -> None:
    found = make(policy)
    assert found["base"] == (ids(text), "<bos>" + text)
    assert found["one"] == found["two"] == (ids(RENDERED), "<bos>" + RENDERED)


def test_a_file_of_the_users_makes_the_bases_context(tmp_path: Path) -> None:
    file = tmp_path / "base.jinja"
    file.write_text("{{ system }}: {{ prompt }} ({{ messages | length }}) =>")
    found = make(str(file), system="Be brief.")
    assert found["base"] == (ids("Be brief.: Name a river. (2) =>"), "<bos>Be brief.: Name a river. (2) =>")
    assert found["one"][1].startswith("<bos>[system] Be brief.")


def test_the_policy_is_recorded(tmp_path: Path) -> None:
    record = ContextMaker(BASE, [ONE], "qa", TEMPLATE, "Be brief.").record
    assert (record.policy, record.system, record.template_source) == ("qa", "Be brief.", "a test")
    assert record.template == TEMPLATE.fingerprint
    file = tmp_path / "base.jinja"
    file.write_text("x")
    assert (record.base_template, record.base_template_source) == (None, None)
    scorers = ContextMaker(BASE, [ONE], str(file), TEMPLATE).record
    assert (scorers.policy, scorers.template) == ("jinja", TEMPLATE.fingerprint)
    assert scorers.base_template == ChatTemplate("x", "elsewhere").fingerprint
    assert scorers.base_template_source == str(file)
    with pytest.raises(UsageError, match="--context sane is none of same, plain and qa"):
        ContextMaker(BASE, [ONE], "sane", TEMPLATE)


def test_a_template_of_the_bases_that_fails_names_its_option(tmp_path: Path) -> None:
    file = tmp_path / "base.jinja"
    file.write_text("{{ nothing.at.all }}")
    with pytest.raises(TemplateError, match="--context FILE"):
        ContextMaker(BASE, [ONE], str(file), TEMPLATE).make(PROMPT)


def test_a_system_prompt_of_the_conversation_wins() -> None:
    prompt = Prompt(
        id="1", prompt="b", messages=[Message(role="system", content="a"), Message(role="user", content="b")]
    )
    assert make(prompt=prompt, system="other")["one"][1] == "<bos>[system] a\n[user] b\n[assistant] "


def test_earlier_turns_are_seen_under_every_policy() -> None:
    turns = [
        Message(role="user", content="a"),
        Message(role="assistant", content="b"),
        Message(role="user", content="c"),
    ]
    prompt = Prompt(id="1", prompt="c", messages=turns)
    assert make("plain", prompt)["base"][1] == "<bos>a\n\nb\n\nc"
    assert make("qa", prompt)["base"][1] == "<bos>a\n\nb\n\nQuestion: c\nAnswer:"


class _Marking:
    """A vocabulary that reads ``<bos>`` written in a text as the id, as tokenizers do."""

    def __init__(self, adds_bos: bool) -> None:
        self.adds_bos = adds_bos
        self.bos = BOS
        self.variables = {"bos_token": "<bos>"}
        self.piece = BASE.vocabulary.piece

    def encode(self, text: str) -> list[int]:
        head, *rest = text.split("<bos>")
        return [*head.encode(), *(token for part in rest for token in [BOS, *part.encode()])]


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize("written", [0, 1, 2])
def test_exactly_one_bos_where_the_tokenizer_adds_one(adds_bos: bool, written: int) -> None:
    """The template writes BOS no, one or two times; without either's BOS there is none."""
    one = engine("one")
    one.vocabulary = _Marking(adds_bos)
    maker = ContextMaker(BASE, [one], "same", ChatTemplate("{{ bos_token }}" * written + "hi", "a test"))
    context = maker.make(PROMPT)["one"]
    expected = 1 if adds_bos or written else 0
    assert context.ids == [BOS] * expected + [*b"hi"]
    assert context.text == "<bos>" * expected + "hi"


def test_an_id_that_a_model_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    base = engine("base")
    monkeypatch.setattr(base, "vocab_size", 100, raising=False)
    with pytest.raises(MismatchError, match="256"):
        ContextMaker(base, [ONE], "same", TEMPLATE).make(PROMPT)


def test_an_empty_context_is_refused() -> None:
    one = engine("one")
    one.vocabulary = _Marking(False)
    with pytest.raises(TemplateError, match="empty"):
        ContextMaker(BASE, [one], "same", ChatTemplate("", "a test")).make(PROMPT)


def test_the_template_asked_for_wins_then_tuned_then_base(tmp_path: Path) -> None:
    base, one, two = engine("base"), engine("one"), engine("two")
    base.template, one.template, two.template = "B", None, "T"
    assert (find_template(None, base, [one, two]).text, find_template(None, base, [one, two]).source) == (
        "T",
        "folder of two",
    )
    two.template = None
    assert find_template(None, base, [one, two]).text == "B"
    assert find_template("chatml", base, [one, two]).source == "chatml"
    base.template = None
    with pytest.raises(TemplateError) as caught:
        find_template(None, base, [one, two])
    assert "--chat-template" in caught.value.remedy
    assert "alpaca" in caught.value.remedy
