"""Writing a run: one line a finished prompt, on disk before the next one starts.

A line is written whole and flushed, or not at all. What a killed process left of a line is moved to ``traces.torn``
when the run is resumed, and its prompt is done again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from itx.errors import RunError
from itx.records import DataReference, Prompt, Run, Trace
from itx.runs.appending import open_to_append
from itx.runs.asked import Asked, fingerprint_prompt
from itx.runs.check import check_run, check_trace, has_impossible_figure
from itx.runs.description import (
    find_data_differences,
    find_differences,
    is_run,
    read_description,
    sync_folder,
    write_description,
)
from itx.runs.lines import DESCRIPTION, TORN, TRACES, Head, decode, refuse_line
from itx.runs.lock import LOCK, FolderLock
from itx.runs.refusal import refuse_writing

_HEAD = msgspec.json.Decoder(Head)
_TRACE = msgspec.json.Decoder(Trace)
# A creation that was killed leaves these; none of them holds a finding.
_REMAINS = {LOCK, f"{DESCRIPTION}.new", TRACES}


class Recorder:
    """The only writer of a run's folder, from construction to ``close``. Threads may share it.

    ``finished`` has the ids of the prompts that need not be asked again: recorded without error and not cancelled.
    ``is_finished`` asks for one prompt, and notices where its id stands for another question now.
    """

    def __init__(self, folder: Path, run: Run, lock: FolderLock, handle: int, done: dict[str, Asked]) -> None:
        self.folder = folder
        self.run = run
        self._done = done
        self._lock = lock
        self._handle = handle
        self._size = os.fstat(handle).st_size
        self._writing = threading.Lock()

    @classmethod
    def begin(cls, folder: Path, run: Run, prompts: Iterable[Prompt] = ()) -> Self:
        """Resume where the folder holds a run, create one otherwise.

        Raises RunError as both do, and as ``is_finished`` does for one of the ``prompts`` that will be asked.
        """
        recorder = cls.resume(folder, run) if is_run(folder) else cls.create(folder, run)
        try:
            for prompt in prompts:
                recorder.is_finished(prompt)
        except RunError:
            recorder.close()
            raise
        return recorder

    @classmethod
    def create(cls, folder: Path, run: Run) -> Self:
        """Make the folder and its ``run.json``.

        Raises RunError where the folder holds a run or anything else, is locked, or cannot be written.
        """
        try:
            check_run(run)
        except ValueError as error:
            raise RunError(f"This run cannot be recorded: {error}.", "Check the models' names.") from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _check_empty(folder)
        except OSError as error:
            raise refuse_writing(folder, error) from error
        lock = FolderLock(folder)
        try:
            _check_empty(folder)
            handle = open_to_append(folder / TRACES)
        except BaseException:
            lock.release()
            raise
        try:
            write_description(folder, run)
            return cls(folder, run, lock, handle, {})
        except BaseException as error:
            os.close(handle)
            lock.release()
            if isinstance(error, OSError):
                raise refuse_writing(folder, error) from error
            raise

    @classmethod
    def resume(cls, folder: Path, run: Run) -> Self:
        """Go on with the run in ``folder``; its ``run.json`` stays as it is, and is the recorder's ``run``.

        Only tuning data, or control rows, that it does not name yet are added.

        Raises RunError where ``run`` differs in what figures depend on, a line but the last is broken, or the folder
        is locked or cannot be written.
        """
        recorded = read_description(folder)
        differences = find_differences(recorded, run)
        if differences:
            raise RunError(
                f"{folder} was recorded otherwise: {'; '.join(differences)}.",
                "Repeat the recorded command, or name another folder with --out.",
            )
        lock = FolderLock(folder)
        try:
            handle = open_to_append(folder / TRACES)
        except BaseException:
            lock.release()
            raise
        try:
            done = _mend(folder, handle, recorded)
            data = _add_data(recorded.data, run.data)
            if data != recorded.data:
                recorded = msgspec.structs.replace(recorded, data=data)
                write_description(folder, recorded)
            return cls(folder, recorded, lock, handle, done)
        except BaseException as error:
            os.close(handle)
            lock.release()
            if isinstance(error, OSError):
                raise refuse_writing(folder, error) from error
            raise

    @property
    def finished(self) -> set[str]:
        """The ids of the finished prompts."""
        return set(self._done)

    def is_finished(self, prompt: Prompt) -> bool:
        """Return True where the prompt need not be asked again.

        Raises RunError where its id was recorded with another text, conversation or given responses: the file has
        changed since (ids that a file does not give are its line numbers), and one run would hold two prompts under
        one name.
        """
        recorded = self._done.get(prompt.id)
        if recorded is None:
            return False
        change = recorded.find_change(prompt)
        if change is not None:
            raise RunError(
                f"{self.folder} has {change} under the id {prompt.id!r}: the prompt file was changed.",
                "Record the changed file into a new folder with --out, or give its prompts ids of their own.",
            )
        return True

    def name_data(self, data: DataReference) -> None:
        """Add to ``run.json`` the tuning data that the run is traced in; nothing where it is named already.

        Raises RunError where the run was traced in other data or otherwise, or ``run.json`` cannot be written.
        """
        with self._writing:
            differences = find_data_differences(self.run.data, data)
            if differences:
                raise RunError(
                    f"{self.folder} was traced otherwise: {'; '.join(differences)}.",
                    "Name the data as it was, or another folder with --out.",
                )
            run = msgspec.structs.replace(self.run, data=_add_data(self.run.data, data))
            if run == self.run:
                return
            if self._handle < 0:
                raise RunError(f"{self.folder} is closed.", "Open it again with itx run --out.")
            try:
                write_description(self.folder, run)
            except OSError as error:
                raise refuse_writing(self.folder, error) from error
            self.run = run

    def append(self, trace: Trace, prompt: Prompt | None = None) -> None:
        """Write one line and wait until it is on the disk; with ``prompt``, the line says what was asked.

        Raises RunError where the trace could not be read back (nothing is written then) or the disk refuses (the
        part that was written is cut off again).
        """
        if prompt is not None:
            trace = msgspec.structs.replace(trace, asked=fingerprint_prompt(prompt))
        line = _encode(trace, self.run)
        with self._writing:
            if self._handle < 0:
                raise RunError(f"{self.folder} is closed.", "Open it again with itx run --out.")
            if os.fstat(self._handle).st_size != self._size:
                raise RunError(
                    f"{self.folder / TRACES} does not end where it was left: something else changed it.",
                    "Give the same command again: it goes on behind the last whole line.",
                )
            self._write(line)
            cancelled = any(response.finish == "cancelled" for response in trace.responses)
            asked = Asked(text=trace.prompt, fingerprint=trace.asked)
            _note(trace.prompt_id, asked, trace.error is None and not cancelled, self._done)

    def _write(self, line: bytes) -> None:
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            os.fsync(self._handle)
        except OSError as error:
            refusal = refuse_writing(self.folder, error)
            try:
                os.ftruncate(self._handle, self._size)
            except OSError as worse:
                # The part stays; the next append sees it by the size, and resuming sets it aside.
                refusal.add_note(f"A part of the line could not be cut off: {worse.strerror}.")
            raise refusal from error
        except BaseException:
            # An interruption (ctrl+c) between two writes: the size, not the loop, knows whether the line is whole.
            if os.fstat(self._handle).st_size == self._size + len(line):
                self._size += len(line)
            else:
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(line)

    def close(self) -> None:
        """Release the folder; a second call does nothing."""
        with self._writing:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _add_data(recorded: DataReference | None, wanted: DataReference | None) -> DataReference | None:
    """Return what is recorded with what is named for the first time."""
    if recorded is None or wanted is None or recorded.control_fingerprint is not None:
        return recorded or wanted
    return msgspec.structs.replace(recorded, control=wanted.control, control_fingerprint=wanted.control_fingerprint)


def _encode(trace: Trace, run: Run) -> bytes:
    """Return the trace's line, read back once: what cannot be read must not reach the disk (NaN becomes null)."""
    try:
        line = msgspec.json.encode(trace)
        check_trace(decode(_TRACE, line), run)
    except (UnicodeEncodeError, ValueError) as error:
        remedy = "Leave this prompt out; the others can be recorded."
        if has_impossible_figure(trace):
            remedy = "A figure that is not a number comes from weights that overflow: try --dtype float32."
        raise RunError(f"The findings of prompt {trace.prompt_id} cannot be recorded: {error}.", remedy) from error
    return line + b"\n"


