"""The lock on a run's folder where the disk has no room for the name of its owner."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from itx.errors import RunError
from itx.runs.lock import FolderLock
from itx.runs.recorder import Recorder
from tests.support.traces import build_run, write_run


@pytest.mark.parametrize("call", ["write", "ftruncate"])
def test_no_room_for_the_owner_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    folder = write_run(tmp_path / "my run", build_run(), [])
    before = sorted(Path("/proc/self/fd").iterdir())
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, call, refuse)
        for _ in range(2):
            with pytest.raises(RunError, match="my run cannot be written: No space left on device") as caught:
                Recorder.resume(folder, build_run())
            assert f"df -h '{folder}'" in caught.value.remedy
    assert not (folder / "run.lock").exists()
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    FolderLock(folder).release()


def test_no_room_for_the_lock_itself_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(RunError) as caught:
            FolderLock(tmp_path)
    assert "df -h" in caught.value.remedy
