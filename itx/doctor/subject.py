"""A model as it lies on disk: its configs and its tensors' headers, read before and apart from its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from itx.doctor.finding import Finding, failed, passed, refused
from itx.doctor.tensors import Tensor, count_elements, read_header
from itx.errors import ItxError, UsageError, WeightsError
from itx.models.beside import read_object
from itx.models.reference import ADAPTER_CONFIG, Reference, parse_reference, parse_references, split_name

_PACKAGES = ("huggingface_hub", "safetensors")
_CONFIGS = ("config.json", "generation_config.json", ADAPTER_CONFIG)


@dataclass(frozen=True, slots=True)
class Subject:
    """One model under examination; what could not be read is empty. ``folder`` is None for what lies in no folder."""

    reference: Reference
    folder: Path | None = None
    adapter: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    adapter_config: Mapping[str, Any] = field(default_factory=dict)
    tensors: Sequence[Tensor] = ()

    @property
    def name(self) -> str:
        """Its name in the run."""
        return self.reference.name


def read_references(
    base: str, tuned: Sequence[str], resolved: Mapping[str, Path]
) -> tuple[list[Reference], list[Finding]]:
    """Read the references, base first; one that is not there is a finding, and the others are read all the same.

    Raises UsageError for what can name no model.
    """
    try:
        return parse_references(base, tuned, resolved), []
    except WeightsError:
        references: list[Reference] = []
        findings: list[Finding] = []
    for place, written in enumerate([base, *tuned]):
        given, text = split_name(written)
        name = "base" if not place else given or ("tuned" if len(tuned) == 1 else f"tuned{place}")
        try:
            references.append(parse_reference(text, name, resolved))
        except WeightsError as error:
            findings.append(refused("found", name, error))
    return references, findings


def read_subject(reference: Reference, *, trust_remote_code: bool) -> tuple[Subject, list[Finding]]:
    """Read what lies in a model's folder, and say whether it is whole. Downloads a hub id that is not in the cache."""
    name = reference.name
    if reference.kind == "gguf":
        return _read_gguf(reference)
    if reference.kind not in {"folder", "hub"}:
        return Subject(reference), []
    try:
        folder = _find_folder(reference, trust_remote_code=trust_remote_code)
    except UsageError:
        raise
    except ItxError as error:
        return Subject(reference), [refused("found", name, error)]
    findings: list[Finding] = []
    configs: dict[str, Mapping[str, Any]] = {}
    for file in _CONFIGS:
        try:
            configs[file] = read_object(folder / file)
        except WeightsError as error:
            findings.append(refused("config", name, error))
    adapter = (folder / ADAPTER_CONFIG).is_file()
    tensors: list[Tensor] = []
    try:
        files = _list_weights(folder, reference)
        for path in files:
            tensors += read_header(path)
    except ItxError as error:
        findings.append(refused("weights", name, error))
    else:
        count = f"{len(tensors):,} tensors, {count_elements(tensors):,} values"
        findings.append(passed("weights", name, f"{count}, in {len(files)} file{'s' * (len(files) > 1)}, whole."))
    subject = Subject(
        reference=reference,
        folder=folder,
        adapter=adapter,
        config=configs.get("config.json", {}),
        generation=configs.get("generation_config.json", {}),
        adapter_config=configs.get(ADAPTER_CONFIG, {}),
        tensors=tensors,
    )
    return subject, findings


def _read_gguf(reference: Reference) -> tuple[Subject, list[Finding]]:
    """Read a GGUF file's header, with its metadata under the names that a folder's configs have."""
    from itx.models.llama.header import find_quantization, read_header

    try:
        header = read_header(Path(reference.place))
    except ItxError as error:
        return Subject(reference), [refused("weights", reference.name, error)]
    config = {
        "model_type": header.architecture,
        "hidden_size": header.number("embedding_length"),
        "num_hidden_layers": header.number("block_count"),
        "num_attention_heads": header.number("attention.head_count"),
    }
    named = header.metadata.get("general.base_model.0.name")
    stored = find_quantization(header.metadata, header.tensors) or "floats"
    subject = Subject(
        reference, adapter=header.is_adapter, config=config, adapter_config={"base_model_name_or_path": named}
    )
    return subject, [passed("weights", reference.name, f"{len(header.tensors):,} tensors, {stored}, whole.")]


def _find_folder(reference: Reference, *, trust_remote_code: bool) -> Path:
    if reference.kind == "folder":
        return reference.folder
    if find_spec("huggingface_hub") is None:
        raise WeightsError(f"{reference.text} is a hub id, and nothing can download it.", "pip install 'itx[torch]'")
    from itx.models.torch.hub import locate

    return locate(reference, trust_remote_code=trust_remote_code)


def _list_weights(folder: Path, reference: Reference) -> list[Path]:
    if all(find_spec(package) for package in _PACKAGES):
        from itx.models.torch.weights import find_weights

        return find_weights(folder, reference)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{reference.text} holds no safetensors.", "Name the folder that save_pretrained wrote.")
    return files


def check_base_alone(base: Subject) -> list[Finding]:
    """Fail where the base is an adapter."""
    if not base.adapter:
        return []
    named = base.adapter_config.get("base_model_name_or_path") or "BASE"
    reason = f"{base.reference.text} is an adapter, not a base."
    return [failed("found", base.name, reason, f"itx doctor {named} {base.reference.text}")]