def _check_empty(folder: Path) -> None:
    if is_run(folder):
        raise RunError(f"{folder} already holds a run.", "Resume it with itx run --out, or name another folder.")
    names = {path.name for path in folder.iterdir()}
    traces = folder / TRACES
    if names - _REMAINS or (TRACES in names and (not traces.is_file() or traces.stat().st_size)):
        raise RunError(f"{folder} is not empty and not a run.", "Name a new or empty folder with --out.")


def _mend(folder: Path, handle: int, run: Run) -> dict[str, Asked]:
    """Return the finished prompts by id; move an unfinished last line to ``traces.torn``."""
    done: dict[str, Asked] = {}
    whole = 0
    with os.fdopen(os.dup(handle), "rb", buffering=1 << 20) as file:
        file.seek(0)
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                _mend_last(folder, handle, run, line, whole, done)
                break
            whole += len(line)
            try:
                _note_head(decode(_HEAD, line), done)
            except ValueError as error:
                raise refuse_line(folder, number, str(error)) from error
    return done


def _mend_last(folder: Path, handle: int, run: Run, line: bytes, whole: int, done: dict[str, Asked]) -> None:
    try:
        check_trace(decode(_TRACE, line), run)
    except ValueError:
        torn = open_to_append(folder / TORN)
        try:
            rest = memoryview(line + b"\n")
            while rest:
                rest = rest[os.write(torn, rest) :]
            os.fsync(torn)
        finally:
            os.close(torn)
        os.ftruncate(handle, whole)
        os.fsync(handle)
        sync_folder(folder)
    else:
        # Only the line feed is missing.
        os.write(handle, b"\n")
        os.fsync(handle)
        _note_head(decode(_HEAD, line), done)


def _note_head(head: Head, done: dict[str, Asked]) -> None:
    _note(head.prompt_id, Asked.of(head), head.error is None and not head.cancelled, done)


def _note(prompt_id: str, asked: Asked, finished: bool, done: dict[str, Asked]) -> None:
    if finished:
        done[prompt_id] = asked
    else:
        done.pop(prompt_id, None)
