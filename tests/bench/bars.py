"""The bars, by name, in the order they are printed."""

from __future__ import annotations

from functools import partial

from tests.bench import cli, compare, memory, opening, passes, reduction, screen
from tests.bench.arms import Bar

_ALL = [
    Bar(
        name="compare",
        title="a live comparison, exact, authors=tuned, torch float32 on the CPU",
        against="transformers generate and one bare base forward",
        how="ratio",
        limit=1.05,
        unit="×",
        measure=compare.measure,
    ),
    Bar(
        name="memory",
        title="peak memory of a comparison with a LoRA on shared weights, after loading",
        against="the base alone, generating",
        how="ratio",
        limit=1.15,
        unit="×",
        measure=memory.measure,
    ),
    Bar(
        name="passes",
        title="one full pass a token without a cache, both models",
        against="itx scoring the same tokens",
        how="ratio",
        limit=30,
        unit="×",
        measure=passes.measure,
        at_least=True,
    ),
    Bar(
        name="reduction-262k",
        title="KL both ways, JS, rank, ties, entropies, top-10 of both, V = 262,144",
        against="torch log_softmax of both rows",
        how="ratio",
        limit=5,
        unit="×",
        measure=partial(reduction.measure, vocabulary=262_144),
        threads=1,
    ),
    Bar(
        name="reduction-49k",
        title="the same, V = 49,152",
        against="torch log_softmax of both rows",
        how="ratio",
        limit=6,
        unit="×",
        measure=partial(reduction.measure, vocabulary=49_152),
        threads=1,
    ),
    Bar(
        name="help",
        title="itx --help",
        against="python -c pass",
        how="difference",
        limit=120,
        unit="ms more",
        measure=cli.measure,
        threads=1,
    ),
    Bar(
        name="open",
        title="itx open to first paint, a run of 1,000 prompts",
        against="a run of one prompt",
        how="ratio",
        limit=1.2,
        unit="×",
        measure=opening.measure,
        threads=1,
    ),
    Bar(
        name="keys",
        title="key press to paint, p95, while 200 tokens/s stream",
        against="nothing",
        how="alone",
        limit=50,
        unit="ms",
        measure=screen.measure_keys,
        threads=1,
    ),
    Bar(
        name="bytes",
        title="bytes sent to the terminal for 2,000 streamed tokens at 120×40",
        against="the text itself",
        how="ratio",
        limit=15,
        unit="×",
        measure=screen.measure_bytes,
        threads=1,
    ),
]

BARS = {bar.name: bar for bar in _ALL}
