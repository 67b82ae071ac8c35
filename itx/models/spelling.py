"""Token spellings and bytes: byte-level alphabets, SentencePiece with byte fallback, and incremental UTF-8."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def name_bytes(spelled: bytes) -> str:
    """Return bytes as text, with those that are no whole character written ``<0xE2>``."""
    text = []
    rest = spelled
    while rest:
        try:
            text.append(rest.decode())
            break
        except UnicodeDecodeError as error:
            text.append(rest[: error.start].decode())
            text.extend(f"<0x{byte:02X}>" for byte in rest[error.start : error.end])
            rest = rest[error.end :]
    return "".join(text)


@cache
def byte_alphabet() -> dict[str, int]:
    """Return the byte that each character of the byte-level alphabet stands for.

    Source: GPT-2 (Radford et al. 2019): printable Latin-1 bytes stand for themselves, the others, in order, for the
    code points from 256.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(others)}


def _spell_byte_level(symbol: str) -> bytes:
    alphabet = byte_alphabet()
    if all(character in alphabet for character in symbol):
        return bytes(alphabet[character] for character in symbol)
    return symbol.encode()


def _make_sentencepiece(replacements: list[tuple[str, str]], *, fallback: bool) -> Callable[[str], bytes]:
    def spell(symbol: str) -> bytes:
        match = _BYTE.fullmatch(symbol) if fallback else None
        if match:
            return bytes([int(match[1], 16)])
        for old, new in replacements:
            symbol = symbol.replace(old, new)
        return symbol.encode()

    return spell


def spell_bytes(decoder: Mapping[str, Any]) -> Callable[[str], bytes] | None:
    """Return a function from a token's symbol to its exact bytes, read off a ``tokenizers`` decoder's description.

    None where that decoder does not work token by token on bytes (WordPiece, CTC …).
    """
    steps = decoder.get("decoders") if decoder.get("type") == "Sequence" else [decoder]
    if not isinstance(steps, list):
        return None
    replacements: list[tuple[str, str]] = []
    fallback = False
    for step in steps:
        match step:
            case {"type": "ByteLevel"}:
                return _spell_byte_level
            case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)}:
                replacements.append((old, new))
            case {"type": "Metaspace", "replacement": str(old)}:
                replacements.append((old, " "))
            case {"type": "ByteFallback"}:
                fallback = True
            case {"type": "Fuse"} | {"type": "Strip"}:
                # Strip takes the space before a whole text; a response continues one, so its space is real.
                continue
            case _:
                return None
    return _make_sentencepiece(replacements, fallback=fallback) if replacements or fallback else None


class BytesDecoder:
    """Decodes ids whose exact bytes are known; bytes that are no UTF-8 become U+FFFD."""

    def __init__(self, spell: Callable[[int], bytes]) -> None:
        self._spell = spell
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """Return the text that became complete with ``token``."""
        return self._utf8.decode(self._spell(token))

    def flush(self) -> str:
        """Return U+FFFD where a character was left unfinished."""
        return self._utf8.decode(b"", final=True)
