"""An independent reference: float64 throughout, one full forward pass a model, and textbook formulae in numpy.

Nothing of itx is imported here but the records that hold its figures. Formulae: Kullback and Leibler 1951 for KL,
Lin 1991 for JS, with x = log p: KL(p‖q) = Σ p (log p − log q), JS = ½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, PreTrainedModel

from itx.records import Response, Score, Top, Trace

Matrix = NDArray[np.float64]
Row = NDArray[np.float64]

NEAR = 1e-4
"""Log-probs closer than this may change places in float32."""
RELATIVE, ABSOLUTE = 1e-4, 1e-6
"""How far a divergence in float32 may lie from the reference: the larger of the two, in nats."""


def load(folder: Path, adapter: Path | None = None) -> PreTrainedModel:
    """Return the weights of ``folder`` in float64, with the adapter merged into them."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    if adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False).double().merge_and_unload()


class Wide(TorchDispatchMode):
    """Within it nothing is narrowed from float64 to float32, as transformers' norms and softmaxes do.

    Rotary angles, which it makes in float32 from integers, stay: they are part of what the weights were trained with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept = 0

    def __torch_dispatch__(
        self,
        function: torch._ops.OpOverload,
        types: Sequence[type],
        arguments: tuple[object, ...] = (),
        options: dict[str, object] | None = None,
    ) -> object:
        """Run an operation, a narrowing one as a copy."""
        options = options or {}
        first = arguments[0] if arguments else None
        narrowing = function is torch.ops.aten._to_copy.default and options.get("dtype") is torch.float32
        if narrowing and isinstance(first, torch.Tensor) and first.dtype is torch.float64:
            self.kept += 1
            return first.clone()
        return function(*arguments, **options)


def log_probs(model: PreTrainedModel, context: list[int], response: list[int]) -> Matrix:
    """Return the log-probs [len(response), vocabulary] of what the model expects at each position, in one pass."""
    if not response:
        return np.empty((0, model.config.get_text_config().vocab_size))
    ids = torch.tensor([context + response])
    wide = Wide()
    with torch.no_grad(), wide:
        logits = model(ids, use_cache=False, logits_to_keep=len(response) + 1).logits[0, :-1]
    assert logits.dtype is torch.float64
    assert wide.kept, "no norm was narrowed: is the reference still what it was?"
    values = logits.numpy()
    peak = values.max(axis=1, keepdims=True)
    return np.asarray(values - peak - np.log(np.exp(values - peak).sum(axis=1, keepdims=True)))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a trace must say of a response: one entry a position."""

    author_logp: Row
    scorer_logp: Row
    author_entropy: Row
    scorer_entropy: Row
    kl_author_scorer: Row
    kl_scorer_author: Row
    js: Row
    lowest_rank: NDArray[np.int64]
    highest_rank: NDArray[np.int64]
    """Ranks with ids nearer than NEAR counted as below and as above the emitted one."""


def figures(author: Matrix, scorer: Matrix, ids: list[int]) -> Figures:
    """Return the figures of two models' log-probs [n, vocabulary] for the emitted ids."""
    rows = np.arange(len(ids))
    p, q = np.exp(author), np.exp(scorer)
    middle = np.log((p + q) / 2)
    emitted = scorer[rows, ids][:, None]
    others = np.ones_like(scorer, dtype=bool)
    others[rows, ids] = False
    return Figures(
        author_logp=author[rows, ids],
        scorer_logp=scorer[rows, ids],
        author_entropy=-(p * author).sum(axis=1),
        scorer_entropy=-(q * scorer).sum(axis=1),
        kl_author_scorer=(p * (author - scorer)).sum(axis=1),
        kl_scorer_author=(q * (scorer - author)).sum(axis=1),
        js=((p * (author - middle)).sum(axis=1) + (q * (scorer - middle)).sum(axis=1)) / 2,
        lowest_rank=1 + ((scorer > emitted + NEAR) & others).sum(axis=1),
        highest_rank=1 + ((scorer > emitted - NEAR) & others).sum(axis=1),
    )


def check_divergence(name: str, found: list[float], expected: Row) -> None:
    """Assert that a divergence is never negative and as near as the issue asks."""
    values = np.asarray(found)
    assert (values >= 0).all(), f"{name} is negative at {np.flatnonzero(values < 0)}: {values.min()}"
    excess = np.abs(values - expected) - np.maximum(ABSOLUTE, RELATIVE * np.abs(expected))
    worst = int(excess.argmax()) if len(excess) else 0
    assert not len(excess) or excess[worst] <= 0, (
        f"{name} at position {worst}: {values[worst]!r}, reference {expected[worst]!r}, "
        f"{(excess > 0).sum()} of {len(excess)} positions off"
    )


def check_near(name: str, found: list[float], expected: Row, within: float = NEAR) -> None:
    """Assert that log-probs or entropies lie ``within`` nats (or that share of themselves) of the reference."""
    assert len(found) == len(expected), f"{name} has {len(found)} positions, not {len(expected)}"
    allowed = within * np.maximum(1.0, np.abs(expected))
    off = np.flatnonzero(np.abs(np.asarray(found) - expected) > allowed)
    assert not len(off), f"{name} at {off[0]}: {found[off[0]]!r}, reference {expected[off[0]]!r}"


