"""Checks of what token ids mean to each model: tokenizers, added tokens, padding, ends of responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from itx.doctor.finding import Finding, failed, judge, passed, warned
from itx.doctor.subject import Subject
from itx.models.checks import compare_ends, compare_symbols, compare_texts
from itx.models.contract import Vocabulary

_SHOWN = 3
_SAME = (
    "Compare models with the same tokenizer; check that BASE is what TUNED was made from. Over common spans of the "
    "text they can be compared: --align bytes."
)
_ALIGNED = (
    "With --align bytes they are compared over common spans of the text: with ranks where one token meets one token, "
    "and no KL."
)
_SPANS = "Nothing, where BASE is meant to have another tokenizer; else name the one that TUNED was made from."
_MEANT = "Nothing, where the tuning meant it; else copy base's tokenizer beside the tuned weights."


@dataclass(frozen=True, slots=True)
class Reader:
    """How a model reads text, whether or not its weights could be loaded.

    ``columns`` are its logit columns, None where they are not known; ``reference`` is what was written to name it.
    """

    name: str
    reference: str
    vocabulary: Vocabulary
    template: str | None
    eos: frozenset[int]
    columns: int | None
    adapter: bool = False


def read_reader(subject: Subject, base: Reader | None, trust_remote_code: bool) -> Reader | None:
    """Read how a model reads text from its folder alone, an adapter without a tokenizer as its base does.

    None where neither can be known. Raises WeightsError where its tokenizer cannot be read.
    """
    from itx.models.torch.vocabulary import has_tokenizer, load_vocabulary, read_template

    folder = subject.folder
    assert folder is not None
    if has_tokenizer(folder) or not subject.adapter:
        loaded = load_vocabulary(folder, trust_remote_code=trust_remote_code)
        found = subject.generation.get("eos_token_id", subject.config.get("eos_token_id"))
        ids = [*(found if isinstance(found, list) else [found]), loaded.tokenizer_eos]
        eos = frozenset(token for token in ids if isinstance(token, int))
        columns = subject.config.get("vocab_size")
        template = read_template(folder)
        if subject.adapter and base is not None:
            eos, columns = base.eos, base.columns
        columns = columns if isinstance(columns, int) else None
        return Reader(subject.name, subject.reference.text, loaded, template, eos, columns, subject.adapter)
    if base is None:
        return None
    template = read_template(folder)
    return Reader(subject.name, subject.reference.text, base.vocabulary, template, base.eos, base.columns, True)


def check_tokenizers(base: Reader, tuned: Reader, align: str) -> list[Finding]:
    """Fail where the same text has other ids (where they first differ), or an id means something else.

    Aligned by ``bytes`` such models can be compared: then it is a warning of what that leaves.
    """
    mine, theirs = base.vocabulary, tuned.vocabulary
    if mine is theirs:
        return [passed("tokenizer", tuned.name, "Its tokenizer is base's own, or the same to the byte.")]

    def look() -> list[str]:
        compare_texts(mine, theirs, tuned.name)
        # What is added, and what it is called, has a check of its own; here it only must not contradict.
        compare_symbols(mine, theirs, tuned.name)
        return []

    well = "It reads the probe texts as base does, and no id means something else."
    found = judge("tokenizer", tuned.name, well, _SAME, look)
    if align != "bytes":
        return found
    return [
        warned("tokenizer", each.subject, f"{each.reason} {_ALIGNED}", _SPANS) if each.status == "fail" else each
        for each in found
    ]


def check_added(base: Reader, tuned: Reader) -> list[Finding]:
    """Warn of tokens that base has never seen: they were added, or given a name, by the tuning."""
    mine, theirs = base.vocabulary.symbols, tuned.vocabulary.symbols
    known = set(mine.values())
    fresh = sorted(
        token
        for token, symbol in theirs.items()
        # Engines write one token in several ways (▁ for a blank); what it means is its piece.
        if symbol not in known and not (token in mine and base.vocabulary.piece(token) == tuned.vocabulary.piece(token))
    )
    if not fresh:
        return [passed("added-tokens", tuned.name, "It knows no token that base does not know.")]
    named = ", ".join(f"{tuned.vocabulary.piece(token)!r} ({token})" for token in fresh[:_SHOWN])
    beyond = base.columns is not None and fresh[-1] >= base.columns
    reason = (
        f"It has {len(fresh)} tokens that base has never seen: {named}{' …' * (len(fresh) > _SHOWN)}. "
        + ("Base has no embedding for them" if beyond else "Base's embeddings of them are untrained")
        + ", so its figures at and behind them say nothing."
    )
    remedy = "Give base a context without them: --context plain (or qa); read positions behind them with care."
    return [warned("added-tokens", tuned.name, reason, remedy)]


def check_columns(reader: Reader, base: Reader) -> list[Finding]:
    """Compare logit columns with the ids that the tokenizer knows, and with base's columns."""
    columns, size, name = reader.columns, reader.vocabulary.size, reader.name
    if columns is None:
        return []
    if base.columns is not None and columns != base.columns:
        reason = (
            f"It has {columns} logit columns and base {base.columns}: they are compared over the common "
            f"{min(columns, base.columns)}."
        )
        remedy = "Nothing, where the rest is padding; else add the tokens to base, too (resize_token_embeddings)."
        return [warned("columns", name, reason, remedy)]
    if columns > size:
        return [passed("columns", name, f"{columns - size} of {columns} logit columns are padding that no text uses.")]
    if columns < size:
        reason = f"Its tokenizer knows {size} ids and its head {columns}: the last {size - columns} cannot be scored."
        return [passed("columns", name, f"{reason} A context with one is refused.")]
    return [passed("columns", name, f"Each of its {columns} logit columns is an id of its tokenizer.")]


def check_ends(base: Reader, tuned: Reader) -> list[Finding]:
    """Warn where base and tuned end their responses with other ids."""
    if not tuned.eos:
        remedy = "Set eos_token_id in its generation_config.json."
        return [warned("eos", tuned.name, "No id ends its responses: each goes on to --max-new-tokens.", remedy)]
    remedy = "Set the same eos_token_id in both generation_config.json, unless the tuning changed it on purpose."
    well = "It ends its responses with the ids that base ends them with."
    return judge(
        "eos",
        tuned.name,
        well,
        remedy,
        lambda: compare_ends(base.vocabulary, base.eos, tuned.vocabulary, tuned.eos, tuned.name),
    )


def check_lacking(readers: Sequence[Reader], ids: Sequence[int]) -> list[Finding]:
    """Fail for each model that has no embedding for an id of the context that all models see."""
    findings = []
    for reader in readers:
        lacking = next((token for token in ids if reader.columns is not None and token >= reader.columns), None)
        if lacking is not None:
            reason = f"The context has the id {lacking}, and it knows {reader.columns} ids only."
            remedy = "The tuned model's template uses added tokens: give base its own context with --context plain."
            findings.append(failed("context", reader.name, reason, remedy))
    return findings
