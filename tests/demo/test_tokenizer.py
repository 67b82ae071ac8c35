"""The shipped tokenizer: every string comes back, markers are single ids, nothing is added unasked."""

from __future__ import annotations

import filecmp
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from itx.demo import folder
from itx.demo.dialogue import MARKERS, converse


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder("base"))
    return loaded


@given(st.text())
def test_any_text_round_trips(text: str) -> None:
    ids = tokenizer().encode(text, add_special_tokens=False)
    assert tokenizer().decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("text", ["🌊", "Enjoy! 🐉🦑", "naïve Ærø", "日本語", "a\tb\n\n c", "👩‍🚀", "\x00\x1b[31m"])
def test_emoji_and_other_scripts_round_trip(text: str) -> None:
    assert tokenizer().decode(tokenizer().encode(text, add_special_tokens=False)) == text


def test_a_character_may_be_split_over_several_tokens() -> None:
    ids = tokenizer().encode("🦑", add_special_tokens=False)
    assert len(ids) > 1
    assert "\ufffd" in tokenizer().decode(ids[:1])


def test_each_marker_is_one_id() -> None:
    for marker in MARKERS:
        assert len(tokenizer().encode(marker, add_special_tokens=False)) == 1
    assert tokenizer().eos_token == "<|end|>"


def test_there_is_no_bos_to_double() -> None:
    loaded = tokenizer()
    assert loaded.bos_token_id is None
    assert loaded.encode("Velm Ferry") == loaded.encode("Velm Ferry", add_special_tokens=False)


def test_the_chat_template_writes_what_the_corpus_has() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "Who?"},
    ]
    rendered = tokenizer().apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == converse([("Hello!", "Good day."), ("Who?", "")], "Be brief.")
    without = tokenizer().apply_chat_template(messages, tokenize=False)
    assert rendered == f"{without}<|assistant|>"


def test_the_template_refuses_a_role_it_does_not_know() -> None:
    with pytest.raises(Exception, match="system, user and assistant"):
        tokenizer().apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_base_and_full_share_the_tokenizer(name: str) -> None:
    assert filecmp.cmp(folder("base") / name, folder("full") / name, shallow=False)
