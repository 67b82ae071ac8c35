"""The markers of a chat template, and how a tokenizer reads them."""

from __future__ import annotations

import re

from itx.compare.template import ChatTemplate
from itx.models.contract import Vocabulary
from itx.records import Message

ASKED, _ANSWERED, _ASKED_AGAIN = "Qzx", "Vjk", "Wqf"
"""Words of a conversation that stand in no template, so that what is around them is the template's."""
_MARKER = re.compile(r"<[|｜]?/?[A-Za-z_][\w▁ -]{0,40}[|｜]?>|\[/?[A-Z_]{2,}\]|<</?[A-Z]{2,}>>")


def split_markers(text: str, vocabulary: Vocabulary, leader: Vocabulary) -> tuple[list[str], dict[str, list[int]]]:
    """Return the markers in a rendered text, and those that ``vocabulary`` reads as several ids, with these.

    What looks like one is a marker, and what is a special token to ``leader``.
    """
    found = dict.fromkeys(match[0] for match in _MARKER.finditer(text))
    found |= dict.fromkeys(leader.piece(token) for token in leader.encode(text) if token in leader.special)
    split = {mark: vocabulary.encode(mark) for mark in found}
    return list(found), {mark: ids for mark, ids in split.items() if len(ids) > 1}


def find_closing(template: ChatTemplate, vocabulary: Vocabulary) -> int | None:
    """Return the special id with which the template ends an answer, or None where it ends it with text or nothing.

    The first marker between an answer and the next question is it, unless it begins the question: then it is the only
    one there, and stands in front of the first question, too. Raises TemplateError where the template refuses.
    """
    turns = [("user", ASKED), ("assistant", _ANSWERED), ("user", _ASKED_AGAIN)]
    text = template.render([Message(role=role, content=content) for role, content in turns], vocabulary.variables)
    before, _, rest = text.partition(ASKED)
    between = rest.partition(_ANSWERED)[2].partition(_ASKED_AGAIN)[0].lstrip()
    ids = vocabulary.encode(between)
    if not ids or ids[0] not in vocabulary.special:
        return None
    alone = not any(token in vocabulary.special for token in ids[1:])
    return None if alone and before.endswith(between) else ids[0]
