"""Examinations in tests, and changes to tiny folders that make them ill."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from itx.compare.request import Request
from itx.doctor.examination import examine
from itx.doctor.finding import Diagnosis, Finding
from itx.doctor.fitting import Exchange
from itx.models.reference import split_name


def diagnose(base: Path | str, *tuned: Path | str, rows: list[Exchange] | None = None, **wanted: Any) -> Diagnosis:
    """Examine models on the CPU; tuned ones without a name are t0, t1, …"""
    named = [str(each) if split_name(str(each))[0] else f"t{number}={each}" for number, each in enumerate(tuned)]
    request = Request(base=str(base), tuned=named, command=["itx", "doctor"], devices={"": "cpu"}, **wanted)
    return examine(request, rows, lambda what: None)


def find(diagnosis: Diagnosis, check: str, subject: str = "t0") -> list[Finding]:
    """Return the findings of one check of one model."""
    return [each for each in diagnosis.findings if (each.check, each.subject) == (check, subject)]


def status(diagnosis: Diagnosis, check: str, subject: str = "t0") -> str:
    """Return the status of the only finding of a check of a model."""
    (finding,) = find(diagnosis, check, subject)
    return finding.status


def edit(path: Path, **values: Any) -> None:
    """Set values of a JSON object in a file; None takes one out."""
    content = json.loads(path.read_text()) if path.is_file() else {}
    content |= values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def change(file: Path, alter: Callable[[str, Tensor], Tensor], only: str = "") -> None:
    """Write a safetensors file's tensors anew, those whose name holds ``only`` changed."""
    tensors: Mapping[str, Tensor] = load_file(file)
    altered = {name: alter(name, value.clone()) if only in name else value for name, value in tensors.items()}
    save_file({name: value.contiguous() for name, value in altered.items()}, file, metadata={"format": "pt"})
