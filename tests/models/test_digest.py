from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from itx.models import digest
from itx.models.digest import digest_file, recall_digest, remember_check

SIZE = (1 << 20) + 7


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that looks as old as it must to be remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "weights.gguf"
    path.write_bytes(os.urandom(SIZE))
    let_time_pass(monkeypatch)
    return path


def let_time_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time() + 60
    monkeypatch.setattr(digest.time, "time", lambda: now)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that grows by each file whose content is read."""
    reads: list[Path] = []
    original = Path.open

    def opened(self: Path, *arguments: object, **settings: object) -> object:
        if settings.get("buffering") == 0:
            reads.append(self)
        return original(self, *arguments, **settings)

    monkeypatch.setattr(Path, "open", opened)
    return reads


def test_a_file_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = count_reads(monkeypatch)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [digest_file(path) for _ in range(3)] == [expected] * 3
    assert reads == [path]


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


def overwrite_and_turn_back_the_clock(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    before = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(os.urandom(SIZE))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [append, overwrite_and_turn_back_the_clock, replace])
def test_a_file_that_changed_is_read_again(path: Path, change: Callable[[Path], None]) -> None:
    first = digest_file(path)
    remember_check(path, "seen")
    change(path)
    assert recall_digest(path) is None
    assert digest_file(path) == hashlib.sha256(path.read_bytes()).hexdigest() != first


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "weights.gguf"
    path.write_bytes(os.urandom(SIZE))
    digest_file(path)
    assert recall_digest(path) is None


def test_checks_are_remembered_with_the_content(path: Path) -> None:
    remember_check(path, "early")
    assert recall_digest(path) is None, "what was not read has no digest"
    digest_file(path)
    remember_check(path, "one")
    remember_check(path, "two")
    known = recall_digest(path)
    assert known is not None
    assert known.passed == ["one", "two"]


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"path": 1}'])
def test_what_is_remembered_in_part_is_forgotten(path: Path, tmp_path: Path, content: bytes) -> None:
    expected = digest_file(path)
    (place,) = (tmp_path / "cache").rglob("*.json")
    place.write_bytes(content)
    assert recall_digest(path) is None
    assert digest_file(path) == expected
    assert recall_digest(path) is not None


def test_a_cache_that_cannot_be_written_is_no_hindrance(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert digest_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert recall_digest(path) is None
