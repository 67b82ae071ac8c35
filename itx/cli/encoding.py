"""Words of the command line that are not UTF-8: their bytes become lone surrogates, which no record can hold."""

from __future__ import annotations

from itx.errors import UsageError


def spell_word(word: str) -> str:
    r"""Return the word with every byte that is not UTF-8 spelled as ``\xNN``."""
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def check_text(option: str, text: str, remedy: str) -> None:
    """Raise UsageError naming ``option`` where its text is not UTF-8."""
    if not text.isascii() and spell_word(text) != text:
        raise UsageError(f"{option} is not UTF-8: {spell_word(text)}", remedy)
