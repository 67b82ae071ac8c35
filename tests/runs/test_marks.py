"""Marks: events that are only added, and what stands after them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.errors import RunError
from itx.records import Mark
from itx.runs.marks import MarkBook
from itx.runs.recording import Recording
from tests.support.traces import build_run, build_traces, write_run

VERDICTS = st.sampled_from(["hallucinated", "fine", "accepted", "rejected", "cleared"])
EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 1), VERDICTS, st.sampled_from([None, "rows.jsonl#1"])), max_size=25
)


def mark(prompt_id: str = "1", start: int = 0, verdict: str = "fine", row: str | None = None, note: str = "") -> Mark:
    return Mark(
        time="2026-11-22T10:00:00Z",
        prompt_id=prompt_id,
        author="full",
        start=start,
        end=start + 2,
        verdict=verdict,
        row=row,
        note=note,
    )


class Growing(io.RawIOBase):
    """A file whose last line another process is writing: its end is seen in the middle of the line, once."""

    def __init__(self, data: bytes, seen: int) -> None:
        self.parts = [data[:seen], b"", data[seen:]]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset

    def readinto(self, buffer: object) -> int:
        part = self.parts.pop(0) if self.parts else b""
        memoryview(buffer)[: len(part)] = part
        return len(part)


def test_a_line_that_grows_while_it_is_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = MarkBook(tmp_path)
    writer.add(mark())
    reader = MarkBook(tmp_path)
    writer.add(mark(start=4))
    writer.add(mark(start=8, note="long enough"))
    data = (tmp_path / "marks.jsonl").read_bytes()[reader._offset :]
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda *_: io.BufferedReader(Growing(data, len(data) - 20)))
        reader.refresh()
    assert [each.start for each in reader.marks] == [0, 4]
    reader.refresh()
    assert reader.marks == writer.marks
    assert [each.start for each in reader.marks] == [0, 4, 8]


def test_lines_are_the_contracts_and_reopening_agrees(tmp_path: Path) -> None:
    book = MarkBook(tmp_path)
    assert book.marks == []
    assert not (tmp_path / "marks.jsonl").exists()
    book.add(mark(verdict="hallucinated", note="Ω"))
    book.add(mark(verdict="accepted", row="rows.jsonl#3"))
    lines = (tmp_path / "marks.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {
        "time": "2026-11-22T10:00:00Z",
        "prompt_id": "1",
        "author": "full",
        "start": 0,
        "end": 2,
        "verdict": "hallucinated",
        "row": None,
        "note": "Ω",
    }
    assert list(json.loads(lines[0])) == ["time", "prompt_id", "author", "start", "end", "verdict", "row", "note"]
    assert MarkBook(tmp_path).marks == book.marks == [mark(verdict="hallucinated", note="Ω"), mark(
        verdict="accepted", row="rows.jsonl#3")]  # fmt: skip
    found = book.verdict("1", "full", 0, 2)
    assert found is not None
    assert found.verdict == "hallucinated"
    assert book.verdict("1", "base", 0, 2) is None
    assert len(book.of("1", "full")) == 2
    assert book.of("1", "base") == []


@given(events=EVENTS)
def test_the_last_event_stands_and_no_event_is_lost(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, str, str | None]]
) -> None:
    folder = tmp_path_factory.mktemp("marks")
    book = MarkBook(folder)
    for number, (prompt_id, start, verdict, row) in enumerate(events):
        book.add(mark(prompt_id, start, verdict, row, note=str(number)))
    standing = []
    for number, event in enumerate(events):
        later = [other for other in events[number + 1 :] if (other[0], other[1], other[3]) == (*event[:2], event[3])]
        if not later and event[2] != "cleared":
            standing.append(mark(event[0], event[1], event[2], event[3], note=str(number)))
    assert book.marks == standing
    assert MarkBook(folder).marks == standing
    path = folder / "marks.jsonl"
    assert (path.read_text().count("\n") if path.exists() else 0) == len(events)


def test_a_torn_event_is_left_out_set_aside_and_the_rest_kept(tmp_path: Path) -> None:
    MarkBook(tmp_path).add(mark("1"))
    path = tmp_path / "marks.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    book = MarkBook(tmp_path)
    assert book.marks == [mark("1")]
    book.add(mark("2"))
    assert book.marks == MarkBook(tmp_path).marks == [mark("1"), mark("2")]
    assert (tmp_path / "marks.torn").read_bytes() == whole[:40] + b"\n"
    # Only the line feed is missing: the event counts.
    path.write_bytes(path.read_bytes()[:-1])
    book = MarkBook(tmp_path)
    assert book.marks == [mark("1"), mark("2")]
    book.add(mark("3"))
    assert book.marks == MarkBook(tmp_path).marks == [mark("1"), mark("2"), mark("3")]
    assert (tmp_path / "marks.torn").read_bytes().count(b"\n") == 1


WRITER = """
import sys
from itx.records import Mark
from itx.runs.marks import MarkBook
from pathlib import Path
book = MarkBook(Path(sys.argv[1]))
for number in range(40):
    book.add(Mark(time="t", prompt_id=sys.argv[2], author="full", start=number, end=number + 1, verdict="fine"))
"""


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    marks = MarkBook(tmp_path).marks
    assert {(each.prompt_id, each.start) for each in marks} == {(name, n) for name in "ab" for n in range(40)}


def test_what_another_process_adds_is_seen_after_refreshing(tmp_path: Path) -> None:
    first, second = MarkBook(tmp_path), MarkBook(tmp_path)
    second.add(mark("9"))
    assert first.marks == []
    first.refresh()
    assert first.marks == [mark("9")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"broken\n", "not valid JSON"),
        (b'{"time": "t"}\n', "missing required field"),
        (b'{"time":"t","prompt_id":"1","author":"a","start":0,"end":1,"verdict":"guilty"}\n', "Invalid enum value"),
        (b'{"time":"t","prompt_id":"1","author":"a","start":3,"end":1,"verdict":"fine"}\n', "a span from 3 to 1"),
    ],
)
def test_a_strangers_line_is_refused_by_number(tmp_path: Path, line: bytes, said: str) -> None:
    MarkBook(tmp_path).add(mark())
    path = tmp_path / "marks.jsonl"
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(RunError, match=rf"marks\.jsonl, line 2: .*{said}") as caught:
        MarkBook(tmp_path)
    assert "sed -i.bak 2d" in caught.value.remedy


def test_a_mark_that_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    book = MarkBook(tmp_path)
    for wrong in (mark(start=-1), mark(note="\ud800")):
        with pytest.raises(RunError, match="cannot be recorded"):
            book.add(wrong)
    assert not (tmp_path / "marks.jsonl").exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "marks.jsonl").symlink_to(target)
    with pytest.raises(RunError, match="cannot be written"):
        MarkBook(tmp_path / "run").add(mark())
    assert target.read_text() == ""


def test_a_recording_has_its_marks(tmp_path: Path) -> None:
    run = build_run()
    write_run(tmp_path, run, build_traces(run, 2))
    recording = Recording.open(tmp_path)
    assert recording.marks() == []
    book = MarkBook(tmp_path)
    book.add(mark("1"))
    book.add(mark("2", verdict="hallucinated"))
    assert recording.marks() == [mark("1"), mark("2", verdict="hallucinated")]
    assert recording.marks("2") == recording.marks("2", "full") == [mark("2", verdict="hallucinated")]
    assert recording.marks("2", "base") == []
