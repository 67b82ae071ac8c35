"""Words as matching sees them: case, white space, punctuation and ways to write the same character folded away.

A word is a run of letters, digits and combining marks, after NFKC and full case folding. Within it stay an apostrophe
between letters (``don't``, however it is written), a point or comma between digits (``3.14``, ``1,000``), ``+``,
``++`` or ``#`` at its end (``C++``, ``C#``) and a minus at its start before a digit (``-5``). Everything else parts
words: hyphens, underscores, Markdown, emoji, control characters, lone surrogates. Characters that are not seen (soft
hyphens, joiners, variation selectors, direction marks) are as if they were not there. In scripts written without
spaces (Han, kana, Bopomofo, Thai, Lao, Khmer, Myanmar) one character with its marks is one word; their digits are
digits. A mark that stands on no letter or digit is no word.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby
from typing import NamedTuple

import regex

_UNSEEN = (
    "\u00ad\u034f\u061c\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e0fff"
)
# Of these, NFKC makes something else than the reader sees: a mark on a blank, letters, or "11/2" of "1½".
_WRITTEN = {
    **dict.fromkeys("’‘ʼʻ‛′´", "'"),
    "♯": "#",
    **dict.fromkeys("™℠", " "),
    **{sign: " " + unicodedata.normalize("NFKC", sign) for sign in "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅟↉"},
}
_PREPARED = re.compile(f"[{_UNSEEN}{''.join(_WRITTEN)}]")

# What may change, under NFKC, with the character before it: marks, Hangul vowels and finals, halfwidth forms of both,
# Thai and Lao AM, and the vowels of Kirat Rai. A text can be normalised piece by piece if none begins with one.
_DEPENDENT = rf"\p{{M}}\u0e33\u0eb3\u1160-\u11ff\u3131-\u318e\ud7b0-\ud7fb\uff9e-\uffdc\U00016d63\U00016d67{_UNSEEN}"
_PIECE = regex.compile(rf"(?s)[\x00-\x7f]+(?![{_DEPENDENT}])|.[{_DEPENDENT}]*")

_SPACELESS = (
    r"[[[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u3006\u303c\u30fc]"
    r"&&[\p{L}\p{N}]]--\p{Nd}]"
)
_RUNNING = rf"[[\p{{L}}\p{{N}}]--{_SPACELESS}]"
_WORD = regex.compile(
    rf"""(?V1x)
    {_SPACELESS} (?: \p{{M}} | (?<=\u0e4d)\u0e32 | (?<=\u0ecd)\u0eb2 )*
    | (?: (?<![{_RUNNING}\p{{M}}+\#]) - (?=\p{{Nd}}) )?
      {_RUNNING} (?: [{_RUNNING}\p{{M}}] | '(?={_RUNNING}) | (?<=\p{{Nd}})[.,٫٬](?=\p{{Nd}}) )*
      (?: (?<=[\p{{L}}\p{{M}}]) (?: \+\+(?![+\#]) | [+\#](?![+\#]|{_RUNNING}) ) )?
    """
)

# The same words of ASCII, in lower case: blank what is never in one, then what is not in one where it stands.
_BLANKED = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) in "'+#.,-")}
_LOWERED = {**_BLANKED, **{code: chr(code).lower() for code in range(65, 91)}}
_LONE = re.compile(r"'(?:(?<![a-z0-9]')|(?![a-z0-9]))|[.,](?:(?<![0-9][.,])|(?![0-9]))|-(?:(?<=[a-z0-9+#]-)|(?![0-9]))")
_SUFFIX = re.compile(r"((?<=[a-z])(?:\+\+(?![+#])|[+#](?![+#a-z0-9])))|[+#]+")
_PLAIN_WORD = re.compile(
    r"(?:[a-z0-9]|(?<![a-z0-9+#])-(?=[0-9]))[a-z0-9]*(?:(?:'(?=[a-z0-9])|(?<=[0-9])[.,](?=[0-9]))[a-z0-9]*)*"
    r"(?:(?<=[a-z])(?:\+\+(?![+#])|[+#](?![+#a-z0-9])))?"
)
# What makes English text leave ASCII most often, none of it of meaning to folding.
_TYPOGRAPHY = (("’", "'"), ("“", " "), ("”", " "), ("—", " "), ("–", " "), ("…", " "), ("•", " "), ("\u00a0", " "))


class Folded(NamedTuple):
    """The words of a text and where they stand in it: characters of the original text, ``ends`` exclusive.

    Both are in order. Words that come of one character (``½`` is 1 and 2) share it.
    """

    words: list[str]
    starts: list[int]
    ends: list[int]


def fold(text: str) -> Folded:
    """Return the words of ``text`` with their exact places, whatever the text holds."""
    if text.isascii():
        matches = list(_PLAIN_WORD.finditer(text.lower()))
        return Folded([match[0] for match in matches], [m.start() for m in matches], [m.end() for m in matches])
    normal: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for piece in _PIECE.finditer(text):
        start, end = piece.span()
        if piece[0].isascii():
            normal.append(piece[0].lower())
            starts.extend(range(start, end))
            ends.extend(range(start + 1, end + 1))
        else:
            normal.append(_normalise(piece[0]))
            starts.extend([start] * len(normal[-1]))
            ends.extend([end] * len(normal[-1]))
    found = list(_WORD.finditer("".join(normal)))
    return Folded(
        [match[0] for match in found],
        [starts[match.start()] for match in found],
        [ends[match.end() - 1] for match in found],
    )


def fold_words(text: str) -> list[str]:
    """Return the words of ``fold(text)`` alone, in a fraction of its time."""
    if not text.isascii():
        for sign, plain in _TYPOGRAPHY:
            text = text.replace(sign, plain)
    if text.isascii():
        return _split_ascii(text)
    words: list[str] = []
    # No word goes over white space, so that most of a text can take the quick way.
    for is_ascii, group in groupby(text.split(), str.isascii):
        part = " ".join(group)
        words += _split_ascii(part) if is_ascii else _WORD.findall(_normalise(part))
    return words


def _split_ascii(text: str) -> list[str]:
    text = _LONE.sub(" ", text.translate(_LOWERED))
    if "+" in text or "#" in text:
        text = _SUFFIX.sub(r"\1 ", text)
    return text.split()


def _normalise(text: str) -> str:
    """Return ``text`` as words are read from it; pieces that begin with nothing dependent can be joined after it."""
    seen = _PREPARED.sub(lambda match: _WRITTEN.get(match[0], ""), text)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    return folded.replace("−", "-")
