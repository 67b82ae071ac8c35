"""Where words begin and end, against the rules applied sign by sign."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from itx.borrow.category import _kind, name_words, split_words

SIGNS = "ab1 2.,'-’‐\u200d\u0301\u0e01\u0e34\u0e50\u0e51日é東\u3099\n️🎉ⅧǅÉA:C+#٣"
JOINERS = "'’‘ʼ-‐‑\u200c\u200d"


def split(text: str) -> list[tuple[int, int]]:
    """Return start and end of every word."""
    words = []
    start = 0
    while start < len(text):
        kind = _kind(text[start])
        end = start + 1
        while kind and end < len(text):
            own, following = _kind(text[end]), _kind(text[end + 1 : end + 2] or " ")
            mark = unicodedata.category(text[end])[0] == "M"
            joins = text[end] in JOINERS and following == kind
            point = text[end] in ".," and following == kind and text[end - 1].isdigit() and text[end + 1].isdigit()
            if not (own == kind or (own and mark) or (not own and (joins or point))):
                break
            end += 1
        if kind:
            words.append((start, end))
        start = end
    return words


@given(text=st.text(st.sampled_from(SIGNS), max_size=14) | st.text(max_size=14))
def test_words_end_where_the_rules_say(text: str) -> None:
    assert [(word.start, word.end) for word in split_words(text)] == split(text)


@given(text=st.text(st.sampled_from(SIGNS), max_size=14) | st.text(max_size=14))
def test_digits_and_capitals_are_seen_in_every_script(text: str) -> None:
    words = split_words(text)
    for word, name in zip(words, name_words(text, words), strict=True):
        if name not in {"format", "refusal", "style"}:
            assert (name == "digit") == text[word.start].isdigit()
        if name == "entity":
            assert text[word.start].isupper() or text[word.start].istitle()
