"""What finished retunings leave in the cache, so that a check that was ended goes on, and the next one needs less.

Every arm leaves its figures until its check is recorded. The unmasked arm is the same for every span of a tuning: it
leaves its learned weights, too, where they are small. Both are known by all that they depend on, but for the number of
threads, which moves roundings alone.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from itx.config import cache_folder
from itx.models.versions import read_versions
from itx.tune.record import TuningRecord
from itx.tune.retuning import Job, Retuned, encode_job
from itx.version import VERSION

_MOST_PARAMETERS = 50_000_000
"""Learned parameters whose weights (4 bytes each) are kept."""
_DECODER = msgspec.json.Decoder(Retuned)


def place_weights(job: Job, record: TuningRecord) -> Path | None:
    """Return the file for an arm's learned weights; None where they are not kept."""
    if job.masked or not 0 < record.trained_parameters <= _MOST_PARAMETERS:
        return None
    # What the tuned model is asked afterwards does not change it.
    bare = replace(job, context=[], response=[], prompt_id="", author="", decoding=type(job.decoding)(), stored="")
    return _folder() / f"{_identify(bare, record)}.safetensors"


def find_figures(job: Job, record: TuningRecord) -> Retuned | None:
    """Return the figures of an arm that was finished before; None where there are none, or broken ones."""
    try:
        done = _DECODER.decode(_place_figures(job, record).read_bytes())
    except (OSError, ValueError):
        return None
    return replace(done, number=job.number) if len(done.logp) == len(job.response) else None


def keep_figures(job: Job, record: TuningRecord, done: Retuned) -> None:
    """Keep the figures of a finished arm. Raises OSError."""
    place = _place_figures(job, record)
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_suffix(f".{os.getpid()}")
    try:
        new.write_bytes(msgspec.json.encode(done))
        new.replace(place)
    finally:
        new.unlink(missing_ok=True)


def discard_figures(job: Job, record: TuningRecord) -> None:
    """Forget the figures of an arm whose check is recorded: a check that is asked for again is made again."""
    # What cannot be removed is read once more, and is as right as it was.
    with suppress(OSError):
        _place_figures(job, record).unlink(missing_ok=True)


def _folder() -> Path:
    return cache_folder() / "retunings"


def _place_figures(job: Job, record: TuningRecord) -> Path:
    return _folder() / f"{_identify(job, record)}.json"


def _identify(job: Job, record: TuningRecord) -> str:
    """Return a hash of everything that decides an arm's figures."""
    request = replace(job.request, threads=None, command=[])
    line = encode_job(replace(job, number=0, weights=None, request=request))
    facts = [VERSION, record.base.weights, record.base.tokenizer, record.data.fingerprint, read_versions()]
    return hashlib.sha256(line + msgspec.json.encode(facts)).hexdigest()
