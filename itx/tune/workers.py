"""Arms side by side, each in a process of its own: one that the system kills takes no other with it."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence

from itx.errors import ItxError, MemoryExhaustedError
from itx.tune.retuning import Failed, Job, Message, Retuned, Told, decode_message, encode_job

_KILLED = -9
_LAST_LINES = 20
_PATIENCE = 0.2


class _EndedError(Exception):
    """A worker ended without an answer."""


class _Worker:
    """One process, and the thread that feeds it jobs and passes on what it says."""

    def __init__(self, jobs: queue.SimpleQueue[Job], said: queue.SimpleQueue[Message | BaseException | None]) -> None:
        self._jobs = jobs
        self._said = said
        self._errors: deque[bytes] = deque(maxlen=_LAST_LINES)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "itx.tune.retuning"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C is the parent's to answer.
            start_new_session=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        for line in self.process.stderr or ():
            self._errors.append(line)

    def _serve(self) -> None:
        try:
            while True:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                self._ask(job)
        except (OSError, ValueError, _EndedError) as error:
            self._said.put(error)
        finally:
            self._said.put(None)

    def _ask(self, job: Job) -> None:
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("the worker was started with pipes")
        try:
            stdin.write(encode_job(job))
            stdin.flush()
        except BrokenPipeError as error:
            raise _EndedError(self._last_words()) from error
        for line in stdout:
            message = decode_message(line)
            self._said.put(message)
            if not isinstance(message, Told):
                return
        raise _EndedError(self._last_words())

    def _last_words(self) -> str:
        self.process.wait()
        self._listener.join()
        lines = b"".join(self._errors).decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self.process.returncode}"

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self._listener.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                # What a dead process did not read is lost with it.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def run_jobs(
    jobs: Sequence[Job],
    workers: int,
    tell: Callable[[int, str, float], None],
    keep: Callable[[Retuned], None] = lambda done: None,
) -> dict[int, Retuned]:
    """Carry all jobs out on so many workers and return their figures by number.

    ``tell`` hears of each job's steps, ``keep`` gets each job's figures when it ends. Every process is ended on the way
    out, also at Ctrl-C. Raises ItxError where one fails, MemoryExhaustedError where the system killed one.
    """
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    said: queue.SimpleQueue[Message | BaseException | None] = queue.SimpleQueue()
    found: dict[int, Retuned] = {}
    started: list[_Worker] = []
    try:
        for _ in range(min(workers, len(jobs))):
            started.append(_Worker(waiting, said))
        serving = len(started)
        while serving:
            try:
                message = said.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if message is None:
                serving -= 1
            elif isinstance(message, Told):
                tell(message.number, message.step, message.fraction)
            elif isinstance(message, Retuned):
                found[message.number] = message
                keep(message)
            elif isinstance(message, Failed):
                raise ItxError(message.cause, message.remedy)
            else:
                raise _refuse(message, started)
    finally:
        for worker in started:
            worker.end()
    return found


def _refuse(error: BaseException, started: Sequence[_Worker]) -> ItxError:
    if any(worker.process.poll() == _KILLED for worker in started):
        return MemoryExhaustedError(
            "A retuning was killed by the system, most likely because the memory ran out.", "Add --jobs 1."
        )
    return ItxError(
        f"A retuning failed: {error}", "Add --jobs 1 to see whether it is the memory; itx doctor checks the models."
    )
