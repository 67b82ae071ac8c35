"""A response as lines of marked and unmarked text: what Markdown and plain text have in common."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from itx.records import Record, Response, Score, ShiftClass, Thresholds
from itx.text import sanitise

LINE_FEED = "↵"
BLANK = "␣"


class Stretch(Record, frozen=True, kw_only=True):
    """Text of one shift class within a line; a marked one neither starts nor ends with white space."""

    text: str
    shift: ShiftClass = "unshifted"


def mark_lines(
    response: Response, score: Score | None, thresholds: Thresholds, pieces: Mapping[int, str]
) -> list[list[Stretch]]:
    """Return the response's lines as stretches, sanitised; without a score, or a rank, nothing is marked.

    Neighbours of the same class are one stretch. A marked token of white space alone is shown as ``↵`` or ``␣``, and a
    marked EOS by its name. A character made of several tokens has the class of the one that completes it.
    """
    text = sanitise(response.text)
    parts: list[tuple[str, ShiftClass]] = []
    for position in range(response.length):
        start, end = response.span(position)
        shift = (thresholds.classify(score.rank[position]) if score else None) or "unshifted"
        piece = text[start:end]
        if shift != "unshifted" and piece.isspace():
            piece = piece.replace(" ", BLANK).replace("\n", f"{LINE_FEED}\n")
        parts.append((piece, shift))
    parts.append((text[response.ends[response.length - 1] if response.length else 0 :], "unshifted"))
    if score and response.length < len(response.ids):
        shift = thresholds.classify(score.rank[response.length]) or "unshifted"
        if shift != "unshifted":
            name = sanitise(pieces.get(response.ids[-1]) or "EOS", keep_newlines=False)
            parts += [(" ", "unshifted"), (name, shift)]
    merged = [
        ("".join(piece for piece, _ in group), shift)
        for shift, group in groupby((part for part in parts if part[0]), key=lambda part: part[1])
    ]
    return _split_lines(merged)


def _split_lines(parts: list[tuple[str, ShiftClass]]) -> list[list[Stretch]]:
    lines: list[list[Stretch]] = [[]]
    for text, shift in parts:
        for number, piece in enumerate(text.split("\n")):
            if number:
                lines.append([])
            lines[-1].extend(_trim(piece, shift))
    return [_join_unmarked(line) for line in lines]


def _trim(piece: str, shift: ShiftClass) -> list[Stretch]:
    core = piece.strip()
    if shift == "unshifted" or not core:
        return [Stretch(text=piece)] if piece else []
    lead, tail = piece[: piece.index(core)], piece[piece.index(core) + len(core) :]
    stretches = [Stretch(text=lead), Stretch(text=core, shift=shift), Stretch(text=tail)]
    return [stretch for stretch in stretches if stretch.text]


def _join_unmarked(line: list[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for stretch in line:
        if joined and stretch.shift == "unshifted" == joined[-1].shift:
            joined[-1] = Stretch(text=joined[-1].text + stretch.text)
        else:
            joined.append(stretch)
    return joined
