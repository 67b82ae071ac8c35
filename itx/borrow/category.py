"""What kind of word a position belongs to: the column ``category`` of the tidy table.

A category is a word's, not a piece's: every position of a word has the word's category. The first that fits of

``eos``       the closing EOS;
``refusal``   a word of a phrase in ``words/refusal.txt``;
``style``     a word of a phrase in ``words/style.txt``;
``format``    no word at all: punctuation, symbols and emoji, white space, Markdown; and the number of a list item;
``digit``     a word that starts with a digit;
``function``  a word in ``itx/data/words/function.txt``;
``entity``    capitalised, not at the start of a sentence or line;
``content``   every other word.

A word is a run of letters, digits and combining marks, with single apostrophes, hyphens and (between digits) points
and commas inside. In scripts written without spaces (Chinese, Japanese, Thai, Khmer, …) a run of the script counts as
one word, since it is content whatever its words are. The lists are English.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise

from itx.records import Record, Response

INITIATION = 5
"""The first positions of a response, which the column ``initiation`` marks."""

_JOINERS = "'’‘ʼ-‐‑"
_INVISIBLE = "\u200c\u200d"
_DIGIT_JOINERS = ".,"
_APOSTROPHES = str.maketrans("’‘ʼ‐‑", "'''--")
_ABBREVIATIONS = {"mr", "mrs", "ms", "dr", "st", "prof", "gen", "col", "capt", "lt", "sgt", "rev", "mt", "no", "vs"}
_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # CJK radicals
    (0x3005, 0x3007),
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x9FFF),  # CJK ideographs
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)
_LISTS = {"refusal": files("itx.borrow"), "style": files("itx.borrow"), "function": files("itx.data")}
_LIST_NUMBER = re.compile(r"[ \t>*_#-]*(?:(\d{1,3})[.)]|([A-Za-z])\))(?=\s|\*|$)", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?…:。！？]\W*\Z|\n\W*\Z")


class Word(Record, frozen=True, kw_only=True):
    """A word of a text: its characters (``end`` exclusive) and the form the lists are asked for."""

    start: int
    end: int
    plain: str


def split_words(text: str) -> list[Word]:
    """Return the words of ``text``, in order, not overlapping."""
    kinds = list(map(_kind, text))
    words: list[Word] = []
    start = 0
    while start < len(text):
        kind = kinds[start]
        if not kind:
            start += 1
            continue
        end = start + 1
        while end < len(text) and (kinds[end] == kind or _continues(text, kinds, end, kind)):
            end += 1
        words.append(Word(start=start, end=end, plain=_plain(text[start:end])))
        start = end
    return words


@lru_cache(maxsize=4096)
def _kind(sign: str) -> str:
    """Return ``word``, ``spaceless`` for scripts without spaces, or an empty string."""
    code = ord(sign)
    if code < 0x80:
        return "word" if sign.isalnum() else ""
    if not (sign.isalnum() or unicodedata.category(sign)[0] == "M"):
        return ""
    return "spaceless" if any(low <= code <= high for low, high in _SPACELESS) else "word"


def _continues(text: str, kinds: Sequence[str], end: int, kind: str) -> bool:
    """Return True where the sign at ``end``, of another kind than the word's, is still within the word."""
    sign = text[end]
    if kinds[end]:
        # A combining mark goes with whatever it stands on.
        return unicodedata.category(sign)[0] == "M"
    if end + 1 >= len(text) or kinds[end + 1] != kind:
        return False
    if sign in _DIGIT_JOINERS:
        return text[end - 1].isdigit() and text[end + 1].isdigit()
    return sign in _JOINERS or sign in _INVISIBLE


def _plain(word: str) -> str:
    return unicodedata.normalize("NFKC", word).translate(_APOSTROPHES).casefold()


@cache
def _phrases(name: str) -> dict[str, list[tuple[str, ...]]]:
    """Return the list's phrases by first word, the longest first."""
    lines = _LISTS[name].joinpath("words", f"{name}.txt").read_text(encoding="utf-8").splitlines()
    phrases: dict[str, list[tuple[str, ...]]] = {}
    for line in lines:
        words = tuple(word.plain for word in split_words(line))
        if words and not line.startswith("#"):
            phrases.setdefault(words[0], []).append(words)
    return {first: sorted(found, key=len, reverse=True) for first, found in phrases.items()}


def _match(text: str, words: Sequence[Word], name: str) -> set[int]:
    """Return the indices of the words that lie in a phrase of the list."""
    phrases = _phrases(name)
    found: set[int] = set()
    for index, word in enumerate(words):
        for phrase in phrases.get(word.plain, ()):
            part = words[index : index + len(phrase)]
            if tuple(each.plain for each in part) == phrase and all(
                text[early.end : late.start].isspace() for early, late in pairwise(part)
            ):
                found.update(range(index, index + len(phrase)))
                break
    return found


def _is_entity(text: str, words: Sequence[Word], index: int) -> bool:
    word = words[index]
    if not (text[word.start].isupper() or text[word.start].istitle()) or index == 0:
        return False
    before = words[index - 1]
    gap = text[before.end : word.start]
    if gap.lstrip(" ").startswith(".") and "\n" not in gap and _is_abbreviation(text, before):
        return True
    return not _SENTENCE_END.search(gap)


def _is_abbreviation(text: str, word: Word) -> bool:
    return word.plain in _ABBREVIATIONS or (word.end - word.start == 1 and text[word.start].isupper())


def name_words(text: str, words: Sequence[Word]) -> list[str]:
    """Return the category of every word."""
    refusal, style = _match(text, words, "refusal"), _match(text, words, "style")
    function = _phrases("function")
    numbers = {match.start(group) for match in _line_numbers(text) for group in (1, 2)}
    names: list[str] = []
    for index, word in enumerate(words):
        if index in refusal:
            names.append("refusal")
        elif index in style:
            names.append("style")
        elif word.start in numbers:
            names.append("format")
        elif text[word.start].isdigit():
            names.append("digit")
        elif word.plain in function:
            names.append("function")
        else:
            names.append("entity" if _is_entity(text, words, index) else "content")
    return names


def _line_numbers(text: str) -> list[re.Match[str]]:
    return [match for match in _LIST_NUMBER.finditer(text) if match.start() == 0 or text[match.start() - 1] == "\n"]


def categories(response: Response, pieces: Mapping[int, str]) -> list[str]:
    """Return the category of every position, EOS included.

    A position that covers several words has the first one's. A position that completes no character (a part of a
    multi-byte one) has the category of the character it begins; where the text ends before that, its piece decides.
    """
    text = response.text
    words = split_words(text)
    names = name_words(text, words)
    starts = [word.start for word in words]
    found: list[str] = []
    for position, token in enumerate(response.ids):
        if position >= response.length:
            found.append("eos")
            continue
        start, end = response.span(position)
        if start == end and start < len(text):
            end = start + 1
        index = bisect_right(starts, start) - 1
        if index < 0 or words[index].end <= start:
            index += 1
        if index < len(words) and words[index].start < end:
            found.append(names[index])
        elif start < len(text):
            found.append("format")
        else:
            own = pieces.get(token, "")
            found.append("content" if any(_kind(sign) for sign in own) and not own.startswith("<") else "format")
    return found
