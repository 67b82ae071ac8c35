"""``borrow.jsonl``: where the words of each response occur in the tuning data, one line a response.

Lines are appended as prompts finish; the last one of a prompt and author counts. A line that was made for another
response than the recorded one (a prompt was asked again) counts as missing.
"""

from __future__ import annotations

import hashlib
import shlex
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from itx.errors import RunError
from itx.records import Borrowing, Record, Response, Span
from itx.runs.appending import LineFile
from itx.runs.lines import BORROW, decode

_BORROWING = msgspec.json.Decoder(Borrowing)


class _Head(Record, frozen=True, kw_only=True):
    prompt_id: str
    author: str
    response: str | None = None


class _Place(Record, frozen=True, kw_only=True):
    response: str | None
    line: int
    offset: int
    size: int


_HEAD = msgspec.json.Decoder(_Head)


def fingerprint_response(response: Response) -> str:
    """Return ``sha256:…`` of the ids, by which a line knows the response that it was made for."""
    return fingerprint_ids(response.ids)


def fingerprint_ids(ids: Sequence[int]) -> str:
    """Return ``sha256:…`` of the ids of a response."""
    return f"sha256:{hashlib.sha256(' '.join(map(str, ids)).encode()).hexdigest()}"


class BorrowingWriter:
    """Appends to a run's ``borrow.jsonl``; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._file = LineFile(folder / BORROW, _is_borrowing)

    def append(self, borrowing: Borrowing, response: Response) -> None:
        """Write what ``response`` borrowed and wait until it is on the disk.

        Raises RunError where it could not be read back (nothing is written then), or the disk refuses.
        """
        stamped = msgspec.structs.replace(borrowing, response=fingerprint_response(response))
        try:
            # A figure that is not a number would become null.
            line = msgspec.json.encode(check_borrowing(stamped, response))
            decode(_BORROWING, line)
        except (UnicodeEncodeError, ValueError) as error:
            raise RunError(
                f"What {borrowing.author} borrowed for prompt {borrowing.prompt_id} cannot be recorded: {error}.",
                "Its trace is recorded; leave --data out for this prompt.",
            ) from error
        self._file.append(line)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BorrowingReader:
    """Finds lines of a run's ``borrow.jsonl``, also while it is being written; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / BORROW
        self._places: dict[tuple[str, str], _Place] = {}
        self._offset = 0
        self._line = 0
        self._reading = threading.RLock()

    def find(self, prompt_id: str, response: Response) -> Borrowing | None:
        """Return what the response borrowed, or None where no line was made for it.

        Raises RunError for a line that cannot be used.
        """
        wanted = fingerprint_response(response)
        with self._reading:
            place = self._places.get((prompt_id, response.author))
            if place is None or place.response not in {None, wanted}:
                self._scan()
                place = self._places.get((prompt_id, response.author))
        if place is None or place.response not in {None, wanted}:
            return None
        return self._load(place, response)

    def _scan(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    offset = self._offset
                    self._offset += len(line)
                    self._line += 1
                    try:
                        head = decode(_HEAD, line)
                    except ValueError as error:
                        raise self._refuse_line(self._line, str(error)) from error
                    self._places[head.prompt_id, head.author] = _Place(
                        response=head.response, line=self._line, offset=offset, size=len(line)
                    )
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refuse_reading(error) from error

    def _load(self, place: _Place, response: Response) -> Borrowing:
        try:
            with self._path.open("rb") as file:
                file.seek(place.offset)
                line = file.read(place.size)
        except OSError as error:
            raise self._refuse_reading(error) from error
        try:
            return check_borrowing(decode(_BORROWING, line), response)
        except ValueError as error:
            raise self._refuse_line(place.line, str(error)) from error

    def _refuse_line(self, line: int, reason: str) -> RunError:
        return RunError(
            f"{self._path}, line {line}: {reason}.",
            "The traces are untouched. To drop this line and keep a copy: "
            f"sed -i.bak {line}d {shlex.quote(str(self._path))}",
        )

    def _refuse_reading(self, error: OSError) -> RunError:
        return RunError(f"{self._path} cannot be read: {error.strerror}.", f"ls -l {shlex.quote(str(self._folder))}")


def check_borrowing(borrowing: Borrowing, response: Response) -> Borrowing:
    """Return the borrowing. Raises ValueError where its spans do not fit the response, or counts are impossible."""
    length = len(response.ids)
    numbers = [span.id for span in borrowing.spans]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ValueError("span ids do not count from 1")
    for span in borrowing.spans:
        _check_span(span, length)
    for found in borrowing.paraphrases:
        if not 0 <= found.start < found.end <= length:
            raise ValueError(f"a sentence from {found.start} to {found.end} of {length} positions")
    if any(not 0 <= position < length for position in borrowing.positions):
        raise ValueError(f"a borrowed word at a position that is none of the {length}")
    if any(not 1 <= number <= len(numbers) for number in borrowing.positions.values()):
        raise ValueError("a borrowed word in a span that is not listed")
    if not 0 <= borrowing.distinct <= borrowing.borrowed <= borrowing.candidates:
        raise ValueError(f"{borrowing.borrowed} of {borrowing.candidates} words borrowed")
    if not 0 <= borrowing.raised <= borrowing.borrowed:
        raise ValueError(f"{borrowing.raised} of {borrowing.borrowed} borrowed words raised")
    for control in (borrowing.null.base, borrowing.null.control, borrowing.null.random):
        if control is not None and not 0 <= control.borrowed <= control.words:
            raise ValueError(f"a control with {control.borrowed} of {control.words} words")
    return borrowing


def _check_span(span: Span, length: int) -> None:
    if not 0 <= span.start < span.end <= length:
        raise ValueError(f"span {span.id} from {span.start} to {span.end} of {length} positions")
    if span.rows < 0 or any(not span.start <= word < span.end for word in span.words):
        raise ValueError(f"span {span.id} has impossible words or rows")
    if any(not 0 <= example.start <= example.end <= len(example.text) for example in span.examples):
        raise ValueError(f"span {span.id} has an example whose match lies outside its text")
    if span.rise is not None and not abs(span.rise) < 1e12:
        raise ValueError(f"span {span.id} has a rise that is no figure")


def _is_borrowing(line: bytes) -> bool:
    try:
        decode(_BORROWING, line)
    except ValueError:
        return False
    return True
