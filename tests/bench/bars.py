"""The bars, by name, in the order they are printed."""

from __future__ import annotations

from functools import partial

from tests.bench import cli, reduction
from tests.bench.arms import Bar

_ALL = [
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
]

BARS = {bar.name: bar for bar in _ALL}
