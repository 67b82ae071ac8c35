"""What can go wrong, by who can mend it, with the exit code the command line gives it.

Every message names the cause and the next command. Exit codes: 0 done, 1 failed, 2 wrong usage,
3 done with some prompts failed.
"""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3


class ItxError(Exception):
    """A failure a person can act on: ``cause`` says what is wrong, ``remedy`` what to do next."""

    exit_code = EXIT_FAILED

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause}\n{remedy}" if remedy else cause)
        self.cause = cause
        self.remedy = remedy


class UsageError(ItxError):
    """The command line or an input file's name is wrong."""

    exit_code = EXIT_USAGE


class MissingExtraError(ItxError):
    """A package that an optional part of itx needs is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"This needs the package {package}, which is not installed.", f"pip install 'itx[{extra}]'")
        self.package = package
        self.extra = extra


class WeightsError(ItxError):
    """Weights cannot be found, read or trusted."""


class MismatchError(ItxError):
    """Two models cannot be compared: what one means by a token id the other does not."""


class TemplateError(ItxError):
    """No chat template was found, or it cannot be rendered."""


class WindowError(ItxError):
    """A context, or a context with its response, does not fit the model's window."""


class InputError(ItxError):
    """A prompt, response or data file has a broken line; ``cause`` names file and line."""


class RunError(ItxError):
    """A run folder cannot be read or written."""


class MemoryExhaustedError(ItxError):
    """The machine or the device ran out of memory; finished prompts are kept."""
