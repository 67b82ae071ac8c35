"""Loading for llama.cpp: a GGUF file, or a GGUF LoRA on weights that are loaded already."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from itx.errors import MemoryExhaustedError, UsageError
from itx.models.digest import recall_digest, remember_check
from itx.models.fingerprint import fingerprint_files
from itx.models.host import count_cores, read_free_memory
from itx.models.llama.aborts import check_adapter, check_fit, check_model, check_vocabulary, list_surprises
from itx.models.llama.engine import TEMPLATE, LlamaEngine
from itx.models.llama.header import Header, read_header
from itx.models.llama.library import load_library
from itx.models.llama.parts import list_parts
from itx.models.llama.vocabulary import GgufVocabulary
from itx.models.llama.weights import Adapter, Weights
from itx.models.options import Options, Tell
from itx.models.reference import Reference

_EVERY_LAYER = 1 << 15


class LlamaLoader:
    """Loads a run's GGUF files, the base first; adapters share its weights."""

    def __init__(self, options: Options, tell: Tell) -> None:
        self._options = options
        self._tell = tell
        self._base: LlamaEngine | None = None
        self.warnings: list[str] = []

    def load(self, reference: Reference) -> LlamaEngine:
        """Load one file. Raises ItxError where it cannot be had, read or placed."""
        path = Path(reference.place)
        self._tell(f"loading {reference.name}", 0, 0)
        header = read_header(path)
        parts = list_parts(header)
        size = sum(part.stat().st_size for part in parts)
        check_memory(path, size)
        stopped = Event()
        with ThreadPoolExecutor(1) as pool:
            try:
                fingerprint = pool.submit(fingerprint_files, parts, stopped.is_set)
                loaded = name_loaded()
                if header.is_adapter:
                    check_adapter(header)
                    self.warnings += list_surprises(header)
                    engine = self._load_adapter(reference, header)
                else:
                    check_model(header)
                    known = recall_digest(path)
                    if known is None or loaded not in known.passed:
                        check_vocabulary(header)
                    engine = self._load_model(reference, header, size)
                engine.fingerprint = fingerprint.result()
            finally:
                stopped.set()
        remember_check(path, loaded)
        header.release()
        self._tell(f"loading {reference.name}", size, size)
        if reference.name == "base" and not header.is_adapter:
            self._base = engine
        return engine

    def _load_model(self, reference: Reference, header: Header, size: int) -> LlamaEngine:
        def report(share: float) -> None:
            self._tell(f"loading {reference.name}", int(share * size), size)

        layers = self._options.gpu_layers_of(reference.name)
        weights = Weights(header, _EVERY_LAYER if layers is None else layers, report)
        template = header.metadata.get(TEMPLATE)
        return LlamaEngine(
            weights,
            GgufVocabulary(weights),
            name=reference.name,
            reference=reference.text,
            fingerprint="",
            threads=self._options.threads or count_cores(),
            window=self._choose_window(weights, reference),
            device=find_device(layers),
            template=template if isinstance(template, str) and template else None,
        )

    def _load_adapter(self, reference: Reference, header: Header) -> LlamaEngine:
        base = self._base
        check_fit(header, None if base is None else base.weights.header, reference.text)
        assert base is not None
        template = header.metadata.get(TEMPLATE)
        return LlamaEngine(
            base.weights,
            base.vocabulary,
            name=reference.name,
            reference=reference.text,
            fingerprint="",
            threads=base.threads,
            window=base.window or base.weights.trained_window,
            device=base.device,
            adapter=Adapter(base.weights, header.path),
            template=template if isinstance(template, str) and template else None,
        )

    def _choose_window(self, weights: Weights, reference: Reference) -> int:
        wanted = self._options.ctx_size
        if wanted is not None and wanted > weights.trained_window:
            raise UsageError(
                f"--ctx-size {wanted} is more than the {weights.trained_window} positions that {reference.name} knows.",
                f"Use --ctx-size {weights.trained_window} or less.",
            )
        return wanted or weights.trained_window


def name_loaded() -> str:
    """Return the name of the check that a file passes which this llama.cpp loads."""
    return f"loaded by llama-cpp-python {load_library().__version__}"


def find_device(layers: int | None) -> str:
    """Return where a model computes: ``gpu`` where this llama.cpp has one and layers are placed there, else ``cpu``."""
    supported = bool(load_library().llama_supports_gpu_offload())
    return "gpu" if supported and layers != 0 else "cpu"


def check_memory(path: Path, size: int) -> None:
    """Raise MemoryExhaustedError where a file is larger than all memory that is free."""
    free = read_free_memory()
    if free is not None and size > free:
        raise MemoryExhaustedError(
            f"{path} has {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free.",
            "Use a smaller quantisation, or a machine with more memory.",
        )
