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
one word, since it is content whatever its words are. The lists are English; the folder that ``ITX_WORDS`` names may
hold others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

from itx.config import words_folder
from itx.errors import InputError
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


_Words = tuple[list[int], list[int], list[str]]
"""Start, end and plain form of every word."""


def split_words(text: str) -> list[Word]:
    """Return the words of ``text``, in order, not overlapping."""
    return [Word(start=start, end=end, plain=plain) for start, end, plain in zip(*_split(text), strict=True)]


def _split(text: str) -> _Words:
    return _split_signs(text, text.translate(_SIGNS))


def _split_signs(text: str, signs: str) -> _Words:
    spans = [found.span() for found in _WORD.finditer(signs)]
    if text.isascii():
        lower = text.lower()
        plains = [lower[start:end] for start, end in spans]
    else:
        plains = [_plain(text[start:end]) for start, end in spans]
    return [start for start, _ in spans], [end for _, end in spans], plains


class _Signs(dict[int, str]):
    """What each sign is to a word, one letter a sign, found out when it is first met.

    ``a`` of a word, ``A`` a capital, ``d`` a digit, ``m`` a combining mark; ``s``, ``e`` and ``n`` the same in scripts
    without spaces; ``j`` what joins, ``p`` a point or comma, which joins digits; a blank is anything else.
    """

    def __missing__(self, code: int) -> str:
        self[code] = found = _name_sign(chr(code))
        return found


def _name_sign(sign: str) -> str:
    kind = _kind(sign)
    if kind:
        letters = "adm" if kind == "word" else "sen"
        if unicodedata.category(sign)[0] == "M":
            return letters[2]
        if sign.isdigit():
            return letters[1]
        return "A" if kind == "word" and (sign.isupper() or sign.istitle()) else letters[0]
    if sign in _DIGIT_JOINERS:
        return "p"
    return "j" if sign in _JOINERS or sign in _INVISIBLE else " "


_SIGNS = _Signs()
# A combining mark goes with whatever it stands on.
_WORD = re.compile(r"[aAdm](?:[aAdmn]+|j(?=[aAdm])|(?<=d)p(?=d))*|[sen](?:[senm]+|j(?=[sen])|(?<=e)p(?=e))*")


@lru_cache(maxsize=4096)
def _kind(sign: str) -> str:
    """Return ``word``, ``spaceless`` for scripts without spaces, or an empty string."""
    code = ord(sign)
    if code < 0x80:
        return "word" if sign.isalnum() else ""
    if not (sign.isalnum() or unicodedata.category(sign)[0] == "M"):
        return ""
    return "spaceless" if any(low <= code <= high for low, high in _SPACELESS) else "word"


@lru_cache(maxsize=1 << 16)
def _plain(word: str) -> str:
    return unicodedata.normalize("NFKC", word).translate(_APOSTROPHES).casefold()


def _phrases(name: str) -> dict[str, list[tuple[str, ...]]]:
    """Return the list's phrases by first word, the longest first."""
    return _read_phrases(name, words_folder())


@cache
def _read_phrases(name: str, folder: Path | None) -> dict[str, list[tuple[str, ...]]]:
    """Read a list from ``folder``, where it is there, else itx's own. Raises InputError for one that is no text."""
    own = folder / f"{name}.txt" if folder is not None else None
    try:
        if own is not None and own.is_file():
            text = own.read_text(encoding="utf-8")
        else:
            text = _LISTS[name].joinpath("words", f"{name}.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The word list {own} cannot be read: {error}.", "Write it in UTF-8, a phrase a line."
        ) from error
    lines = text.splitlines()
    phrases: dict[str, list[tuple[str, ...]]] = {}
    for line in lines:
        words = tuple(word.plain for word in split_words(line))
        if words and not line.startswith("#"):
            phrases.setdefault(words[0], []).append(words)
    return {first: sorted(found, key=len, reverse=True) for first, found in phrases.items()}


def _match(text: str, words: _Words, name: str) -> set[int]:
    """Return the indices of the words that lie in a phrase of the list."""
    phrases = _phrases(name)
    starts, ends, plains = words
    found: set[int] = set()
    for index in [index for index, plain in enumerate(plains) if plain in phrases]:
        for phrase in phrases[plains[index]]:
            last = index + len(phrase)
            if tuple(plains[index:last]) == phrase and all(
                text[ends[place] : starts[place + 1]].isspace() for place in range(index, last - 1)
            ):
                found.update(range(index, last))
                break
    return found


def _is_entity(text: str, words: _Words, index: int) -> bool:
    """Return whether a capitalised word is within a sentence."""
    starts, ends, plains = words
    if index == 0:
        return False
    gap = text[ends[index - 1] : starts[index]]
    if gap == " ":
        return True
    if gap.lstrip(" ").startswith(".") and "\n" not in gap:
        before = starts[index - 1]
        if plains[index - 1] in _ABBREVIATIONS or (ends[index - 1] - before == 1 and text[before].isupper()):
            return True
    return not _SENTENCE_END.search(gap)


def name_words(text: str, words: Sequence[Word]) -> list[str]:
    """Return the category of every word."""
    split = ([word.start for word in words], [word.end for word in words], [word.plain for word in words])
    return _name(text, text.translate(_SIGNS), split)


def _name(text: str, signs: str, words: _Words) -> list[str]:
    starts, _, plains = words
    function = _phrases("function")
    names = ["function" if plain in function else "content" for plain in plains]
    for index in [index for index, start in enumerate(starts) if signs[start] in "Ade"]:
        if signs[starts[index]] != "A":
            names[index] = "digit"
        elif names[index] == "content" and _is_entity(text, words, index):
            names[index] = "entity"
    # What comes first in the order of kinds is set last.
    places = {start: index for index, start in enumerate(starts)}
    for number in _line_numbers(text):
        for group in (1, 2):
            if (found := places.get(number.start(group))) is not None:
                names[found] = "format"
    for name in ("style", "refusal"):
        for index in _match(text, words, name):
            names[index] = name
    return names


def _line_numbers(text: str) -> list[re.Match[str]]:
    return [match for match in _LIST_NUMBER.finditer(text) if match.start() == 0 or text[match.start() - 1] == "\n"]


def categories(response: Response, pieces: Mapping[int, str]) -> list[str]:
    """Return the category of every position, EOS included.

    A position that covers several words has the first one's. A position that completes no character (a part of a
    multi-byte one) has the category of the character it begins; where the text ends before that, its piece decides.
    """
    text = response.text
    signs = text.translate(_SIGNS)
    words = _split_signs(text, signs)
    names = _name(text, signs, words)
    starts, behinds, _ = words
    size, index, last, start = len(text), 0, len(starts), 0
    first, behind = (starts[0], behinds[0]) if last else (size, size)
    found: list[str] = []
    for position, end in enumerate(response.ends[: response.length]):
        # Ends rise, and so does the first word that ends behind a position's start.
        while index < last and behind <= start:
            index += 1
            first, behind = (starts[index], behinds[index]) if index < last else (size, size)
        if index < last and first < (end if end > start else start + 1):
            found.append(names[index])
        elif start < size:
            found.append("format")
        else:
            own = pieces.get(response.ids[position], "")
            found.append("content" if any(_kind(sign) for sign in own) and not own.startswith("<") else "format")
        start = end
    return found + ["eos"] * (len(response.ids) - response.length)
