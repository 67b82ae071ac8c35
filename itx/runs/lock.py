"""One writer a run: an exclusive lock on a folder, which dies with its process."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from itx.errors import RunError
from itx.runs.refusal import refuse_writing

LOCK = "run.lock"
_ATTEMPTS = 8


class FolderLock:
    """An exclusive lock on ``folder``, held from construction to ``release``.

    Raises RunError naming the process that holds it, or why the folder cannot be written. The file ``run.lock`` says
    who; a file left by a killed process locks nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._handle = self._acquire()
        try:
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        except BaseException as error:
            self.release()
            if isinstance(error, OSError):
                raise refuse_writing(folder, error) from error
            raise

    def _acquire(self) -> int:
        for _ in range(_ATTEMPTS):
            try:
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise refuse_writing(self._path.parent, error) from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(handle, 200, 0).decode("utf-8", "replace") or "another process"
                os.close(handle)
                raise RunError(
                    f"{self._path.parent} is being recorded by {owner}.",
                    "Wait for it or stop it, or name another folder with --out.",
                ) from None
            except OSError as error:
                os.close(handle)
                raise RunError(
                    f"{self._path.parent} cannot be locked ({error.strerror}), so two recordings could mix.",
                    "Record into a folder on a local disk with --out.",
                ) from error
            if self._is_current(handle):
                return handle
            # Its last owner removed the file between our opening and locking it.
            os.close(handle)
        raise RunError(f"{self._path} keeps disappearing.", "Name another folder with --out.")

    def _is_current(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.lstat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back and remove its file; a second call does nothing."""
        if self._handle >= 0:
            # Removed while still locked, so that nobody can lock the name in between.
            try:
                self._path.unlink(missing_ok=True)
            finally:
                os.close(self._handle)
                self._handle = -1
