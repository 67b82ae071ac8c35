"""An adapter merged into weights of their own, for measuring what merging changes; and merges recognised."""

from __future__ import annotations

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from itx.models.torch.adapter import own_weights, share_weights
from itx.models.torch.engine import TorchEngine
from itx.models.torch.memory import memory_watched


def _find_layers(engine: TorchEngine) -> dict[str, BaseTunerLayer]:
    return {name: layer for name, layer in engine.model.named_modules() if isinstance(layer, BaseTunerLayer)}


def merge_adapter(engine: TorchEngine) -> TorchEngine:
    """Return an engine of the same name whose weights are the adapter's merged into a copy of the base's.

    Only the layers that the adapter changes get memory of their own. Raises MemoryExhaustedError.
    """
    with memory_watched("merging the adapter"):
        model = share_weights(engine.model)
        layers = _find_layers(engine)
        prefixes = tuple(f"{name}.base_layer." for name in layers)
        names = [name for name, _ in model.named_parameters(remove_duplicate=False) if name.startswith(prefixes)]
        own_weights(model, names)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, BaseTunerLayer):
                    module.merge()
    return TorchEngine(
        model,
        engine.vocabulary,
        name=engine.name,
        reference=engine.reference,
        fingerprint=engine.fingerprint,
        eos=engine.eos,
        template=engine.template,
    )


def is_merge(full: TorchEngine, adapter: TorchEngine, base: TorchEngine) -> bool:
    """Return whether ``full`` differs from ``base`` in just those layers that ``adapter`` changes."""
    changed = {f"{name}.weight" for name in _find_layers(adapter)}
    mine, theirs = dict(full.model.named_parameters()), dict(base.model.named_parameters())
    if not changed or mine.keys() != theirs.keys() or not changed <= mine.keys():
        return False
    others = sorted(mine.keys() - changed, key=lambda name: mine[name].numel())
    if any(not _are_equal(mine[name], theirs[name]) for name in others):
        return False
    return any(not _are_equal(mine[name], theirs[name]) for name in sorted(changed))


def _are_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one.to(other.device, other.dtype), other))
