"""What a retuned model says of a recorded response, and what it answers itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel

from itx.compare.decoding import Chooser
from itx.models.torch.engine import TorchEngine
from itx.records import Decoding


def round_weights(model: Any, stored: str) -> None:
    """Round what was learned to the dtype in which the recorded weights were stored, in place."""
    if stored == "float32":
        return
    dtype = getattr(torch, stored)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(parameter.to(dtype))


def score(model: Any, engine: TorchEngine, context: Sequence[int], response: Sequence[int], stored: str) -> list[float]:
    """Return the log-prob (nats) of every id of the response, each given the context and the ids before it.

    The model's learned weights are rounded to ``stored`` first.
    """
    round_weights(model, stored)
    ids = torch.tensor([[*context, *response]], device=engine.arithmetic.device)
    with torch.inference_mode():
        logits = _bare(model)(input_ids=ids[:, :-1], use_cache=False).logits[0, len(context) - 1 :]
        logp = logits.double().log_softmax(dim=-1)
        wanted = ids[0, len(context) :]
        found: list[float] = logp.gather(1, wanted[:, None])[:, 0].tolist()
    return found


def answer(
    model: Any, engine: TorchEngine, context: Sequence[int], decoding: Decoding, prompt_id: str, author: str
) -> str:
    """Return the model's own response, chosen as the run chose its responses."""
    retuned = TorchEngine(
        _bare(model),
        engine.vocabulary,
        name=author,
        reference=engine.reference,
        fingerprint="",
        eos=engine.eos,
    )
    chooser = Chooser(decoding, prompt_id, author)
    stream, decoder = retuned.stream(), engine.vocabulary.decoder()
    fed, text = list(context), ""
    for _ in range(decoding.max_new_tokens):
        token = chooser.choose(stream.extend(fed), retuned.arithmetic)
        if token in retuned.eos:
            break
        text += decoder.feed(token)
        fed = [token]
    return text + decoder.flush()


def _bare(model: Any) -> Any:
    """Return the model that an adapter's layers lie in: it answers as the wrapped one does."""
    return model.get_base_model() if isinstance(model, PeftModel) else model
