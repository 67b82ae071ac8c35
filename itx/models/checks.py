"""The cheap checks at load: what would make a comparison lie is found before the first token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itx.errors import MismatchError
from itx.models.contract import Engine, Vocabulary

PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "  Two spaces, a tab\tand\n\nan empty line: 3.14159, 2026-11-22, $1,234.56 (10 %).",
    "def add(a, b):\n    return a + b  # häßlich, naïve, Łódź, Ελλάδα, Москва, ไทย",
    "東京の春は美しい。한국어도 씁니다. العربية 🌸👩‍🚀",
)
"""Texts that every pair of vocabularies must read as the same ids."""

_PROBED = 12
"""Ids of a context, and as many of a text, that a probe of the logits feeds."""
_REFUSAL = "Compare models with the same tokenizer; check that BASE is what TUNED was made from."


def check_ids(base: Engine, tuned: Sequence[Engine]) -> list[str]:
    """Return warnings on how far the models agree on what a token id means.

    Raises MismatchError where they do not: where a probe text has other ids, or an id means something else. A place
    that was kept free for added tokens may have been given a name of its own by the tuning; that is a warning.
    """
    warnings: list[str] = []
    for engine in tuned:
        # Not by fingerprint: it is of the tokenizer's file, and its config beside it adds tokens, too.
        if engine.vocabulary is not base.vocabulary:
            compare_texts(base.vocabulary, engine.vocabulary, engine.name)
            warnings += compare_symbols(base.vocabulary, engine.vocabulary, engine.name)
        if engine.vocab_size != base.vocab_size:
            common = min(engine.vocab_size, base.vocab_size)
            warnings.append(
                f"{engine.name} has {engine.vocab_size} logit columns and base {base.vocab_size}: "
                f"they are compared over the common {common} ids."
            )
        warnings += compare_ends(base.vocabulary, base.eos, engine.vocabulary, engine.eos, engine.name)
        warnings += compare_precision(base, engine)
    return warnings


def compare_ends(
    mine: Vocabulary, ends: frozenset[int], theirs: Vocabulary, others: frozenset[int], name: str
) -> list[str]:
    """Return a warning where base (``mine``, ``ends``) and the model ``name`` end their responses with other ids."""
    if ends == others:
        return []
    return [
        f"{name} ends its responses with {_name_ids(theirs, others)} and base with {_name_ids(mine, ends)}: "
        "each stops at its own."
    ]


def compare_precision(base: Engine, engine: Engine) -> list[str]:
    """Return a warning where two models differ in quantisation or dtype: what rounding loses would count as shift."""
    if engine.quantization != base.quantization:
        return [
            f"{engine.name} has its weights in {engine.quantization or engine.dtype} and base in "
            f"{base.quantization or base.dtype}: what quantisation loses counts as shift."
        ]
    if engine.dtype == base.dtype:
        return []
    return [f"{engine.name} computes in {engine.dtype} and base in {base.dtype}: rounding adds shift."]


def check_effect(base: Engine, tuned: Sequence[Engine], ids: Sequence[int]) -> list[str]:
    """Return a warning for each tuned model whose logits behind a probe are base's own to the bit.

    ``ids`` are a context with the chat's markers; text follows them, because some tunings show only in attention to
    what went before. One short forward pass a model. Raises MemoryExhaustedError.
    """
    known = min(engine.vocab_size for engine in [base, *tuned])
    probe = [token for token in [*ids[:_PROBED], *base.vocabulary.encode(PROBES[0])[:_PROBED]] if token < known]
    before = _probe(base, probe)
    warnings = []
    for engine in tuned:
        width = min(engine.vocab_size, base.vocab_size)
        if not engine.adapter and engine.fingerprint == base.fingerprint:
            warnings.append(f"{engine.name} has the same weights as base: nothing was tuned.")
        elif np.array_equal(_probe(engine, probe)[:, :width], before[:, :width]):
            warnings.append(
                f"{engine.name} changes nothing that a probe prompt shows: its logits are exactly base's. "
                "Check that its weights were saved after the tuning, and the scale (lora_alpha) of an adapter."
            )
    return warnings


def _probe(engine: Engine, ids: Sequence[int]) -> NDArray[np.float32]:
    return engine.arithmetic.export(engine.read(ids))


def check_context(engine: Engine, ids: Sequence[int]) -> list[str]:
    """Return warnings on a context as made for a probe prompt: its BOS."""
    bos = engine.vocabulary.bos
    if bos is not None and engine.vocabulary.adds_bos and bos in ids[1:]:
        return [f"The chat template puts BOS within the context of {engine.name}, not only before it."]
    return []


def _name_ids(vocabulary: Vocabulary, ids: frozenset[int]) -> str:
    return ", ".join(f"{vocabulary.piece(token)} ({token})" for token in sorted(ids)) or "nothing"


def compare_texts(base: Vocabulary, vocabulary: Vocabulary, name: str) -> None:
    """Raise MismatchError where base and the model ``name`` read a probe text as other ids: where they first differ."""
    for probe in PROBES:
        mine, theirs = base.encode(probe), vocabulary.encode(probe)
        if mine == theirs:
            continue
        place = next(
            (place for place, (one, other) in enumerate(zip(mine, theirs, strict=False)) if one != other),
            min(len(mine), len(theirs)),
        )
        before = "".join(base.piece(token) for token in mine[:place])
        raise MismatchError(
            f"base and {name} do not share a tokenizer: after {before[-40:]!r} base reads "
            f"{_name_piece(base, mine, place)} and {name} {_name_piece(vocabulary, theirs, place)}.",
            _REFUSAL,
        )


def _name_piece(vocabulary: Vocabulary, ids: Sequence[int], place: int) -> str:
    if place >= len(ids):
        return "the end"
    return f"{vocabulary.piece(ids[place])!r} ({ids[place]})"


def compare_symbols(base: Vocabulary, vocabulary: Vocabulary, name: str) -> list[str]:
    """Compare all ids that base and the model ``name`` know, and return warnings on the others and on renamed ones.

    Raises MismatchError where an id means something else.
    """
    mine, theirs = base.symbols, vocabulary.symbols
    places = {symbol: token for token, symbol in mine.items()}
    others = {symbol: token for token, symbol in theirs.items()}
    reserved = base.added & vocabulary.added
    renamed: list[str] = []
    for token in sorted(mine.keys() & theirs.keys()):
        if mine[token] == theirs[token]:
            continue
        one, other = base.piece(token), vocabulary.piece(token)
        if one == other:
            continue
        said = f"{one!r} for base and {other!r} for {name}"
        if token not in reserved or mine[token] in others or theirs[token] in places:
            raise MismatchError(f"The id {token} is {said}.", _REFUSAL)
        renamed.append(f"{token} ({said})")
    warnings = []
    if renamed:
        warnings.append(
            f"{len(renamed)} added tokens have other names: {'; '.join(renamed[:3])}{' …' * (len(renamed) > 3)}."
        )
    for longer, shorter, count in (
        (name, "base", len(theirs.keys() - mine.keys())),
        ("base", name, len(mine.keys() - theirs.keys())),
    ):
        if count:
            warnings.append(f"{longer} has {count} added tokens that {shorter} lacks.")
    return warnings
