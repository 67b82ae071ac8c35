"""Chat templates: those that come with itx, those of strangers, and what they may not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from itx.compare.template import ChatTemplate, list_builtins, read_base_template, read_template
from itx.errors import TemplateError, UsageError
from itx.records import Message
from tests.support.llamas import TEMPLATE, build_tokenizer

USER = Message(role="user", content="Name a river.")
TALK = [
    Message(role="system", content="Be brief."),
    Message(role="user", content="Name a river."),
    Message(role="assistant", content="The Oder."),
    Message(role="user", content="Another."),
]
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}

ONE_TURN = {
    "alpaca": (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nName a river.\n\n### Response:"
    ),
    "chatml": "<|im_start|>user\nName a river.<|im_end|>\n<|im_start|>assistant\n",
    "gemma": "<s><start_of_turn>user\nName a river.<end_of_turn>\n<start_of_turn>model\n",
    "llama3": (
        "<s><|start_header_id|>user<|end_header_id|>\n\nName a river.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "plain": "Name a river.",
    "vicuna": (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions. "
        "USER: Name a river. ASSISTANT:"
    ),
}
WHOLE_TALK = {
    "alpaca": (
        "Be brief.\n\n### Instruction:\nName a river.\n\n### Response:The Oder.</s>"
        "\n\n### Instruction:\nAnother.\n\n### Response:"
    ),
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nName a river.<|im_end|>\n"
        "<|im_start|>assistant\nThe Oder.<|im_end|>\n<|im_start|>user\nAnother.<|im_end|>\n<|im_start|>assistant\n"
    ),
    "gemma": (
        "<s><start_of_turn>user\nBe brief.\n\nName a river.<end_of_turn>\n"
        "<start_of_turn>model\nThe Oder.<end_of_turn>\n"
        "<start_of_turn>user\nAnother.<end_of_turn>\n<start_of_turn>model\n"
    ),
    "llama3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nName a river.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nThe Oder.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nAnother.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "plain": "Be brief.\n\nName a river.\n\nThe Oder.\n\nAnother.",
    "vicuna": "Be brief. USER: Name a river. ASSISTANT: The Oder.</s>USER: Another. ASSISTANT:",
}


def render(text: str, *messages: Message) -> str:
    return ChatTemplate(text, "a test").render(messages or [USER], VARIABLES)


def test_builtins_need_no_special_tokens() -> None:
    for name, expected in ONE_TURN.items():
        assert read_template(name).render([USER], {}) == expected.removeprefix("<s>")


def test_every_builtin_is_pinned() -> None:
    assert set(list_builtins()) == set(ONE_TURN) == set(WHOLE_TALK)


@pytest.mark.parametrize("name", ONE_TURN)
def test_builtins_render(name: str) -> None:
    template = read_template(name)
    assert template.render([USER], VARIABLES) == ONE_TURN[name]
    assert template.render(TALK, VARIABLES) == WHOLE_TALK[name]
    assert template.source == name


@pytest.mark.parametrize("text", [*(read_template(name).text for name in ONE_TURN), TEMPLATE])
@pytest.mark.parametrize("talk", [[USER], TALK])
def test_rendering_is_that_of_transformers(text: str, talk: list[Message]) -> None:
    tokenizer: PreTrainedTokenizerFast = build_tokenizer(template=text)
    turns = [{"role": message.role, "content": message.content} for message in talk]
    expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert render(text, *talk) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{%- if tools is none %}no tools{% endif %}\n  {%- if x is not defined %} {{ messages[0].role }}{% endif %}",
        "{{ messages | tojson }} {{ messages[0] | tojson(indent=2) }}",
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
        "{% generation %}{{ messages[0].content }}{% endgeneration %}",
        "{% set ns = namespace(seen=false) %}{% set ns.seen = true %}{{ ns.seen }}{{ dict(a=1)['a'] }}",
        "{{ bos_token }}{{ messages[0].content.strip() | upper }}\n",
    ],
)
def test_what_templates_of_the_hub_use_works_as_there(text: str) -> None:
    tokenizer = build_tokenizer(template=text)
    expected = tokenizer.apply_chat_template([{"role": "user", "content": USER.content}], tokenize=False,
                                             add_generation_prompt=True)  # fmt: skip
    assert render(text) == expected


def test_a_template_may_ask_for_the_date() -> None:
    assert render("{{ strftime_now('%Y') }}").isdigit()


def test_a_template_may_refuse() -> None:
    with pytest.raises(TemplateError, match="System role not supported"):
        render(
            "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}", *TALK
        )


@pytest.mark.parametrize(
    "text",
    [
        "{% for %}",
        "{{ messages",
        "{% include 'x' %}",
        "{{ nothing.at.all }}",
        "{{ 1 / 0 }}",
        "{{ '{1}'.format('a') }}",
        "{{ '{b}'.format(a='a') }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
        "{{ '%d' % 'a' }}",
    ],
)
def test_a_broken_template_is_named(text: str) -> None:
    with pytest.raises(TemplateError, match="a test"):
        render(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__.json }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(text: str) -> None:
    with pytest.raises(TemplateError):
        render(text)


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("Q: {{ messages[-1].content }} A:", encoding="utf-8")
    template = read_template(str(file))
    assert template.render([USER], {}) == "Q: Name a river. A:"
    assert template.source == str(file)


def test_a_broken_template_is_found_before_it_renders() -> None:
    ChatTemplate("{{ 1 / 0 }}", "a test").check()
    with pytest.raises(TemplateError, match="a test is broken at line 2"):
        ChatTemplate("\n{% for %}", "a test").check()


@pytest.mark.parametrize("name", ["no-such-template", "./missing.jinja", "~nobody-here/x.jinja"])
def test_no_template_for_the_base(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_base_template(name)
    assert caught.value.cause.startswith(f"--context {name} is none of same, plain and qa, and no Jinja file: ")
    assert "same, plain or qa" in caught.value.remedy


@pytest.mark.parametrize("name", ["no-such-template", "./missing.jinja", "~nobody-here/x.jinja"])
def test_neither_a_file_nor_a_builtin(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_template(name)
    assert "alpaca" in caught.value.remedy


def test_a_binary_file_is_no_template(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_template(str(tmp_path / "t"))
