"""What is wrong with GGUF files and can be said before any weights are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itx.models.digest import recall_digest
from itx.models.llama.aborts import check_adapter, check_fit, check_model, check_vocabulary
from itx.models.llama.engine import TEMPLATE
from itx.models.llama.header import Header, read_header
from itx.models.llama.load import check_memory, name_loaded
from itx.models.llama.parts import list_parts
from itx.models.llama.weights import check_architecture
from itx.models.reference import Reference


def foresee_files(references: Sequence[Reference]) -> bool:
    """Check the GGUF files of a run, the base first, and return whether one of them brings a chat template.

    Raises WeightsError where a file is missing, no GGUF, cut short, corrupt, of an architecture that llama.cpp does not
    know, or a LoRA that has no base here or another; MemoryExhaustedError where it is larger than the memory that is
    free; MissingExtraError where llama-cpp-python is missing. llama.cpp reads the vocabulary of a file that it has not
    loaded before.
    """
    headers = {reference.name: _check(Path(reference.place)) for reference in references if reference.kind == "gguf"}
    base = headers.get("base")
    for reference in references:
        header = headers.get(reference.name)
        if header is not None and header.is_adapter:
            check_fit(header, base, reference.text)
    found = any(header.metadata.get(TEMPLATE) for header in headers.values())
    for header in headers.values():
        header.release()
    return found


def _check(path: Path) -> Header:
    header = read_header(path)
    check_memory(path, sum(part.stat().st_size for part in list_parts(header)))
    if header.is_adapter:
        check_adapter(header)
        return header
    check_model(header)
    known = recall_digest(path)
    if known is None or name_loaded() not in known.passed:
        check_vocabulary(header)
        check_architecture(header)
    return header
