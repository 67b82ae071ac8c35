"""Checks of a model's folder: its numbers, what an adapter says of its base, and what generation would do besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from itx.doctor.finding import Finding, failed, passed, warned
from itx.doctor.subject import Subject
from itx.doctor.tensors import Tensor, count_broken, is_zero
from itx.models.beside import are_alike, list_changes

_PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.", ".lora_B."
_EMBEDDINGS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings")
_SHAPE = ("model_type", "hidden_size", "n_embd", "num_hidden_layers", "n_layer", "num_attention_heads", "n_head")


def check_numbers(subject: Subject) -> list[Finding]:
    """Fail where a weight is NaN or infinite. Reads all of the files."""
    if not subject.tensors:
        return []
    broken = [(tensor.name, count) for tensor in subject.tensors if (count := count_broken(tensor))]
    if not broken:
        return [passed("numbers", subject.name, "No weight is NaN or infinite.")]
    total = sum(count for _, count in broken)
    reason = f"{total:,} weights in {len(broken)} tensors are NaN or infinite, {broken[0][0]} first."
    remedy = "The tuning diverged or the file is damaged: take an earlier checkpoint, or download it again."
    return [failed("numbers", subject.name, reason, remedy)]


def check_effect_on_disk(subject: Subject) -> list[Finding]:
    """Fail where an adapter adds nothing to any weight: all up-projections are zero, or its scale is."""
    ups = [tensor for tensor in subject.tensors if _UP in tensor.name or "lora_embedding_B" in tensor.name]
    others = [name for name, _ in list_beside(subject)]
    if not subject.adapter or not ups or others:
        return []
    remedy = "Save it after the tuning, and check lora_alpha and that the tuning's loss fell."
    if subject.adapter_config.get("lora_alpha") == 0:
        return [failed("effect", subject.name, "Its lora_alpha is 0: it adds nothing to any weight.", remedy)]
    if all(is_zero(tensor) for tensor in ups):
        reason = f"All {len(ups)} up-projections (lora_B) are zero: it adds nothing to any weight."
        return [failed("effect", subject.name, reason, remedy)]
    return [passed("effect", subject.name, "Its up-projections (lora_B) are not all zero.")]


def list_beside(subject: Subject) -> list[tuple[str, tuple[int, ...]]]:
    """Return the names and shapes of what an adapter's file has beside its own low-rank matrices."""
    return [
        (tensor.name.removeprefix(_PREFIX), tensor.shape)
        for tensor in subject.tensors
        if not any(mark in tensor.name for mark in ("lora_", "vera_", "hada_", "lokr_", "oft_", "ia3_", "boft_"))
    ]


def check_beside(subject: Subject, base: Subject) -> list[Finding]:
    """Warn where an adapter trained biases, whole modules or embeddings: disabled, it would not be the base."""
    if not subject.adapter or not subject.tensors:
        return []
    beside = list_beside(subject)
    said: list[str] = []
    biases = [name for name, _ in beside if name.endswith(".bias")]
    if biases or subject.adapter_config.get("bias") not in (None, "none"):
        said.append(f"biases ({len(biases)})")
    embeddings = [(name, shape) for name, shape in beside if name.endswith(tuple(f"{e}.weight" for e in _EMBEDDINGS))]
    known = {shape[0] for name, shape in embeddings} - {base.config.get("vocab_size")}
    if known and base.config.get("vocab_size"):
        said.append(f"embeddings resized from {base.config['vocab_size']} to {max(known)} ids")
    elif embeddings:
        said.append("whole embeddings")
    whole = len(beside) - len(biases) - len(embeddings)
    if whole:
        said.append(f"{whole} whole tensors ({next(name for name, _ in beside if name not in biases)} first)")
    if not said:
        return [passed("saved-beside", subject.name, "It has low-rank matrices only: disabled, it is its base.")]
    reason = (
        f"It also has {', '.join(said)}: merely disabled in PEFT, it is not its base. itx keeps base's own weights "
        "apart, so its figures are right; those of code that calls disable_adapter() are not."
    )
    return [warned("saved-beside", subject.name, reason, "Load the base apart from it wherever you compare.")]


def check_adapter_base(subject: Subject, base: Subject) -> list[Finding]:
    """Compare the base that an adapter names with the one given: by name, and by its files where they are there."""
    named = subject.adapter_config.get("base_model_name_or_path")
    if not subject.adapter:
        return []
    check, name, given = "adapter-base", subject.name, base.reference.text
    if not isinstance(named, str) or not named:
        return [warned(check, name, "It does not say which base it was trained on.", "Make sure that it was this one.")]
    folder = _find_named(subject, named)
    if folder is not None and base.folder is not None:
        if folder.resolve() == base.folder.resolve():
            return [passed(check, name, f"It names {named} as its base, which is the base given.")]
        same = _have_same_weights(folder, base)
        if same:
            return [passed(check, name, f"It names {named} as its base, which has the same weights as {given}.")]
        if same is False:
            reason = f"It names {named} as its base, whose weights are not those of {given}."
            return [failed(check, name, reason, f"itx doctor {named} {subject.reference.text}")]
    if are_alike(named, given):
        return [passed(check, name, f"It names {named} as its base.")]
    reason = f"It names {named} as its base, and the base given is {given}."
    return [warned(check, name, reason, f"Make sure that they are the same, or use its own: itx compare {named} …")]


