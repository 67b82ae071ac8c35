"""The runs kept without a name."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.errors import RunError
from itx.runs.library import discard_unused, new_run_folder, newest_run
from itx.runs.recorder import Recorder
from tests.support.traces import build_run, build_traces, write_run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "itx" / "runs"


def test_new_folders_are_dated_unique_and_plain(root: Path) -> None:
    today = datetime.date.today().isoformat()
    names = ["full", "full", "./models/my run\n\x1b[31m", "../..", "", "é" * 99]
    folders = [new_run_folder(name) for name in names]
    assert [folder.name for folder in folders] == [
        f"{today}-full",
        f"{today}-full-2",
        f"{today}-models-my-run-31m",
        f"{today}-run",
        f"{today}-run-2",
        f"{today}-run-3",
    ]
    assert all(folder.parent == root and not list(folder.iterdir()) for folder in folders)


@given(name=st.text())
def test_any_name_stays_in_its_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(root))
        folder = new_run_folder(name)
        assert folder.resolve().parent == (root / "itx" / "runs").resolve()
        assert len(folder.name) <= 80


def test_newest_is_the_one_written_last(root: Path) -> None:
    with pytest.raises(RunError, match="No run is recorded"):
        newest_run()
    for place, name in enumerate(["c", "a", "b"]):
        folder = write_run(root / name, build_run(), [])
        os.utime(folder / "traces.jsonl", ns=(place, place))
    (root / "z-empty").mkdir()
    assert newest_run() == root / "b"
    os.utime(root / "a" / "traces.jsonl", ns=(9, 9))
    assert newest_run() == root / "a"


def test_unused_folders_go_and_others_stay(root: Path) -> None:
    run = build_run()
    empty = new_run_folder("x")
    assert discard_unused(empty)
    assert not empty.exists()
    asked_nothing = new_run_folder("x")
    Recorder.create(asked_nothing, run).close()
    assert discard_unused(asked_nothing)
    used = new_run_folder("x")
    with Recorder.create(used, run) as recorder:
        recorder.append(build_traces(run, 1)[0])
    assert not discard_unused(used)
    foreign = new_run_folder("x")
    (foreign / "notes").write_text("mine")
    assert not discard_unused(foreign)
    assert (foreign / "notes").exists()
    assert (used / "traces.jsonl").stat().st_size


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(RunError, match="cannot be made"):
        new_run_folder("x")
