"""Loading for torch: a hub id, a safetensors folder, or a PEFT folder on weights that are loaded already."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import torch
from huggingface_hub.utils.tqdm import disable_progress_bars
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from itx.errors import UsageError, WeightsError
from itx.models.fingerprint import fingerprint_files, list_decisive
from itx.models.options import Options, Tell
from itx.models.reference import Reference, read_adapter_base
from itx.models.torch.adapter import attach_adapter
from itx.models.torch.advice import advise, first_line
from itx.models.torch.engine import TorchEngine
from itx.models.torch.hub import locate
from itx.models.torch.memory import memory_watched
from itx.models.torch.placement import choose_device, choose_dtype
from itx.models.torch.vocabulary import HuggingFaceVocabulary, has_tokenizer, load_vocabulary, read_template
from itx.models.torch.weights import find_weights, is_adapter, read_shapes

_OTHERWISE = (
    "Check that the folder is whole, and that this transformers knows the architecture: pip install -U transformers"
)


class TorchLoader:
    """Loads a run's models, the base first; adapters share its weights.

    ``warnings`` collects what a reader of the run must know.
    """

    def __init__(self, options: Options, tell: Tell) -> None:
        self._options = options
        self._tell = tell
        self._base: TorchEngine | None = None
        self._base_folder: Path | None = None
        self.warnings: list[str] = []
        _silence()
        if options.threads:
            torch.set_num_threads(options.threads)

    def load(self, reference: Reference) -> TorchEngine:
        """Load one model. Raises ItxError where it cannot be had, read or placed."""
        self._tell(f"finding {reference.name}", 0, 0)
        trust = self._options.trust_remote_code
        folder = locate(reference, trust_remote_code=trust)
        files = find_weights(folder, reference)
        for file in files:
            read_shapes(file)
        size = sum(path.stat().st_size for path in files)
        self._tell(f"loading {reference.name}", 0, size)
        decisive = list_decisive(folder, files, trust_remote_code=trust)
        stopped = Event()
        with ThreadPoolExecutor(1) as pool:
            try:
                fingerprint = pool.submit(fingerprint_files, decisive, stopped.is_set)
                if is_adapter(folder):
                    engine = self._load_adapter(reference, folder, files[0])
                else:
                    engine = self._load_checkpoint(reference, folder)
                engine.fingerprint = fingerprint.result()
            finally:
                # The pool waits for its thread, and whoever pressed Ctrl-C waits for the pool.
                stopped.set()
        self._tell(f"loading {reference.name}", size, size)
        if self._base is None:
            self._base, self._base_folder = engine, folder
        return engine

    def _load_checkpoint(self, reference: Reference, folder: Path) -> TorchEngine:
        trust = self._options.trust_remote_code
        device = choose_device(self._options.device_of(reference.name))
        vocabulary = load_vocabulary(folder, trust_remote_code=trust)
        auto: Any = AutoModelForCausalLM
        place: dict[str, Any] = {} if device.type == "cpu" else {"device_map": {"": str(device)}}
        try:
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust)
            stored = config.get_text_config(decoder=True).dtype or config.dtype
            dtype = choose_dtype(self._options.dtype, device, stored)
            with memory_watched(f"the weights of {reference.name}"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model, report = auto.from_pretrained(
                    str(folder),
                    config=config,
                    dtype=dtype,
                    use_safetensors=True,
                    trust_remote_code=trust,
                    output_loading_info=True,
                    **place,
                )
        except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError) as error:
            raise WeightsError(
                f"{reference.text} cannot be loaded: {first_line(error)}", advise(error, _OTHERWISE)
            ) from error
        missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        if missing:
            raise WeightsError(
                f"{reference.text} lacks {len(missing)} of its tensors, {missing[0]} first: they would be random.",
                "Save the model again, whole.",
            )
        return TorchEngine(
            model,
            vocabulary,
            name=reference.name,
            reference=reference.text,
            fingerprint="",
            eos=_read_eos(model, vocabulary),
            template=read_template(folder),
        )

    def _load_adapter(self, reference: Reference, folder: Path, file: Path) -> TorchEngine:
        base = self._base
        if base is None:
            named = read_adapter_base(folder)
            if reference.name != "base":
                raise WeightsError(
                    f"{reference.text} is a PEFT adapter, which attaches to weights in safetensors, and the base is a "
                    "GGUF file.",
                    f"Name the base's folder or hub id ({named or 'its config says none'}), or convert the adapter "
                    "with convert_lora_to_gguf.py of llama.cpp.",
                )
            raise WeightsError(
                f"{reference.text} is an adapter, not a base.",
                f"itx compare {named or 'BASE'} {reference.text}",
            )
        wanted = self._options.device.get(reference.name)
        if wanted is not None and str(choose_device(wanted)) != base.device:
            raise UsageError(
                f"{reference.name} is an adapter on the base's own weights, which are on {base.device}, not {wanted}.",
                f"Leave out --device {reference.name}={wanted}, or merge the adapter into a full checkpoint.",
            )
        with memory_watched(f"the adapter {reference.name}"):
            model = attach_adapter(base.model, folder, file, reference.text)
        self._warn_of_other_base(reference, folder, base)
        vocabulary = base.vocabulary
        if has_tokenizer(folder):
            trust = self._options.trust_remote_code
            vocabulary = load_vocabulary(folder, trust_remote_code=trust, base=self._base_folder)
        return TorchEngine(
            model,
            vocabulary,
            name=reference.name,
            reference=reference.text,
            fingerprint="",
            eos=_read_eos(model, vocabulary),
            adapter=reference.text,
            template=read_template(folder),
        )

    def _warn_of_other_base(self, reference: Reference, folder: Path, base: TorchEngine) -> None:
        named = read_adapter_base(folder)
        if named and _last_part(named) != _last_part(base.reference) and not base.reference.startswith("demo:"):
            self.warnings.append(
                f"The adapter {reference.name} names {named} as its base, and this run's base is {base.reference}."
            )


def _silence() -> None:
    """Keep the libraries' bars and chatter off the terminal: errors reach the person as exceptions."""
    transformers_logging: Any = logging
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    disable_progress_bars()


def _last_part(name: str) -> str:
    return Path(name.rstrip("/")).name.lower()


def _read_eos(model: PreTrainedModel, vocabulary: HuggingFaceVocabulary) -> frozenset[int]:
    """Return the ids that end a response: those of the generation config, and the tokenizer's EOS."""
    settings = model.generation_config
    found = settings.eos_token_id if settings is not None else model.config.eos_token_id
    ids = set(found) if isinstance(found, list) else {found}
    return frozenset(int(token) for token in ids | {vocabulary.tokenizer_eos} if token is not None)
