"""Checks of the chat template: which there is, what it renders to, and what the models make of that."""

from __future__ import annotations

from collections.abc import Sequence

from itx.compare.markers import ASKED, find_closing, split_markers
from itx.compare.template import ChatTemplate, list_builtins, read_template
from itx.doctor.finding import Finding, failed, passed, refused, warned
from itx.doctor.tokens import Reader
from itx.errors import ItxError
from itx.records import Message


def choose_template(
    wanted: str | None, base: Reader, tuned: Sequence[Reader]
) -> tuple[ChatTemplate | None, list[Finding]]:
    """Return the template that a comparison would use, and what is to say of the models' own.

    Raises UsageError where the one asked for cannot be read.
    """
    if wanted is not None:
        template = read_template(wanted)
        return template, [passed("chat-template", "all", f"All see the template of --chat-template {wanted}.")]
    leader = next((reader for reader in [*tuned, base] if reader.template), None)
    if leader is None or leader.template is None:
        reason = "None of the models brings a chat template, and itx does not guess one."
        remedy = (
            f"Pass the one that the tuning used: --chat-template FILE, or a built-in: {', '.join(list_builtins())}."
        )
        return None, [failed("chat-template", "all", reason, remedy)]
    template = ChatTemplate(leader.template, leader.reference)
    findings = []
    for reader in tuned:
        if reader.template is None and reader.adapter and base.template == template.text:
            findings.append(passed("chat-template", reader.name, "It brings none, as an adapter may, and sees base's."))
        elif reader.template is None:
            owner = leader.name if leader in tuned else "base"
            reason = f"It brings no chat template and sees that of {owner}: right only if it was tuned with that."
            findings.append(_warn_of_template(reader, reason))
        elif reader.template != template.text:
            findings.append(_warn_of_template(reader, f"Its chat template is another one than that of {leader.name}."))
        else:
            findings.append(passed("chat-template", reader.name, "It brings the template that all models see."))
    if base.template is not None and base.template != template.text:
        reason = f"Its chat template is another one than that of {leader.name}, which all models see."
        remedy = "Right for seeing what tuning changed in one context; --chat-template names base's instead."
        findings.append(warned("chat-template", base.name, reason, remedy))
    return template, findings


def _warn_of_template(reader: Reader, reason: str) -> Finding:
    remedy = "Pass what it was tuned with: --chat-template FILE or NAME (itx doctor --data DATA says which fits)."
    return warned("chat-template", reader.name, reason, remedy)


def check_rendering(template: ChatTemplate, leader: Reader) -> tuple[str | None, list[Finding]]:
    """Render a question; return the text, or None with the failure."""
    try:
        text = template.render([Message(role="user", content=ASKED)], leader.vocabulary.variables)
    except ItxError as error:
        return None, [refused("context", "all", error)]
    if ASKED not in text:
        reason = f"The template of {template.source} leaves out what the user says."
        return None, [failed("context", "all", reason, "Mend it, or pass another: --chat-template FILE")]
    return text, []


def check_bos(text: str, reader: Reader) -> list[Finding]:
    """Warn where the template writes BOS twice, or in the middle; say where it writes one that the tokenizer adds."""
    vocabulary = reader.vocabulary
    bos = vocabulary.bos
    if bos is None:
        return [passed("bos", reader.name, "Its tokenizer has no BOS.")]
    ids = vocabulary.encode(text)
    mark = vocabulary.piece(bos)
    if ids[:2] == [bos, bos]:
        reason = f"The template writes BOS ({mark}) twice before the context: itx keeps one, tuning code may keep two."
        return [warned("bos", reader.name, reason, "Take one out of the template.")]
    if vocabulary.adds_bos and bos in ids[1:]:
        reason = f"The template puts BOS ({mark}) within the context, not only before it."
        return [warned("bos", reader.name, reason, "Take it out of the template, unless it was tuned so.")]
    if ids[:1] == [bos] and vocabulary.adds_bos:
        reason = (
            f"The template writes BOS ({mark}), and the tokenizer would add another to plain text: itx keeps one. "
            "Code that tokenizes rendered text needs add_special_tokens=False."
        )
        return [passed("bos", reader.name, reason)]
    return [passed("bos", reader.name, "A context begins with at most one BOS.")]


def check_markers(text: str, reader: Reader, leader: Reader) -> list[Finding]:
    """Warn of markers in the template's text that a model reads as several pieces, or that are another id for it."""
    found, pieces = split_markers(text, reader.vocabulary, leader.vocabulary)
    if not found:
        return [passed("template-markers", reader.name, "The template uses no markers, only text.")]
    if not pieces:
        return [passed("template-markers", reader.name, f"Each of the template's {len(found)} markers is one token.")]
    mark, ids = next(iter(pieces.items()))
    parts = " ".join(repr(reader.vocabulary.piece(token)) for token in ids[:8])
    reason = (
        f"{len(pieces)} of the template's {len(found)} markers are no token of its own: it reads {mark!r} as "
        f"{len(ids)} pieces ({parts})."
    )
    if reader.name == "base":
        remedy = "Base has never seen them as markers: give it its own context with --context plain (or qa)."
    else:
        remedy = "Check that the tokenizer was saved with the tuned weights, or that it was tuned with pieces."
    return [warned("template-markers", reader.name, reason, remedy)]


def check_turn_end(template: ChatTemplate, reader: Reader) -> list[Finding]:
    """Warn where the template ends an answer with a marker that does not end the model's responses."""
    try:
        closing = find_closing(template, reader.vocabulary)
    except ItxError:
        # A template of one turn only refuses an answer; that it renders a question is checked by itself.
        return []
    if closing is None:
        return []
    mark = f"{reader.vocabulary.piece(closing)} ({closing})"
    if closing in reader.eos:
        return [passed("turn-end", reader.name, f"The template ends answers with {mark}, which ends its responses.")]
    ends = ", ".join(str(token) for token in sorted(reader.eos)) or "none"
    reason = f"The template ends answers with {mark}, which does not end its responses (its EOS: {ends})."
    return [warned("turn-end", reader.name, reason, f"Add {closing} to eos_token_id in its generation_config.json.")]