def check_top(name: str, found: list[Top], expected: Matrix) -> None:
    """Assert that each list holds the ten best ids, best first; ids nearer than NEAR may stand for each other."""
    for position, (top, row) in enumerate(zip(found, expected, strict=True)):
        ids = [token for token, _ in top]
        assert len(ids) == len(set(ids)) == 10, f"{name} at {position}: {ids}"
        values = np.array([value for _, value in top])
        assert (np.diff(values) <= 0).all(), f"{name} at {position} is not best first"
        best = np.sort(row)[::-1][:10]
        scale = NEAR * np.maximum(1.0, np.abs(best))
        assert (np.abs(values - row[ids]) <= scale).all(), f"{name} at {position}: wrong log-probs"
        assert (np.abs(values - best) <= scale).all(), f"{name} at {position}: not the ten best"


def check_score(response: Response, score: Score, author: Matrix, scorer: Matrix) -> None:
    """Assert that everything ``score`` says of the response agrees with the two models' log-probs [n, vocabulary]."""
    expected = figures(author, scorer, response.ids)
    check_near("author logp", response.logp, expected.author_logp)
    check_near("scorer logp", score.logp, expected.scorer_logp)
    check_near("author entropy", response.entropy, expected.author_entropy)
    check_near("scorer entropy", score.entropy, expected.scorer_entropy)
    check_divergence("KL(author‖scorer)", score.kl_author_scorer, expected.kl_author_scorer)
    check_divergence("KL(scorer‖author)", score.kl_scorer_author, expected.kl_scorer_author)
    check_divergence("JS", score.js, expected.js)
    ranks = np.asarray(score.rank)
    off = np.flatnonzero((ranks < expected.lowest_rank) | (ranks > expected.highest_rank))
    assert not len(off), (
        f"rank at {off[0]}: {ranks[off[0]]}, reference {expected.lowest_rank[off[0]]}…{expected.highest_rank[off[0]]}"
    )
    # A tie in float32 lies within NEAR in float64, so that it widens the reference's bounds.
    assert (np.asarray(score.ties) >= 0).all()
    assert (ranks + np.asarray(score.ties) <= expected.highest_rank).all(), "more ties than ids are near"
    check_top("author top", response.top, author)
    check_top("scorer top", score.top, scorer)


def check_greedy(response: Response, author: Matrix) -> None:
    """Assert that every emitted id is the author's best, or as good as its best within NEAR."""
    chosen = author[np.arange(len(response.ids)), response.ids]
    assert (author.max(axis=1, initial=-np.inf) - chosen <= NEAR).all(), "an emitted token is not the author's best"


def check_traces(traces: Sequence[Trace], models: dict[str, Callable[[], PreTrainedModel]]) -> int:
    """Assert that every figure of the traces agrees with the models; return how many positions were compared.

    Each model is made once, asked everything, and dropped before the next one.
    """
    known: dict[tuple[str, int, str], Matrix] = {}
    for name, make in models.items():
        model = make()
        for number, trace in enumerate(traces):
            assert trace.error is None, trace.error
            for response in trace.responses:
                if name in {response.author, *response.scores}:
                    rows = log_probs(model, trace.contexts[name].ids, response.ids)
                    known[response.author, number, name] = rows
        del model
    compared = 0
    for number, trace in enumerate(traces):
        for response in trace.responses:
            author = known[response.author, number, response.author]
            if not response.given:
                check_greedy(response, author)
            assert response.author not in response.scores
            for name, score in response.scores.items():
                check_score(response, score, author, known[response.author, number, name])
                compared += len(response.ids)
    return compared


def measure_traces(traces: Sequence[Trace], models: dict[str, Callable[[], PreTrainedModel]]) -> Row:
    """Return the largest of each position's three divergences' distances from the reference, in bounds.

    Asserts that ranks, log-probs and entropies agree.
    """
    loaded = {name: make() for name, make in models.items()}
    shares: list[float] = []
    for trace in traces:
        for response in trace.responses:
            author = log_probs(loaded[response.author], trace.contexts[response.author].ids, response.ids)
            for name, score in response.scores.items():
                expected = figures(
                    author, log_probs(loaded[name], trace.contexts[name].ids, response.ids), response.ids
                )
                check_near("scorer logp", score.logp, expected.scorer_logp)
                check_near("scorer entropy", score.entropy, expected.scorer_entropy)
                ranks = np.asarray(score.rank)
                assert ((ranks >= expected.lowest_rank) & (ranks <= expected.highest_rank)).all()
                worst = [
                    np.abs(found - reference) / np.maximum(ABSOLUTE, RELATIVE * np.abs(reference))
                    for found, reference in (
                        (np.asarray(score.kl_author_scorer), expected.kl_author_scorer),
                        (np.asarray(score.kl_scorer_author), expected.kl_scorer_author),
                        (np.asarray(score.js), expected.js),
                    )
                ]
                shares.extend(np.max(worst, axis=0).tolist())
    return np.asarray(shares)


def check_trace(trace: Trace, models: dict[str, PreTrainedModel]) -> int:
    """Do the same for one trace and models that are loaded already."""
    return check_traces([trace], {name: partial(_same, model) for name, model in models.items()})


def _same(model: PreTrainedModel) -> PreTrainedModel:
    return model
