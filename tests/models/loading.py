"""Loading engines in tests, without the comparison above them."""

from __future__ import annotations

from pathlib import Path

from itx.models.options import Options
from itx.models.reference import parse_references
from itx.models.torch.engine import TorchEngine
from itx.models.torch.load import TorchLoader


def load(base: Path | str, *tuned: Path | str, options: Options | None = None) -> tuple[list[TorchEngine], list[str]]:
    """Return the engines of a base and its tunings, on the CPU, and the loader's warnings."""
    loader = TorchLoader(options or Options(device={"": "cpu"}), lambda what, done, total: None)
    references = parse_references(
        str(base), [f"t{number}={reference}" for number, reference in enumerate(tuned)] or [str(base)]
    )
    return [loader.load(reference) for reference in references[: 1 + len(tuned)]], loader.warnings
