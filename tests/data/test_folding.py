from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from itx.data.folding import fold, fold_words

_TRICKY = (
    "aZéß5٣-−+#'’´.,٫ \n_*\u0301\u0345\u200d\u00ad\ufe0fเกำิกຳ한ᄒ\u1161\u11a8カ\uff76\uff9e"
    "゛½²™ﷺİſ的第々ー♯🎉\ud800\0\x1b"
)
_texts = st.one_of(st.text(max_size=60), st.text(alphabet=_TRICKY, max_size=25), st.text(st.characters(), max_size=30))

_WORDS = [
    ("The Cat,  sat!", ["the", "cat", "sat"]),
    ("don't don’t don‘t donʼt don＇t don´t", ["don't"] * 6),
    ("rock 'n' roll, the students' ''quoted''", ["rock", "n", "roll", "the", "students", "quoted"]),
    ("well-known re\u2011entry snake_case a/b", ["well", "known", "re", "entry", "snake", "case", "a", "b"]),
    ("**Bold** _it_ `code` ~~gone~~ # Head\n- item", ["bold", "it", "code", "gone", "head", "item"]),
    ("C++ C# C F#. C♯ C＋＋", ["c++", "c#", "c", "f#", "c#", "c++"]),
    ("C++11 C++语言 C#で A+", ["c++", "11", "c++", "语", "言", "c#", "で", "a+"]),
    ("a+b ## Heading ## x+=1 C+++", ["a", "b", "heading", "x+", "1", "c"]),
    ("-5 −5 5 x-5 2020-2021 (3,-5) --5", ["-5", "-5", "5", "x", "5", "2020", "2021", "3", "-5", "-5"]),
    ("温-5度", ["温", "-5", "度"]),
    ("3.14 1,000 1.2.3 end. 5, 6 v3.1 .5", ["3.14", "1,000", "1.2.3", "end", "5", "6", "v3.1", "5"]),
    ("café cafe\u0301 CAFÉ ｃａｆé", ["café"] * 4),
    ("Straße STRASSE ﬁne ①", ["strasse", "strasse", "fine", "1"]),
    ("1½ cups Python™ 5㎏", ["1", "1", "2", "cups", "python", "5kg"]),
    ("हिन्दी में", ["हिन्दी", "में"]),
    ("שָׁלוֹם", ["שָׁלוֹם"]),
    ("中文 词2个", ["中", "文", "词", "2", "个"]),
    ("カタカナ が か\u3099 ｶﾞ", ["カ", "タ", "カ", "ナ", "が", "が", "ガ"]),
    ("น้ำ กิน ๑๒", ["น\u0e49\u0e4dา", "กิ", "น", "๑๒"]),
    ("한국어 \u1112\u1161\u11ab", ["한국어", "한"]),
    ("co\u00adoperate a\u200db \ufeffx me\u200bus", ["cooperate", "ab", "x", "me", "us"]),
    ("a\0b \x1b[31mred\x1b[0m \ud800x\udfff", ["a", "b", "31mred", "0m", "x"]),
    ("❤️ 🎉 \u0301 ...", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "words"), _WORDS)
def test_words(text: str, words: list[str]) -> None:
    assert fold_words(text) == [unicodedata.normalize("NFC", word) for word in words]
    assert fold(text).words == fold_words(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The **Straße**, İzmir!", ["The", "Straße", "İzmir"]),
        ("e\u0301a don’t −5 C++.", ["e\u0301a", "don’t", "−5", "C++"]),
        ("ｶﾞ น้ำ½x", ["ｶﾞ", "น้ำ", "½", "½x"]),
        ("ﬃ ﷺ", ["ﬃ", "ﷺ", "ﷺ", "ﷺ", "ﷺ"]),
        ("co\u00adop", ["co\u00adop"]),
    ],
)
def test_places_are_those_of_the_original(text: str, shown: list[str]) -> None:
    folded = fold(text)
    assert [text[start:end] for start, end in zip(folded.starts, folded.ends, strict=True)] == shown


@settings(max_examples=1500, deadline=None)
@given(_texts)
@example("c#-5 c++-5 x'-5 1.,5 '.5")
@example(" \u0301a\u0345b")
def test_both_ways_of_folding_agree(text: str) -> None:
    folded = fold(text)
    assert folded.words == fold_words(text)
    assert len(folded.words) == len(folded.starts) == len(folded.ends)
    assert folded.starts == sorted(folded.starts) and folded.ends == sorted(folded.ends)
    for word, start, end in zip(*folded, strict=True):
        assert 0 <= start < end <= len(text)
        assert word in fold_words(text[start:end])
        assert not set(word) & set(" \n\0")
        word.encode()


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_composed_and_decomposed_texts_fold_alike(text: str) -> None:
    words = fold_words(text)
    assert fold_words(unicodedata.normalize("NFC", text)) == words
    assert fold_words(unicodedata.normalize("NFD", text)) == words


@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_case_folds(text: str) -> None:
    assert fold_words(text.upper()) == fold_words(text.lower()) == fold_words(text)


def test_every_character_folds_alike_in_both_ways() -> None:
    signs = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cn", "Co")]
    signs = [
        sign for sign in signs if not "\u4e00" < sign < "\u9fff" and not "\uac01" < sign < "\ud7a2" and sign < "𠀁"
    ]
    assert len(signs) > 20_000
    for at in range(0, len(signs), 100):
        text = " ".join(f"a{sign}b{sign} 5{sign}5 {sign}" for sign in signs[at : at + 100])
        assert fold(text).words == fold_words(text), text


def test_a_megabyte_without_blanks_is_folded_at_once() -> None:
    start = time.perf_counter()
    for text in ("x" * 1_000_000, "é" * 1_000_000, "'" * 1_000_000, "-." * 500_000, "\u0301" * 1_000_000):
        assert fold(text).words == fold_words(text)
    assert time.perf_counter() - start < 20
