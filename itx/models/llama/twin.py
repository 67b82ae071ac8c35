"""An engine on the same model in float32: its weights dequantised into a temporary file, a LoRA attached or merged."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from itx.errors import WeightsError
from itx.models.llama.dequantising import count_bytes, require_gguf, write_dequantised
from itx.models.llama.engine import LlamaEngine
from itx.models.llama.header import read_header
from itx.models.llama.layout import read_layout
from itx.models.llama.vocabulary import GgufVocabulary
from itx.models.llama.weights import Adapter, Weights

_ROOM: Final = 1.1
"""Times the file's size that must be free: contexts and rows of logits lie beside it."""


def find_lack(path: Path, copies: int, memory: int | None) -> str | None:
    """Return why ``copies`` of a file's weights in float32 cannot be had at once, None where they can.

    ``memory`` is how many bytes are free, None where that is not known. Raises MissingExtraError, WeightsError.
    """
    require_gguf()
    needed = int(copies * count_bytes(read_layout(path)) * _ROOM)
    if memory is not None and needed > memory:
        return f"float32 weights need {needed / 1e9:.1f} GB of memory, and {memory / 1e9:.1f} GB are free"
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        return f"float32 weights need {needed / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are free"
    return None


@contextmanager
def open_folder() -> Iterator[Path]:
    """Give a folder for temporary weights, and take it away with all in it."""
    with tempfile.TemporaryDirectory(prefix="itx-float32-") as folder:
        yield Path(folder)


def write_twin(
    engine: LlamaEngine, folder: Path, tell: Callable[[float], None], lora: Path | None = None
) -> LlamaEngine:
    """Write an engine's weights in float32 into ``folder``, ``lora`` merged into them, and load them on the CPU.

    The twin has the engine's name, so that both see the same contexts. Raises WeightsError.
    """
    target = folder / f"{engine.name}{'-merged' if lora else ''}-float32.gguf"
    try:
        write_dequantised(engine.weights.header.path, target, tell, lora)
    except OSError as error:
        raise WeightsError(f"{target} cannot be written: {error}", "Make room, or set TMPDIR.") from error
    weights = Weights(read_header(target), 0, lambda share: None)
    return _start(engine, weights, None)


def attach(twin: LlamaEngine, engine: LlamaEngine, lora: Path) -> LlamaEngine:
    """Return an engine on the twin's weights with a LoRA attached, under the name of ``engine``."""
    return _start(engine, twin.weights, Adapter(twin.weights, lora))


def _start(engine: LlamaEngine, weights: Weights, adapter: Adapter | None) -> LlamaEngine:
    return LlamaEngine(
        weights,
        GgufVocabulary(weights),
        name=engine.name,
        reference=engine.reference,
        fingerprint="",
        threads=engine.threads,
        window=engine.window or weights.trained_window,
        device="cpu",
        adapter=adapter,
        template=engine.template,
    )
