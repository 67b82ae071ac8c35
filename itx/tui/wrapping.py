"""Word wrapping of a growing text by terminal cells, one run of cells a position.

The text is a list of positions (emitted tokens), each with what it completed. Every position gets at least one cell,
so that a cursor can stand on it: one without characters of its own (a part of a multi-byte character, the end) gets a
mark. Lines are closed greedily and never change afterwards, so that appending costs only the open line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from rich.cells import cell_len, split_graphemes

from itx.text import sanitise

TAB_CELLS = 4


class Kind(Enum):
    """What a cell shows."""

    TEXT = "text"
    SPACE = "space"
    LEAD = "lead"
    """A blank before the word of its own position: it carries no mark."""
    NEWLINE = "newline"
    TAB = "tab"
    MARK = "mark"
    """Stands for a position without characters."""
    GHOST = "ghost"
    """Not a part of the text: what another model would have said here."""
    OPEN = "open"
    """Not a part of the text: the bracket before a span, with its number."""
    CLOSE = "close"
    """Not a part of the text: the bracket behind a span."""


_BLANK = (Kind.SPACE, Kind.LEAD)
_AROUND = (*_BLANK, Kind.NEWLINE, Kind.TAB)
"""What a bracket does not enclose at the ends of a span."""
ADDED = (Kind.GHOST, Kind.OPEN, Kind.CLOSE)
"""What is no part of the text."""


class Cell(NamedTuple):
    """One grapheme: its text, its width in terminal cells, and the position it belongs to."""

    text: str
    width: int
    position: int
    kind: Kind


class Glyphs(NamedTuple):
    """Signs for what has no shape of its own. All are one cell wide, but ``end``."""

    newline: str = "↵"
    tab: str = "→"
    part: str = "·"
    end: str = "<end>"


DEFAULT_GLYPHS = Glyphs()


class Piece(NamedTuple):
    """What one position completed; ``is_end`` for the token that ends the response.

    ``opening`` and ``closing`` are the brackets before and behind it, in ASCII; empty where no span begins or ends.
    """

    text: str
    is_end: bool = False
    opening: str = ""
    closing: str = ""


Line = list[Cell]


def line_width(line: Iterable[Cell]) -> int:
    """Return the width of a line in terminal cells."""
    return sum(cell.width for cell in line)


def split_cells(text: str, position: int, glyphs: Glyphs) -> list[Cell]:
    """Return the cells of ``text``, made safe: line feeds and tabs become visible signs."""
    cells: list[Cell] = []
    start = 0
    word = text.lstrip(" ")
    if word and word[0] not in "\n\t" and len(word) < len(text):
        start = len(text) - len(word)
        cells = [Cell(" ", 1, position, Kind.LEAD)] * start
    for index, character in enumerate(text):
        if character not in "\n\t":
            continue
        cells.extend(_split_run(text[start:index], position))
        if character == "\n":
            cells.append(Cell(glyphs.newline, 1, position, Kind.NEWLINE))
        else:
            cells.append(Cell(glyphs.tab + " " * (TAB_CELLS - 1), TAB_CELLS, position, Kind.TAB))
        start = index + 1
    cells.extend(_split_run(text[start:], position))
    return cells


def _split_run(run: str, position: int) -> list[Cell]:
    safe = sanitise(run)
    if safe.isascii():
        return [Cell(character, 1, position, Kind.SPACE if character == " " else Kind.TEXT) for character in safe]
    cells = []
    for start, end, width in split_graphemes(safe)[0]:
        # A combining mark with nothing before it gets a blank to stand on.
        grapheme = safe[start:end] if width else f" {safe[start:end]}"
        cells.append(Cell(grapheme, width or 1, position, Kind.SPACE if grapheme.isspace() else Kind.TEXT))
    return cells


class Wrapping:
    """Lines of at most ``width`` cells; one blank or line-end sign may hang in the cell after."""

    def __init__(self, width: int, glyphs: Glyphs = DEFAULT_GLYPHS) -> None:
        self.width = max(2, width)
        self.glyphs = glyphs
        self.lines: list[Line] = [[]]
        self._starts: list[int] = []
        self._open_width = 0
        self._positions = 0
        self._joined: set[int] = set()
        """Positions whose text begins with what belongs to the cell before."""

    @property
    def positions(self) -> int:
        """How many positions have been appended."""
        return self._positions

    @property
    def height(self) -> int:
        """Lines with at least one cell."""
        return len(self.lines) - (not self.lines[-1])

    def append(self, piece: Piece) -> int:
        """Append the next position; return the index of the first line that changed."""
        position = self._positions
        self._positions += 1
        first_changed = max(0, min(len(self.lines) - 1, self._find_last()[0]))
        cells = self._cells_of(piece, position)
        for cell in cells:
            self.place(cell)
        return first_changed

    def _cells_of(self, piece: Piece, position: int) -> list[Cell]:
        if piece.is_end:
            end = self.glyphs.end
            cells = [Cell(end, cell_len(end), position, Kind.MARK)]
        else:
            text = self._join_to_last(piece.text)
            cells = split_cells(text, position, self.glyphs) or [Cell(self.glyphs.part, 1, position, Kind.MARK)]
        return add_brackets(cells, piece.opening, piece.closing) if piece.opening or piece.closing else cells

    def _join_to_last(self, text: str) -> str:
        """Give the last cell what extends its grapheme (a combining mark, a joiner); return the rest of ``text``."""
        if not text or text.isascii():
            return text
        index, place = self._find_last()
        line = self.lines[index]
        if place < 0 or line[place].kind is not Kind.TEXT:
            return text
        last = line[place]
        safe = sanitise(text)
        spans, _ = split_graphemes(last.text + safe)
        end, width = spans[0][1], spans[0][2]
        taken = end - len(last.text)
        if taken <= 0:
            return text
        self._joined.add(self._positions - 1)
        line[place] = last._replace(text=last.text + safe[:taken], width=width)
        if line is self.lines[-1]:
            self._open_width += width - last.width
        return text[taken:]

    def _find_last(self) -> tuple[int, int]:
        """Return the line and the place in it of the last cell that is no closing bracket; place -1 where none is."""
        for index in (len(self.lines) - 1, len(self.lines) - 2):
            line = self.lines[index] if index >= 0 else []
            place = len(line) - 1
            while place >= 0 and line[place].kind is Kind.CLOSE:
                place -= 1
            if place >= 0 or not line:  # on a very narrow pane a bracket may stand alone on a line
                return index, place
        return index, -1

    def place(self, cell: Cell) -> None:
        """Put a cell after the last one, opening a line where it does not fit."""
        hangs = cell.kind in (*_BLANK, Kind.NEWLINE)
        if self._open_width + cell.width > self.width + hangs and self.lines[-1]:
            self._break_line(cell)
        line = self.lines[-1]
        if not line:
            self._starts.append(cell.position)
        line.append(cell)
        self._open_width += cell.width
        if cell.kind is Kind.NEWLINE:
            self.lines.append([])
            self._open_width = 0

    def _break_line(self, coming: Cell) -> None:
        """Close the open line at its last opportunity, and open the next with what follows."""
        line = self.lines[-1]
        cut = len(line)
        if not can_break(line[-1], coming):
            cut = next((index for index in range(len(line) - 1, 0, -1) if can_break(line[index - 1], line[index])), cut)
        rest = line[cut:]
        del line[cut:]
        self.lines.append(rest)
        if rest:
            self._starts.append(rest[0].position)
        self._open_width = line_width(rest)

    def rewind(self, position: int) -> int:
        """Take back ``position`` and what must be wrapped with it again; return the first line taken back.

        What is appended then, from ``positions`` on, is wrapped as if it had been so from the beginning, whatever has
        changed of it from ``position`` on.
        """
        if position >= self._positions:
            return len(self.lines) - 1
        line = self.line_of(position)
        while line and self.lines[line][0].position == position:
            line -= 1
        # The word that a line begins with may fit on the line before, once it has changed.
        line = max(0, line - 1)
        while line and not self._begins_clean(line):
            line -= 1
        self._positions = self._starts[line] if line else 0
        del self.lines[line:], self._starts[line:]
        self.lines.append([])
        self._open_width = 0
        self._joined = {joined for joined in self._joined if joined < self._positions}
        return line

    def _begins_clean(self, line: int) -> bool:
        """Return whether a line begins with a position, of which nothing stands on the line before."""
        start = self._starts[line]
        return start not in self._joined and self.lines[line - 1][-1].position != start

    def line_of(self, position: int) -> int:
        """Return the index of the last line that shows ``position`` (0 where nothing is shown)."""
        return max(0, bisect_right(self._starts, position) - 1)

    def column_of(self, position: int) -> int:
        """Return the first cell of ``position`` within its line."""
        column = 0
        line = self.lines[self.line_of(position)]
        for cell in line:
            if cell.position == position and cell.kind not in (Kind.LEAD, Kind.OPEN):
                return column
            if cell.position > position:
                break
            column += cell.width
        return max(0, column - 1)

    def position_at(self, line: int, column: int) -> int | None:
        """Return the position shown at a place, or the nearest on that line; None where the line is empty."""
        if not 0 <= line < self.height:
            return None
        cells = self.lines[line]
        passed = 0
        for cell in cells:
            passed += cell.width
            if column < passed:
                return cell.position
        return cells[-1].position


def can_break(before: Cell, after: Cell) -> bool:
    """Return True where a line may end between two cells: after a blank or a hyphen, and beside wide characters.

    What stands for a part of a character stays with that character, which comes after it.
    """
    if after.kind in (*_BLANK, Kind.NEWLINE, Kind.GHOST, Kind.CLOSE) or before.kind in (Kind.GHOST, Kind.OPEN):
        return False
    if before.kind is Kind.CLOSE:
        return after.kind is Kind.OPEN or after.width == 2
    if before.kind in (*_BLANK, Kind.TAB) or after.kind is Kind.TAB:
        return True
    if before.kind is Kind.MARK or after.kind is Kind.MARK:
        return after.kind is Kind.MARK and (after.width > 1 or before.width == 2)
    return before.width == 2 or after.width == 2 or (before.text in "-/" and after.text.isalnum())


def add_brackets(cells: list[Cell], opening: str, closing: str) -> list[Cell]:
    """Return the cells of one position with brackets around them, blanks and line ends at the ends left outside."""
    position = cells[0].position
    first = next((index for index, cell in enumerate(cells) if cell.kind not in _AROUND), len(cells))
    last = next((index for index in range(len(cells), 0, -1) if cells[index - 1].kind not in _AROUND), 0)
    before = [Cell(sign, 1, position, Kind.OPEN) for sign in opening]
    behind = [Cell(sign, 1, position, Kind.CLOSE) for sign in closing]
    if first >= last:  # nothing but blanks: what opens goes with the word that follows
        return [*cells, *before] if before and not behind else [*before, *behind, *cells]
    return [*cells[:first], *before, *cells[first:last], *behind, *cells[last:]]


def insert_ghost(wrapping: Wrapping, position: int, ghost: str) -> tuple[int, int, list[Line]]:
    """Wrap one paragraph again with ``ghost`` beside ``position``, from the line where that position begins.

    Return (first line, lines replaced, their replacement). The wrapping itself is left alone.
    """
    lines = wrapping.lines
    first = wrapping.line_of(position)
    while first and any(cell.position == position for cell in lines[first - 1]):
        first -= 1
    cells: list[Cell] = []
    last = first
    for last in range(first, wrapping.height):
        cells.extend(lines[last])
        if lines[last][-1].kind is Kind.NEWLINE and lines[last][-1].position >= position:
            break
    own = [index for index, cell in enumerate(cells) if cell.position == position and cell.kind is not Kind.NEWLINE]
    newlines = [index for index, cell in enumerate(cells) if cell.position == position and cell.kind is Kind.NEWLINE]
    place = own[-1] + 1 if own else newlines[0]
    safe = sanitise(ghost, keep_newlines=False)
    ghosts = [cell._replace(kind=Kind.GHOST) for cell in _split_run(safe, position)]
    fresh = Wrapping(wrapping.width, wrapping.glyphs)
    for cell in [*cells[:place], *ghosts, *cells[place:]]:
        fresh.place(cell)
    return first, last - first + 1, fresh.lines[: fresh.height]
