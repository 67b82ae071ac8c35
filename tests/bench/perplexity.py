"""The mean KL of two GGUF files as itx has it, beside what llama.cpp's own ``llama-perplexity`` says of them.

The tool keeps the base's log-probs in 16 bits: steps of at most 16/65535 nats, and what lies below −16 is left out.
What that takes from the mean is found on itx's own rows and allowed for. The rest is what the two decode differently:
much, where their builds of llama.cpp use other instructions.
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


def measure_rounding(row: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return what the tool's 16 bits take from KL, in float64."""
    best, least = row.max(), max(row.min(), row.max() - RANGE)
    step = (best - least) / 65535
    mine = row - best - np.log(np.exp(row - best).sum())
    theirs = other - other.max() - np.log(np.exp(other - other.max()).sum())
    rounded = np.rint(np.maximum(row - least, 0) / step) * step + mine.max() - (best - least)
    kept = rounded > -RANGE
    exact = np.exp(mine) @ (mine - theirs)
    return float(exact - np.exp(rounded[kept]) @ (rounded - theirs)[kept])


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
        taken: list[float] = []
        first = WINDOW // 2
        for window in windows.tolist():
            ids = [engines[0].vocabulary.bos if engines[0].vocabulary.adds_bos else window[0], *window[1:-1]]
            rows: list[Any] = [engine.stream().extend(ids, keep=len(ids) - first) for engine in engines]
            ours += reduce_rows(rows[0], [rows[1]], window[first + 1 :], rows[0].shape[1]).scores[0].kl_author_scorer
            taken += [
                measure_rounding(*(each[place].astype(np.float64) for each in rows))
                for place in range(len(ids) - first)
            ]
    # Below a hundred positions it prints no more than this line of each window, to 5 digits.
    statistics = re.search(r"Mean\s+KLD:\s+([\d.-]+)", said)
    assert statistics is not None, said[-2000:]
    theirs, mean, rounding = float(statistics[1]), sum(ours) / len(ours), sum(taken) / len(taken)
    return Measurement(
        ours=[abs(mean - rounding - theirs)],
        floor=[],
        notes=[
            f"{GEMMA} ‖ {second.name}: mean KL {mean:.6f} by itx, {theirs:.6f} by {tool.name}, "
            f"whose 16 bits take {rounding:.6f}; {len(ours)} positions in {len(windows)} windows of {WINDOW}"
        ],
    )
