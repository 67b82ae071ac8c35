"""Passages of rows, and the words that can be borrowed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from itx.borrow.passage import Passages
from itx.borrow.words import read_words
from itx.data.folding import fold, fold_words

WORDS = st.sampled_from(["river", "Eel,", "—", "naïve", "东", "京塔", "1,000", "C++", "don’t", "\n", "ÉTÉ", "🎉"])


@given(st.lists(WORDS, min_size=1, max_size=200), st.data())
def test_a_passage_is_of_the_rows_own_text_and_holds_the_words(parts: list[str], data: st.DataObject) -> None:
    text = " ".join(parts)
    folded = fold(text)
    if not folded.words:
        assert Passages().find("r#1", text, ["river"]) is None
        return
    first = data.draw(st.integers(0, len(folded.words) - 1))
    last = data.draw(st.integers(first + 1, min(len(folded.words), first + 12)))
    run = folded.words[first:last]
    example = Passages().find("r#1", text, run)
    assert example is not None
    assert example.row == "r#1"
    assert example.text in text
    assert len(example.text) <= (example.end - example.start) + 2 * 160
    assert fold_words(example.text[example.start : example.end]) == run
    # The first of all places that have the run.
    place = next(place for place in range(len(folded.words)) if folded.words[place : place + len(run)] == run)
    assert text.index(example.text) + example.start <= folded.starts[place]
    if len(text) <= 160:
        assert example.text == text


def test_a_long_row_is_cut_at_blanks() -> None:
    text = f"{'before ' * 60}copper lanterns {'behind ' * 60}".strip()
    example = Passages().find("r#1", text, ["copper", "lanterns"])
    assert example is not None
    assert example.text[example.start : example.end] == "copper lanterns"
    assert set(example.text.split()) == {"before", "copper", "lanterns", "behind"}
    assert 250 < len(example.text) < 336
    assert Passages().find("r#1", text, ["lanterns", "copper"]) is None


def _candidates(text: str, prompt: str = "") -> list[str]:
    words = read_words(text, prompt)
    return [words.folded.words[index] for index in words.candidates]


def test_candidates_are_content_entities_and_digits_that_the_prompt_lacks() -> None:
    text = "Sure! However, the siege of Oldmere lasted 12 days.\n1. A well-known ÉCOLE in C++"
    assert _candidates(text, "Where is OLDMERE’s école? It lasted") == [
        "siege", "oldmere", "12", "days", "well", "known", "c++"
    ]  # fmt: skip
    assert _candidates("I'm sorry, but I cannot help with that.") == []


def test_single_characters_that_carry_grammar_are_no_candidates() -> None:
    assert _candidates("河的桥", "桥") == ["河"]
