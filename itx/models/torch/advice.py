"""What a person can do about an error that transformers raised while it loaded something."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def advise(error: BaseException, otherwise: str) -> str:
    """Return what to do about an error of loading; ``otherwise`` where it is of no known kind."""
    text = str(error)
    if "trust_remote_code" in text:
        return "It brings code of its own: read that code, then pass --trust-remote-code."
    if isinstance(error, ImportError):
        return "Install the package that it names."
    if "safetensors" in text.lower() or "header" in text.lower():
        return "The file is damaged: download or save it again."
    return otherwise
