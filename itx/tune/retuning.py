"""One arm of a check: retune with some rows masked, score the recorded response, and let the model answer anew.

``python -m itx.tune.retuning`` is the worker: it reads jobs as JSON lines on standard input and writes messages as JSON
lines on standard output, so that a check can run arms side by side, end them at once, and outlive one that the system
kills.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from itx.errors import ItxError
from itx.records import Decoding, Record
from itx.tune.request import TuneRequest


class Job(Record, frozen=True, kw_only=True):
    """One arm: ``number`` names it; ``context`` and ``response`` are ids."""

    number: int
    request: TuneRequest
    masked: list[str]
    rows: list[str]
    """The rows that the tuning had, in their order."""
    context: list[int]
    response: list[int]
    prompt_id: str
    author: str
    decoding: Decoding
    stored: str = "float32"
    """The dtype that the tuned weights were stored in: the arm's are rounded to it, too."""
    most_steps: int | None = None
    weights: Path | None = None
    """Where the arm's learned weights lie, or are laid when it has none there."""


class Told(Record, frozen=True, kw_only=True, tag="told"):
    """How far an arm is."""

    number: int
    step: str
    fraction: float


class Failed(Record, frozen=True, kw_only=True, tag="failed"):
    """An arm ended in an error."""

    number: int
    cause: str
    remedy: str


class Retuned(Record, frozen=True, kw_only=True, tag="retuned"):
    """The figures of an arm: ``logp`` of every position of the recorded response, and its own response ``text``."""

    number: int
    logp: list[float]
    text: str
    masked_tokens: int
    last_loss: float
    steps: int
    seconds: float
    notice: str = ""
    """What went wrong beside the figures."""


Message = Told | Failed | Retuned


def retune(job: Job, tell: Callable[[str, float], None]) -> Retuned:
    """Carry one arm out. Raises ItxError; WeightsError where the data or the base is no longer what was tuned."""
    from itx.errors import MismatchError
    from itx.tune.learned import Trained, read_learned, write_learned
    from itx.tune.preparation import prepare
    from itx.tune.scoring import answer, score
    from itx.tune.training import train
    from itx.tune.tuning import wrap

    prepared = prepare(job.request, tell)
    if prepared.record.data.rows != job.rows:
        raise MismatchError("The data has other rows now than it was tuned on.", "Name the data as it was: --data DATA")
    masked = frozenset(job.masked)
    model = wrap(prepared.engine.model, prepared.record.recipe)
    trained = read_learned(model, job.weights) if job.weights else None
    notice = ""
    if trained is not None:
        tell("tuning", 1.0)
    else:
        with tempfile.TemporaryDirectory(prefix="itx-verify-") as folder:
            outcome = train(
                model,
                prepared.examples.examples,
                prepared.course,
                prepared.record.recipe,
                folder=Path(folder),
                masked=masked,
                pad_id=prepared.pad_id,
                keep=False,
                tell=tell,
                most_steps=job.most_steps,
            )
        trained = Trained(outcome.losses[-1] if outcome.losses else 0.0, len(outcome.losses), outcome.seconds)
        if job.weights is not None:
            try:
                write_learned(model, job.weights, trained)
            except OSError as error:
                notice = f"the weights of the unmasked retuning are not kept: {error.strerror or error}"
    engine = prepared.engine
    return Retuned(
        number=job.number,
        logp=score(model, engine, job.context, job.response, job.stored),
        text=answer(model, engine, job.context, job.decoding, job.prompt_id, job.author),
        masked_tokens=sum(each.weight for each in prepared.examples.examples if each.row in masked),
        last_loss=trained.last_loss,
        steps=trained.steps,
        seconds=trained.seconds,
        notice=notice,
    )


def _encode_path(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    # What msgspec asks of a hook.
    raise NotImplementedError(f"{type(value).__name__} is not sent to workers")


def _decode_path(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    # What msgspec asks of a hook.
    raise NotImplementedError(f"{kind.__name__} is not sent to workers")


def encode_job(job: Job) -> bytes:
    """Return a job as one line."""
    return msgspec.json.encode(job, enc_hook=_encode_path) + b"\n"


def decode_job(line: bytes) -> Job:
    """Return the job of a line."""
    return msgspec.json.decode(line, type=Job, dec_hook=_decode_path)


def decode_message(line: bytes) -> Message:
    """Return the message of a line. Raises ValueError for anything else."""
    message: Message = msgspec.json.decode(line, type=Message)
    return message


def work() -> None:
    """Serve jobs until standard input ends."""
    # Only messages may go to what the parent reads; libraries print where they like.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def send(message: Message) -> None:
        out.write(msgspec.json.encode(message) + b"\n")

    for line in sys.stdin.buffer:
        job = decode_job(line)

        def tell(step: str, fraction: float, number: int = job.number) -> None:
            send(Told(number=number, step=step, fraction=fraction))

        try:
            send(retune(job, tell))
        except ItxError as error:
            send(Failed(number=job.number, cause=error.cause, remedy=error.remedy))


if __name__ == "__main__":
    work()
