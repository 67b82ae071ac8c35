"""llama.cpp itself: imported once, quiet, and what it last said."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import re
import threading
from collections import deque
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, TextIO

from itx.config import log_file
from itx.errors import MissingExtraError

_KEPT: Final = 40
_LARGEST: Final = 4 << 20
"""Bytes of a log file that is put aside, in place of an older one, and begun anew."""
_WARNING, _ERROR, _CONTINUED = 3, 4, 5
_MMAP_THRESHOLD: Final = -3
"""``M_MMAP_THRESHOLD`` of its malloc.h."""
_FUNCTION: Final = re.compile(r"^\w+: ")
"""llama.cpp begins its lines with the function that wrote them."""


class Log:
    """llama.cpp's words, written to itx's log file; the last warnings and errors are kept for messages."""

    def __init__(self) -> None:
        self._complaints: deque[tuple[int, str]] = deque(maxlen=_KEPT)
        self._level = 0
        self._file: TextIO | None = None
        self._lock = threading.Lock()
        self.path = log_file()

    def write(self, level: int, text: str) -> None:
        """Take a piece of the log in; llama.cpp's threads call this."""
        with self._lock:
            if level != _CONTINUED:
                self._level = level
            if self._level in {_WARNING, _ERROR}:
                self._complaints.append((self._level, _FUNCTION.sub("", text).strip(" .\n")))
            try:
                if self._file is None:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    if self.path.exists() and self.path.stat().st_size > _LARGEST:
                        self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                    self._file = self.path.open("a", encoding="utf-8", errors="replace")
                self._file.write(text)
                if self._level == _ERROR:
                    self._file.flush()
            except OSError:
                # A log that cannot be written is no reason to stop; what was said last is still kept.
                self._file = None

    def forget(self) -> None:
        """Begin anew: what was said before belongs to something else."""
        with self._lock:
            self._complaints.clear()

    def complaint(self) -> str:
        """Return the first error since it forgot, else the last warning; empty where it complained of nothing.

        What failed says why, and its callers say afterwards that it failed.
        """
        with self._lock:
            if self._file is not None:
                self._file.flush()
            found = [(level, line) for level, line in self._complaints if line]
        errors = [line for level, line in found if level == _ERROR]
        return errors[0] if errors else found[-1][1] if found else ""


LOG = Log()


@cache
def load_library() -> Any:
    """Return the module ``llama_cpp``, its log turned into ``LOG``. Raises MissingExtraError where it is missing."""
    if find_spec("llama_cpp") is None:
        raise MissingExtraError("llama-cpp-python", "llama")
    # Where it aborts it would call a debugger, which prints for minutes; read at import.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    library: Any = importlib.import_module("llama_cpp")

    def take(level: int, text: bytes, data: object) -> None:
        del data
        LOG.write(level, text.decode("utf-8", "replace"))

    callback = library.llama_log_callback(take)
    library.itx_log_callback = callback  # it has to live as long as the library
    library.llama_log_set(callback, ctypes.c_void_p(0))
    library.llama_backend_init()
    _return_large_blocks()
    return library


def _return_large_blocks() -> None:
    """Let the GNU C library give blocks of half a megabyte back to the system when they are freed.

    By itself it keeps blocks of up to 32 MB once one was freed: holes where contexts and rows of logits have been.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 19)


@cache
def uses_amx() -> bool:
    """Return whether this build of llama.cpp would use AMX tiles, which systems that do not grant them crash on."""
    said = load_library().llama_print_system_info().decode("utf-8", "replace")
    return any(part.strip() == "AMX_INT8 = 1" for part in said.split("|"))
