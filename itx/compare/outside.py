"""How much probability lies outside the ids that two models share: on padding, and on tokens that one of them added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itx.models.contract import Arithmetic, Rows
from itx.records import Top


def measure_outside(rows: Rows, arithmetic: Arithmetic, tops: Sequence[Top], width: int) -> list[float]:
    """Return the probability of the columns from ``width`` on, for each row; 0 where it has none.

    ``tops`` are the best of each row's first ``width`` columns, with log-probs over these alone.
    """
    logits = arithmetic.export(rows)
    extra = logits[:, width:].astype(np.float64)
    shares = []
    for row, beyond, top in zip(logits, extra, tops, strict=True):
        token, logp = top[0]
        inside = float(row[token]) - logp
        if not beyond.size or beyond.max() == -np.inf:
            shares.append(0.0)
            continue
        # The logarithm of the odds, so that neither side overflows.
        odds = float(beyond.max() + np.log(np.exp(beyond - beyond.max()).sum())) - inside
        shares.append(float(np.exp(odds - np.logaddexp(0.0, odds))))
    return shares