def _find_named(subject: Subject, named: str) -> Path | None:
    """Return the local folder that an adapter's config names, if it is there; relative ones count from its own, too."""
    candidates = [Path(named), *([subject.folder / named] if subject.folder else [])]
    try:
        return next((folder for folder in candidates if (folder / "config.json").is_file()), None)
    except OSError:
        # A name too long for a path, or a folder that may not be entered: it is no folder of ours.
        return None


def _have_same_weights(folder: Path, base: Subject) -> bool | None:
    """Return whether a folder's safetensors are the base's, to the byte; None where that cannot be said."""
    from itx.models.fingerprint import fingerprint_files

    mine = sorted({tensor.file for tensor in base.tensors})
    theirs = sorted(folder.glob("*.safetensors"))
    if not mine or not theirs or [path.name for path in mine] != [path.name for path in theirs]:
        return None
    if [path.stat().st_size for path in mine] != [path.stat().st_size for path in theirs]:
        return False
    return fingerprint_files(mine) == fingerprint_files(theirs)


def check_adapter_shapes(subject: Subject, base: Subject) -> list[Finding]:
    """Fail where an adapter's matrices do not fit the weights of the base that they are for."""
    if not subject.adapter or not base.tensors:
        return []
    pairs = list(_pair_matrices(subject, base))
    wrong = [(down, up, weight) for down, up, weight in pairs if not _fits(down, up, weight)]
    if wrong:
        down, up, weight = wrong[0]
        reason = (
            f"{len(wrong)} of its matrices do not fit this base: {weight.name} is {_say_shape(weight)}, and the "
            f"adapter's is for {up.shape[0]} × {down.shape[-1]}."
        )
        named = subject.adapter_config.get("base_model_name_or_path")
        remedy = f"itx doctor {named} {subject.reference.text}" if named else "Name the base that it was trained on."
        return [failed("adapter-shapes", subject.name, reason, remedy)]
    if pairs:
        return [passed("adapter-shapes", subject.name, f"All {len(pairs)} pairs of matrices fit the base's weights.")]
    return []


def _pair_matrices(subject: Subject, base: Subject) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield down-projection, up-projection and the weight of the base that they are for, where all three are there.

    A checkpoint may write its names without the model's prefix, or with another one.
    """
    weights: dict[str, Tensor] = {tensor.name: tensor for tensor in base.tensors}
    short: dict[str, Tensor] = {_shorten(name): tensor for name, tensor in weights.items()}
    found: Mapping[str, Tensor] = {tensor.name: tensor for tensor in subject.tensors}
    for name, down in found.items():
        if _DOWN not in name:
            continue
        up = found.get(name.replace(_DOWN, _UP))
        target = name.removeprefix(_PREFIX).split(_DOWN)[0] + ".weight"
        weight = weights.get(target) or short.get(_shorten(target))
        if up is not None and weight is not None and len(down.shape) == len(up.shape) == len(weight.shape) == 2:
            yield down, up, weight


def _shorten(name: str) -> str:
    """Return a tensor's name from its layer's number on."""
    parts = name.split(".")
    place = next((place for place, part in enumerate(parts) if part.isdigit()), 0)
    return ".".join(parts[place:])


def _fits(down: Tensor, up: Tensor, weight: Tensor) -> bool:
    # GPT-2's layers hold the transposed weight.
    return (up.shape[0], down.shape[1]) in {weight.shape, weight.shape[::-1]}


def _say_shape(tensor: Tensor) -> str:
    return " × ".join(map(str, tensor.shape))


def check_architecture(subject: Subject, base: Subject) -> list[Finding]:
    """Warn where a full checkpoint is of another architecture or size than base: it is no tuning of it."""
    if subject.adapter or not subject.config or not base.config or _is_gguf(subject) != _is_gguf(base):
        return []
    differing = [key for key in _SHAPE if subject.config.get(key) != base.config.get(key)]
    if not differing:
        kind = subject.config.get("model_type")
        return [passed("architecture", subject.name, f"It has base's architecture ({kind}) and size.")]
    key = differing[0]
    reason = f"Its {key} is {subject.config.get(key)} and base's {base.config.get(key)}: it is no tuning of this base."
    return [warned("architecture", subject.name, reason, "Name the base that it was made from.")]


def _is_gguf(subject: Subject) -> bool:
    """Return whether its config has llama.cpp's names for architectures, which are not those of transformers."""
    return subject.reference.kind == "gguf"


def check_generation(subject: Subject) -> list[Finding]:
    """Warn where the generation config changes what greedy decoding chooses: itx does not follow it."""
    settings = list(list_changes({**subject.config, **subject.generation}))
    if not settings:
        if not subject.generation:
            return []
        return [passed("generation-config", subject.name, "Its generation config leaves greedy decoding as it is.")]
    reason = (
        f"Its generation config sets {', '.join(settings)}, which generate() follows even when greedy, and itx not."
    )
    remedy = "Leave them out to see elsewhere what itx shows: they change the choice, never itx's figures."
    return [warned("generation-config", subject.name, reason, remedy)]
