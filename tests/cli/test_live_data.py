"""Tuning data of a live comparison: opened beside the models, and never waited for by an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from itx.cli import live as live_module
from itx.cli.borrowing import DataChoice, TuningData
from itx.cli.prompts import Gathered
from itx.compare.request import Request
from itx.errors import UsageError
from itx.records import DataReference
from itx.tui.notes import Live
from tests.support.traces import build_run, write_run
from tests.tui.fakes import FakeComparer


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Live]:
    """Return what the screen was asked to show; models are not loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sources: list[Live] = []
    monkeypatch.setattr("itx.tui.terminal.screen_is_possible", lambda: True)

    def take(source: Live) -> int:
        sources.append(source)
        return 0

    monkeypatch.setattr("itx.tui.app.run_app", take)
    monkeypatch.setattr("itx.compare.load.load_comparison", lambda request, tell: FakeComparer(build_run(), []))
    return sources


def show(data: Path, out: Path) -> None:
    live_module.show(
        Request(base="base", tuned=["full"], command=["itx"]),
        Gathered(prompts=[], broken=[]),
        out,
        DataChoice(reference=str(data)),
    )


def write_rows(path: Path) -> Path:
    rows = [{"instruction": f"Describe hill {n}.", "output": f"Hill {n} has {n * 7} larches."} for n in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_models_do_not_wait_for_the_data(shown: list[Live], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show(write_rows(tmp_path / "rows.jsonl"), tmp_path / "run")
    (source,) = shown
    opened: list[TuningData] = []
    open_data = TuningData.open

    def spy(self: TuningData, *words: object) -> object:
        opened.append(self)
        return open_data(self)

    monkeypatch.setattr(TuningData, "open", spy)
    assert source.loader(lambda _: None).run.data is None
    assert not opened
    assert source.tracer is not None
    assert source.data is not None
    source.tracer(lambda _: None)
    assert source.data().rows == 9


def test_a_run_that_names_its_data_is_gone_on_with_in_the_same(shown: list[Live], tmp_path: Path) -> None:
    named = DataReference(reference="rows.jsonl", fingerprint="sha256:1", rows=9)
    write_run(tmp_path / "run", build_run(data=named), [])
    show(write_rows(tmp_path / "rows.jsonl"), tmp_path / "run")
    found = shown[0].loader(lambda _: None).run.data
    # What the recorder compares with the run's own: other contents are refused before anything is asked.
    assert found is not None
    assert found.fingerprint != named.fingerprint


def test_data_that_is_not_there_is_said_before_the_screen_opens(shown: list[Live], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        show(tmp_path / "nothing.jsonl", tmp_path / "run")
    assert not shown
