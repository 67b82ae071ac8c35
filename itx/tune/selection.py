"""Rows named by a person: ``FILE#INDEX`` with commas between them, or a file of such ids."""

from __future__ import annotations

import re
from pathlib import Path

from itx.errors import UsageError

_ID = re.compile(r"[^,\r\n]*#\d+")


def read_row_ids(words: str, option: str = "--without") -> list[str]:
    """Return the ids that ``words`` name, each once, in order: ids with commas between them, or a file's name.

    In a file ids are parted by commas or line ends; lines that begin with ``//`` are remarks. Raises UsageError for
    what is neither.
    """
    if all(_ID.fullmatch(word.strip()) for word in words.split(",")):
        return list(dict.fromkeys(word.strip() for word in words.split(",")))
    try:
        text = Path(words).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{option} {words} is no list of row ids, and no file that can be read: {error}",
            f"{option} rows.jsonl#12,rows.jsonl#40",
        ) from error
    lines = (line for line in text.splitlines() if not line.startswith("//"))
    ids = [word.strip() for line in lines for word in line.split(",") if word.strip()]
    wrong = next((word for word in ids if not _ID.fullmatch(word)), None)
    if wrong is not None or not ids:
        cause = "names no rows" if wrong is None else f"holds {wrong!r}, which is no row's id"
        raise UsageError(f"{words} {cause}.", "A row's id is FILE#INDEX: the file's name and the row's number from 0.")
    return list(dict.fromkeys(ids))
