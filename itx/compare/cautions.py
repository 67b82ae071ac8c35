"""What a reader of a comparison must know of the models, looked for at load: cheap checks that forbid nothing.

Each is a look at the tokenizer or at a small file; ``itx doctor`` makes them, too, and others that cost more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itx.compare.markers import find_closing, split_markers
from itx.compare.template import ChatTemplate
from itx.errors import ItxError
from itx.models.beside import are_alike, list_changes, read_object
from itx.models.contract import Engine
from itx.models.reference import ADAPTER_CONFIG, Reference

_CONFIGS = ("config.json", "generation_config.json")


def warn_of_markers(text: str, base: Engine, leader: Engine) -> list[str]:
    """Return a warning where base reads markers of a context's text as several pieces."""
    found, pieces = split_markers(text, base.vocabulary, leader.vocabulary)
    if not pieces:
        return []
    mark, ids = next(iter(pieces.items()))
    return [
        f"Base reads {len(pieces)} of the chat template's {len(found)} markers as pieces, {mark!r} as {len(ids)}: it "
        "has never seen them as markers. --context plain gives it a context of its own."
    ]


def warn_of_turn_ends(template: ChatTemplate, tuned: Sequence[Engine]) -> list[str]:
    """Return a warning for each tuned model whose responses do not end where the template ends an answer."""
    warnings = []
    for engine in tuned:
        try:
            closing = find_closing(template, engine.vocabulary)
        except ItxError:
            # A template of one turn only refuses an answer; it has rendered a question.
            continue
        if closing is not None and closing not in engine.eos:
            warnings.append(
                f"The chat template ends answers with {engine.vocabulary.piece(closing)} ({closing}), which does not "
                f"end the responses of {engine.name}: they may go on behind it."
            )
    return warnings


def warn_of_files(references: Sequence[Reference]) -> list[str]:
    """Return warnings of generation configs that greedy decoding elsewhere follows, and of adapters of another base.

    ``references`` are the models', base first; only what lies in local folders and GGUF files is looked at.
    """
    base, *tuned = references
    warnings = []
    for reference in references:
        if reference.kind == "folder":
            settings: dict[str, Any] = {}
            for name in _CONFIGS:
                settings |= read_object(reference.folder / name)
            changes = list(list_changes(settings))
            if changes:
                warnings.append(
                    f"The generation config of {reference.name} sets {', '.join(changes)}, which generate() follows "
                    "even when greedy, and itx not."
                )
    for reference in tuned:
        named = _read_base(reference)
        if named and not are_alike(named, base.text) and not _is_same(named, reference, base):
            warnings.append(
                f"{reference.name} names {named} as its base, and the base given is {base.text}: make sure that they "
                "are the same."
            )
    return warnings


def _read_base(reference: Reference) -> str | None:
    """Return the base that an adapter names, None where this is none, or it names none."""
    if reference.kind == "folder":
        named = read_object(reference.folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    elif reference.kind == "gguf":
        from itx.models.llama.header import read_header

        header = read_header(Path(reference.place))
        named = header.metadata.get("general.base_model.0.name") if header.is_adapter else None
    else:
        named = None
    return named if isinstance(named, str) else None


def _is_same(named: str, adapter: Reference, base: Reference) -> bool:
    """Return whether a name is the folder of the base, as written or from the adapter's own folder."""
    if base.kind != "folder":
        return False
    places = [Path(named), *([adapter.folder / named] if adapter.kind == "folder" else [])]
    try:
        return any(place.resolve() == base.folder.resolve() for place in places)
    except OSError:
        # A name too long for a path: it is no folder.
        return False
