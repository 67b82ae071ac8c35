"""The mean KL of two GGUF files as itx has it, beside what llama.cpp's own ``llama-perplexity`` says of them.

The tool keeps the base's log-probs in 16 bits: steps of at most 16/65535 nats, nothing below −16 counted. The same
rounding of itx's own rows is in the notes, so that the rest is what the two decode differently.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tests.bench.arms import Measurement, MissingError
from tests.bench.gguf import GEMMA, take_base
from tests.bench.machine import cores

TOOL: Final = "ITX_LLAMA_PERPLEXITY"
SECOND: Final = "ITX_PERPLEXITY_GGUF"
RANGE: Final = 16.0
HALF_STEP: Final = RANGE / 65535 / 2
WINDOW: Final = 128
WINDOWS: Final = 2
_SENTENCES: Final = (
    "The keeper lit the lamp before the fog came in.",
    "Nobody in the village had seen so many ships turn back in one evening.",
    "By morning the harbour was full, and the baker had sold all that he had.",
    "A letter from the capital asked for the tables of the tides, which were wrong.",
    "She corrected them by hand, one column after the other, until the ink was gone.",
    "In winter the road over the hill is closed, and the post comes by boat.",
    "Two clocks in the tower disagree by four minutes; the council cannot decide which to repair.",
    "The children say that the smaller bell is older, because its voice is cracked.",
)


def find_named(variable: str, what: str) -> Path:
    """Return the file that an environment variable names. Raises MissingError."""
    named = os.environ.get(variable)
    if not named or not Path(named).is_file():
        raise MissingError(f"name {what} in the environment variable {variable}")
    return Path(named)


def run_tool(tool: Path, model: Path, *words: str) -> str:
    """Run the tool with itx's settings and return what it printed."""
    settings = ["-c", str(WINDOW), "-b", str(WINDOW), "-ub", "64", "-t", str(cores()), "-fa", "off"]
    kinds = ["-ctk", "f32", "-ctv", "f32", "--no-repack", "-ngl", "0"]
    done = subprocess.run(
        [str(tool), "-m", str(model), *settings, *kinds, *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{tool} failed with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr


def read_windows(path: Path) -> NDArray[np.int32]:
    """Return the tokens [windows, WINDOW] that the tool wrote before its log-probs."""
    with path.open("rb") as file:
        head = file.read(20)
        assert head[:8] == b"_logits_"
        size, _, count = np.frombuffer(head[8:], "<i4").tolist()
        return np.frombuffer(file.read(4 * size * count), "<i4").reshape(count, size)


def round_as_tool(rows: NDArray[np.float32], others: NDArray[np.float32]) -> list[float]:
    """Return KL of each row in float64 with the first one's log-probs in the tool's 16 bits."""
    found = []
    for row, other in zip(rows.astype(np.float64), others.astype(np.float64), strict=True):
        best, least = row.max(), max(row.min(), row.max() - RANGE)
        step = (best - least) / 65535
        logs = np.rint(np.maximum(row - least, 0) / step) * step + least - best - np.log(np.exp(row - best).sum())
        theirs = other - other.max() - np.log(np.exp(other - other.max()).sum())
        kept = logs > -RANGE
        found.append(float((np.exp(logs[kept]) * (logs[kept] - theirs[kept])).sum()))
    return found


def measure(repeats: int) -> Measurement:
    """Return how far the two means lie apart, in nats; the same in every repeat, so it is measured once."""
    from itx.models.llama.load import LlamaLoader
    from itx.models.options import Options
    from itx.models.reduction import reduce_rows
    from itx.models.reference import parse_reference

    del repeats
    tool, second = find_named(TOOL, "the program"), find_named(SECOND, "a second file of the base's vocabulary")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = take_base(GEMMA, folder)
        text, logits = folder / "text", folder / "logits"
        text.write_text(" ".join(_SENTENCES * (WINDOW * WINDOWS // 80)))
        run_tool(tool, base, "-f", str(text), "--chunks", str(WINDOWS), "--kl-divergence-base", str(logits))
        said = run_tool(tool, second, "--kl-divergence-base", str(logits), "--kl-divergence")
        windows = read_windows(logits)
        engines = [
            LlamaLoader(Options(threads=cores(), device={"": "cpu"}), lambda what, done, total: None).load(
                parse_reference(str(path), "model", {})
            )
            for path in (base, second)
        ]
        ours: list[float] = []
        rounded: list[float] = []
        first = WINDOW // 2
        for window in windows.tolist():
            ids = [engines[0].vocabulary.bos if engines[0].vocabulary.adds_bos else window[0], *window[1:-1]]
            rows: list[Any] = [engine.stream().extend(ids, keep=len(ids) - first) for engine in engines]
            ours += reduce_rows(rows[0], [rows[1]], window[first + 1 :], rows[0].shape[1]).scores[0].kl_author_scorer
            rounded += round_as_tool(rows[0], rows[1])
    # Below a hundred positions it prints no more than this line of each window, to 5 digits.
    statistics = re.search(r"Mean\s+KLD:\s+([\d.-]+)", said)
    assert statistics is not None, said[-2000:]
    theirs, mean = float(statistics[1]), sum(ours) / len(ours)
    return Measurement(
        ours=[abs(mean - theirs)],
        floor=[],
        notes=[
            f"{GEMMA} ‖ {second.name}: mean KL {mean:.6f} by itx, {theirs:.6f} by {tool.name}, "
            f"{sum(rounded) / len(rounded):.6f} by itx's rows rounded to 16 bits; {len(ours)} positions in "
            f"{len(windows)} windows of {WINDOW}"
        ],
    )
