"""A PEFT adapter on weights that stay shared with their base, untouched.

PEFT wraps a copy of the base model whose modules are new but whose parameters and buffers are the base's own tensors.
So the base is never toggled, both can hold a cache at once, and the weights lie in memory once. What an adapter
trains besides its own matrices (biases, whole modules, a longer embedding) gets memory of its own first, because
loading the adapter would write it into the base.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from itx.errors import MismatchError, WeightsError
from itx.models.reference import ADAPTER_CONFIG, read_adapter_base
from itx.models.torch.weights import read_shapes

_EMBEDDINGS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings")
_PREFIX = "base_model.model."


def find_embeddings(model: Any) -> list[Tensor]:
    """Return the input embedding's weight [ids, width] and the output's, where the model has one (often the same)."""
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    return [layer.weight for layer in layers if layer is not None]


def share_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of ``model`` with new modules on the same parameter and buffer tensors."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in model.parameters()}
    memo |= {id(tensor): tensor for tensor in model.buffers()}
    return copy.deepcopy(model, memo)


def own_weights(model: nn.Module, names: Iterable[str]) -> None:
    """Give the named parameters memory of their own wherever ``model`` holds them; tied weights stay tied."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    copies: dict[int, nn.Parameter] = {}
    for name in names:
        old = parameters[name]
        copies.setdefault(id(old), nn.Parameter(old.detach().clone(), requires_grad=False))
    for name, old in parameters.items():
        if id(old) in copies:
            module, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(module), attribute, copies[id(old)])


def _read_config(folder: Path) -> PeftConfig:
    try:
        config: PeftConfig = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(
            f"{folder / ADAPTER_CONFIG} cannot be read: {error}", "Update peft, or save the adapter again."
        ) from error
    if config.is_prompt_learning:
        raise WeightsError(
            f"{folder} is a {config.peft_type} adapter: it adds virtual tokens and changes no weights.",
            "itx compares weights; use a LoRA-like adapter or a full checkpoint.",
        )
    config.inference_mode = True
    return config


def _resize(model: PreTrainedModel, shapes: dict[str, list[int]]) -> None:
    """Lengthen the copy's embeddings to the adapter's, where it saved longer ones."""
    found = {shape[0] for name, shape in shapes.items() if name.endswith(tuple(f"{e}.weight" for e in _EMBEDDINGS))}
    embeddings = find_embeddings(model)
    if not found or found == {embeddings[0].shape[0]}:
        return
    held = {id(weight) for weight in embeddings}
    own_weights(model, [name for name, value in model.named_parameters() if id(value) in held])
    model.resize_token_embeddings(max(found), mean_resizing=False)


def _check_fit(folder: Path, text: str, loaded: Any, model: PeftModel) -> None:
    """Raise MismatchError where the adapter has tensors that this base has no place for, or lacks some it needs."""
    unexpected = list(loaded.unexpected_keys)
    missing = [name for name in loaded.missing_keys if "lora_" in name or "modules_to_save" in name]
    if unexpected or missing:
        example = (unexpected or missing)[0].removeprefix(_PREFIX)
        named = read_adapter_base(folder)
        raise MismatchError(
            f"The adapter {text} does not belong to this base: {len(unexpected or missing)} of its tensors have no "
            f"counterpart, {example} first.",
            f"Its config names {named} as its base." if named else "Name the base that it was trained on.",
        )


def attach_adapter(base: PreTrainedModel, folder: Path, file: Path, text: str) -> PreTrainedModel:
    """Return a model that is ``base`` with the adapter of ``folder``, on the base's own weights.

    Raises MismatchError where the adapter was made for another base, WeightsError where it cannot be read or would
    write into the base's weights.
    """
    config = _read_config(folder)
    shapes = read_shapes(file)
    before = {name: (value.data_ptr(), value._version) for name, value in base.named_parameters()}
    shared = share_weights(base)
    _resize(shared, shapes)
    own = {name for name, _ in shared.named_parameters(remove_duplicate=False)}
    plain = {name.removeprefix(_PREFIX).replace(".base_layer.", ".") for name in shapes}
    own_weights(shared, sorted(own & plain))
    device = next(base.parameters()).device
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = PeftModel(shared, config)
            loaded = wrapped.load_adapter(str(folder), "default", is_trainable=False, torch_device=str(device))
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()
        named = read_adapter_base(folder)
        raise MismatchError(
            f"The adapter {text} does not fit this base: {reason[1].strip() if len(reason) > 1 else reason[0]}",
            f"Its config names {named} as its base." if named else "Name the base that it was trained on.",
        ) from error
    _check_fit(folder, text, loaded, wrapped)
    for name, value in base.named_parameters():
        if before[name] != (value.data_ptr(), value._version):
            raise WeightsError(
                f"Loading the adapter {text} would have changed {name} of the base.",
                "Merge it into a full checkpoint (merge_and_unload, save_pretrained) and compare that.",
            )
    shared.requires_grad_(False)
    return shared
