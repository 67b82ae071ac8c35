"""Figures rounded to seven significant digits, as they are recorded and shown."""

from __future__ import annotations

from collections.abc import Iterable

from itx.records import Score, Top


def round_figure(value: float) -> float:
    """Return ``value`` with seven significant digits (float32 holds no more)."""
    return float(f"{value:.7g}")


def round_figures(values: Iterable[float]) -> list[float]:
    """Return the values with seven significant digits each."""
    return [float(f"{value:.7g}") for value in values]


def _round_known(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else float(f"{value:.7g}") for value in values]


def round_tops(tops: Iterable[Top]) -> list[Top]:
    """Return the alternatives with their log-probs rounded."""
    return [[(token, float(f"{logp:.7g}")) for token, logp in top] for top in tops]


def round_score(score: Score) -> Score:
    """Return a score with all its figures rounded."""
    spans = [
        span._replace(author_logp=round_figure(span.author_logp), scorer_logp=round_figure(span.scorer_logp))
        for span in score.spans
    ]
    return Score(
        logp=_round_known(score.logp),
        rank=score.rank,
        ties=score.ties,
        entropy=_round_known(score.entropy),
        kl_author_scorer=_round_known(score.kl_author_scorer),
        kl_scorer_author=_round_known(score.kl_scorer_author),
        js=_round_known(score.js),
        top=round_tops(score.top),
        exact=score.exact,
        ids=score.ids,
        spans=spans,
        outside_author=round_figures(score.outside_author),
        outside_scorer=round_figures(score.outside_scorer),
    )
