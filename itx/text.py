"""Text from strangers, made safe to show: model output, prompts, rows, file names.

Replacement is one character for one character, so that positions in the text stay true.
"""

from __future__ import annotations

import json

_PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_C1 = dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
# Invisible characters that reorder or hide what follows them: a terminal would show another text than the one stored.
_FORMAT = dict.fromkeys(
    [
        *(0x00AD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFFF9, 0xFFFC),
        *range(0xE0000, 0xE0080),
    ],
    0xFFFD,
)
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)
_ALL = _PICTURES | _C1 | _FORMAT | _SURROGATES
_LINES = {code: picture for code, picture in _ALL.items() if code != 0x0A}
_ESCAPES = {code: json.dumps(chr(code))[1:-1] for code in _ALL if code >= 0x7F} | {0x7F: "\\u007f"}


def sanitise(text: str, *, keep_newlines: bool = True) -> str:
    """Return ``text`` with every control, escape, bidirectional and invisible format character made visible.

    C0 controls become their Unicode control pictures (ESC → ␛, tab → ␉), the rest U+FFFD. The result has the same
    length. With ``keep_newlines`` line feeds stay.
    """
    return text.translate(_LINES if keep_newlines else _ALL)


def escape_json(encoded: str) -> str:
    """Return JSON that means the same, with every character that ``sanitise`` replaces written as an escape.

    ``encoded`` is JSON on one line, whose C0 controls are escaped already: printed on a terminal it is harmless.
    """
    return encoded.translate(_ESCAPES)
