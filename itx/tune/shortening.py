"""Shortened responses, the paper's mitigation of long ones: at most so many words, whole sentences where it can be."""

from __future__ import annotations

import re

_WORD = re.compile(r"\S+")
_SENTENCE_END = re.compile(r"""[.!?…。！？]["'”’»)\]]*$""")
_NEAR = 0.5
"""A sentence end counts as near where at least this share of the allowed words stands before it."""


def shorten(text: str, words: int) -> str:
    """Return the first ``words`` words of a text (runs of what is no white space), or the text where it has no more.

    Cut at the last sentence end among them where that keeps at least half of them, else behind the last word.
    """
    found = list(_WORD.finditer(text))
    if len(found) <= words:
        return text
    kept = found[:words]
    for number in range(len(kept), 0, -1):
        if number < _NEAR * words:
            break
        if _SENTENCE_END.search(kept[number - 1].group()):
            return text[: kept[number - 1].end()]
    return text[: kept[-1].end()]
