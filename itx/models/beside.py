"""What stands beside a model's weights: what generation would do besides, and the base that an adapter names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from itx.errors import WeightsError

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "repetition_penalty": (1.0,),
    "encoder_repetition_penalty": (1.0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "diversity_penalty": (0.0,),
    "guidance_scale": (1.0,),
    "penalty_alpha": (0.0,),
    "length_penalty": (1.0,),
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "forced_decoder_ids": ([],),
    "bad_words_ids": ([],),
    "force_words_ids": ([],),
    "constraints": ([],),
    "sequence_bias": ([], {}),
    "exponential_decay_length_penalty": (),
    "stop_strings": ([],),
    "watermarking_config": (),
}
"""Settings of ``generate`` that change what greedy decoding chooses, or where it ends, with the values that do not."""


def read_object(path: Path) -> Mapping[str, Any]:
    """Return the object in a file, empty where there is no file. Raises WeightsError where it is no object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}", "Download or save it again.") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path} is no JSON object.", "Download or save it again.")
    return value


def list_changes(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield each setting of a generation config that changes what greedy decoding chooses, with its value."""
    for key, neutral in _NEUTRAL.items():
        value = settings.get(key)
        if value is not None and value not in neutral:
            text = str(value)
            yield f"{key} = {text if len(text) <= 40 else text[:39] + '…'}"


def are_alike(named: str, given: str) -> bool:
    """Return whether the last parts of two names agree but for case and punctuation, and for what GGUF files add."""
    mine, theirs = (re.sub(r"[^a-z0-9]", "", Path(name.rstrip("/")).name.lower()) for name in (named, given))
    return mine == theirs or (theirs.endswith("gguf") and theirs.startswith(mine) and bool(mine))
