"""Where a template ends an answer, on templates written as those in use are."""

from __future__ import annotations

import pytest

from itx.compare.template import ChatTemplate
from itx.doctor.contexts import find_closing
from itx.models.torch.vocabulary import HuggingFaceVocabulary
from tests.support.llamas import TEMPLATE, build_tokenizer

LOOP = "{% for m in messages %}"
OF_ROLE = "{% if m.role == 'user' %}U{% else %}A{% endif %}"


@pytest.fixture(scope="module")
def vocabulary() -> HuggingFaceVocabulary:
    tokenizer = build_tokenizer()
    more = ["<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": more}, replace_extra_special_tokens=False)
    return HuggingFaceVocabulary(tokenizer, "")


@pytest.mark.parametrize(
    ("template", "closing"),
    [
        (TEMPLATE, None),
        (LOOP + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}", "<|im_end|>"),
        ("<|im_start|>system\nBe kind.<|im_end|>\n" + LOOP + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
         "{% endfor %}", "<|im_end|>"),
        (LOOP + OF_ROLE + ": {{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}", "</s>"),
        (LOOP + "{% if m.role == 'user' %}<s>[INST] {{ m.content }} [/INST]{% else %} {{ m.content }} </s>{% endif %}"
         "{% endfor %}", "</s>"),
        (LOOP + OF_ROLE + ": {{ m.content }}\n{% endfor %}", None),
        (LOOP + "<|{{ m.role }}|>{{ m.content }}{% endfor %}", None),
    ],
)  # fmt: skip
def test_the_end_of_an_answer(vocabulary: HuggingFaceVocabulary, template: str, closing: str | None) -> None:
    found = find_closing(ChatTemplate(template, "test"), vocabulary)
    assert (None if found is None else vocabulary.piece(found)) == closing


def test_the_builtin_templates_end_answers_with_their_own_markers() -> None:
    from itx.compare.template import read_template

    expected = {"chatml": "<|im_end|>", "gemma": "<end_of_turn>", "llama3": "<|eot_id|>"}
    for name, mark in expected.items():
        tokenizer = build_tokenizer()
        starts = ["<|im_start|>", "<start_of_turn>", "<|start_header_id|>", "<|end_header_id|>"]
        tokenizer.add_special_tokens(
            {"additional_special_tokens": [*starts, *expected.values()]}, replace_extra_special_tokens=False
        )
        of = HuggingFaceVocabulary(tokenizer, "")
        found = find_closing(read_template(name), of)
        assert found is not None
        assert of.piece(found) == mark
