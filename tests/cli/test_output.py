"""A file is written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from itx.cli.output import write_pieces
from itx.errors import UsageError


def test_pieces_are_written_with_ordinary_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    write_pieces(["é\n", "b"], path)
    plain = tmp_path / "plain"
    plain.touch()
    assert path.read_bytes() == "é\nb".encode()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("old")

    def fail() -> Iterator[str]:
        yield "new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pieces(fail(), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.md"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["run.json", "traces.jsonl", "marks.jsonl", "borrow.jsonl", "traces.torn", "Run.JSON"])
def test_no_part_of_a_run_is_written_over(recorded: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(recorded)
    (tmp_path / "out.md").symlink_to(recorded / name)
    before = {path.name: path.read_bytes() for path in recorded.iterdir()}
    for path in (
        recorded / name,
        tmp_path / "link" / name,
        recorded / ".." / recorded.name / name,
        tmp_path / "out.md",
    ):
        with pytest.raises(UsageError, match="part of a recorded run"):
            write_pieces(["x"], path)
    assert {path.name: path.read_bytes() for path in recorded.iterdir()} == before
    write_pieces(["x"], recorded / "findings.md")
    write_pieces(["x"], tmp_path / name)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing.*does not exist"):
        write_pieces(["x"], tmp_path / "missing" / "a.md")
