"""Which models of a run mean the same by a token id, and what is done where they do not.

By default such models are refused. Aligned by bytes, each pair of them is compared over the common spans of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from itx.errors import MismatchError, UsageError
from itx.models.checks import check_ids, compare_symbols, compare_texts
from itx.models.contract import Engine

ALIGNMENTS = ("ids", "bytes")


class Families(NamedTuple):
    """Models by tokenizer, base's first, each in the order of the run; and what a reader must know."""

    groups: list[list[Engine]]
    warnings: list[str]

    def find(self, name: str) -> list[Engine]:
        """Return the models that have one tokenizer with the model ``name``."""
        return next(group for group in self.groups if any(engine.name == name for engine in group))


def check_alignment(align: str) -> None:
    """Raise UsageError where ``align`` is none of the ways there are."""
    if align not in ALIGNMENTS:
        raise UsageError(f"--align {align!r} is no way to align models.", f"Use one of: {', '.join(ALIGNMENTS)}.")


def group_tokenizers(base: Engine, tuned: Sequence[Engine], align: str) -> Families:
    """Return the models by tokenizer.

    Raises MismatchError where there are two and ``align`` is not ``bytes``.
    """
    if align != "bytes":
        try:
            return Families([[base, *tuned]], check_ids(base, tuned))
        except MismatchError as error:
            raise MismatchError(
                error.cause, f"{error.remedy} Over common spans of the text they can be compared: --align bytes"
            ) from error
    groups = [[base]]
    warnings: list[str] = []
    for engine in tuned:
        try:
            warnings += check_ids(base, [engine])
            groups[0].append(engine)
        except MismatchError:
            home = next((group for group in groups[1:] if _share_ids(group[0], engine)), None)
            if home is None:
                groups.append([engine])
            else:
                home.append(engine)
    leader = tuned[0]
    warnings += [
        f"{', '.join(engine.name for engine in group)} has another tokenizer than {leader.name}: they are compared "
        "over common spans of the text, with ranks where one token meets one token and no KL. The prompt is the same "
        "text to both; the chat template's markers may be plain text to one of them."
        for group in groups
        if leader not in group
    ]
    return Families(groups, warnings)


def _share_ids(one: Engine, other: Engine) -> bool:
    try:
        compare_texts(one.vocabulary, other.vocabulary, other.name)
        compare_symbols(one.vocabulary, other.vocabulary, other.name)
    except MismatchError:
        return False
    return True
