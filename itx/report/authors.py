"""What is said of each model's own responses, and how each two models differ, paired by prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from itx.records import Model, Run
from itx.report.gathering import Gathered
from itx.report.resampling import Ratios, draw, draw_difference, estimate
from itx.report.study import AuthorStudy, Comparison
from itx.report.tables import SHARES, PairTable, sum_by_prompt, sum_responses

METHODS = {"lora": "LoRA (paper: LFT)", "full": "full (paper: SFT)"}


def label(model: Model) -> str:
    """Return how a model was tuned, with the paper's word for it, else its role."""
    return METHODS[model.method] if model.method else model.role


def study_author(gathered: Gathered, model: Model) -> AuthorStudy:
    """Return the figures of a model's own responses."""
    author = gathered.authors[model.name]
    ended = np.array([finish == "eos" for finish in author.finish], dtype=np.float64)
    whole = np.array([ending != "cancelled" for ending in author.ending], dtype=np.float64) * ~author.given
    cut = np.array([ending in {"limit", "window"} for ending in author.ending], dtype=np.float64)
    words = np.array([len(text.split()) for text in author.text], dtype=np.float64)
    known = ~np.isnan(author.first)
    stops = sum_responses(gathered, author, ended)
    ratios = Ratios(
        np.hstack(
            [
                sum_by_prompt(gathered, author, author.first, known),
                sum_responses(gathered, author, cut * whole),
                sum_responses(gathered, author, author.length * ended),
                sum_responses(gathered, author, words * ended),
            ]
        ),
        np.hstack(
            [
                sum_by_prompt(gathered, author, known.astype(np.float64)),
                sum_responses(gathered, author, whole),
                stops,
                stops,
            ]
        ),
    )
    argmax, limited, tokens, lengths = estimate(draw(ratios), [True, True, False, False])
    return AuthorStudy(
        name=model.name,
        label=label(model),
        method=model.method,
        responses=len(author.prompt),
        given=int(author.given.sum()),
        cancelled=sum(finish == "cancelled" for finish in author.finish),
        argmax=argmax,
        cut=limited,
        ended=int(ended.sum()),
        tokens=tokens,
        words=lengths,
    )


def order_tuned(run: Run) -> list[Model]:
    """Return the tuned models, those tuned in full before LoRAs, else in the run's order."""
    return sorted(run.tuned, key=lambda model: model.method == "lora")


def compare_models(gathered: Gathered, tables: Mapping[tuple[str, str], PairTable]) -> Iterator[Comparison]:
    """Yield how each two tuned models differ: on their own paths, then on each response that both scored."""
    run = gathered.run
    base = run.base.name
    for one, two in combinations(order_tuned(run), 2):
        first, second = one.name, two.name
        paths: list[tuple[str | None, tuple[str, str], tuple[str, str]]] = [(None, (first, base), (second, base))]
        paths += [(model.name, (model.name, first), (model.name, second)) for model in [run.base, *run.tuned]]
        for author, here, there in paths:
            if author in {first, second}:
                continue
            if here not in tables or there not in tables:
                continue
            drawn = draw_difference(_take(tables[here].ratios), _take(tables[there].ratios))
            unshifted, marginal, shifted, kl = estimate(drawn)
            yield Comparison(
                path="own" if author is None else "shared",
                author=author,
                first=first,
                second=second,
                prompts=shifted.prompts,
                unshifted=unshifted,
                marginal=marginal,
                shifted=shifted,
                kl=kl,
            )


def _take(ratios: Ratios) -> Ratios:
    """Return the columns that are of all positions."""
    return Ratios(ratios.numerators[:, : len(SHARES)], ratios.denominators[:, : len(SHARES)])
