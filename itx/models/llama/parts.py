"""A model in several GGUF files, as llama.cpp's ``llama-gguf-split`` names them: ``NAME-00001-of-00003.gguf`` …"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from itx.errors import WeightsError
from itx.models.llama.header import Header, read_header

_COUNT: Final = "split.count"
_NUMBER: Final = "split.no"
_NAMED: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def list_parts(header: Header) -> list[Path]:
    """Return the files that a model lies in, the first first, and add the others' tensors to its header.

    llama.cpp is given the first and finds the others by their names. Raises WeightsError where this is not the first,
    where the names do not say which part a file is, and where a part is missing or another than its name says.
    """
    count = header.metadata.get(_COUNT)
    if not isinstance(count, int) or count <= 1:
        return [header.path]
    named = _NAMED.fullmatch(header.path.name)
    if named is None or int(named["count"]) != count:
        raise WeightsError(
            f"{header.path} is one of {count} parts of a model, and its name does not say which.",
            f"Name it and its other parts NAME-00001-of-{count:05d}.gguf and so on.",
        )
    paths = [header.path.with_name(f"{named['stem']}-{part:05d}-of-{count:05d}.gguf") for part in range(1, count + 1)]
    if header.path != paths[0]:
        raise WeightsError(f"{header.path} is not the first part of its model.", f"Name {paths[0]}.")
    for number, path in enumerate(paths):
        if not path.is_file():
            raise WeightsError(f"{path} is missing: the model lies in {count} parts.", "Download all of them.")
        part = header if number == 0 else read_header(path)
        if part.metadata.get(_NUMBER) != number:
            raise WeightsError(
                f"{path} says that it is part {part.metadata.get(_NUMBER)}, and its name part {number} (from 0).",
                "Copy or download the parts again.",
            )
        if number:
            header.tensors += part.tensors
    return paths
