"""Runs changed at random: refused by name, or reported without a crash."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itx.errors import RunError
from itx.report.figures import summarise
from itx.report.markdown import write_markdown
from itx.report.plain import write_plain
from itx.report.summary import write_summary
from itx.report.table import write_csv, write_jsonl
from itx.runs.recording import Recording
from tests.support.traces import build_run, build_trace

JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    7,
    10**30,
    1e308,
    -1e308,
    "",
    "x",
    "\u202e\x1b[2J\n|`",
    [],
    [1],
    [[1, -1.0]],
    {},
    {"x": 1},
]
RUN = json.loads(msgspec.json.encode(build_run(("lora", "full"))))
TRACE = json.loads(msgspec.json.encode(build_trace("1", "p", {"base": "It.", "lora": "Sure! 🎉", "full": "The king."})))


def _change(node: Any, source: random.Random) -> Any:
    """Return a copy of ``node`` with one place in it replaced, dropped or doubled."""
    if not isinstance(node, dict | list) or not node or source.random() < 0.08:
        return source.choice(JUNK)
    if isinstance(node, dict):
        key = source.choice(list(node))
        fate = source.random()
        if fate < 0.05:
            return {name: value for name, value in node.items() if name != key}
        return node | {key: _change(node[key], source)}
    place = source.randrange(len(node))
    fate = source.random()
    if fate < 0.1:
        return node[:place] + node[place + 1 :]
    if fate < 0.2:
        return [*node, node[place]]
    return [*node[:place], _change(node[place], source), *node[place + 1 :]]


@settings(max_examples=400)
@given(seed=st.integers(0, 2**32), whole=st.booleans())
def test_a_changed_run_is_refused_or_reported(tmp_path_factory: pytest.TempPathFactory, seed: int, whole: bool) -> None:
    source = random.Random(seed)
    run, trace = (_change(RUN, source), TRACE) if whole else (RUN, _change(TRACE, source))
    if not whole and source.random() < 0.5:
        trace = _change(trace, source)
    folder = tmp_path_factory.getbasetemp() / "strange"
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "traces.jsonl").write_text(json.dumps(trace) + "\n")
    try:
        recording = Recording.open(folder)
        traces = list(recording.traces())
    except RunError as error:
        assert "run.json" in error.cause or "traces.jsonl, line 1" in error.cause
        return
    figures = summarise(recording.run, traces)
    documents = [
        write_markdown(recording.run, traces),
        write_summary(recording.run, figures),
        "".join(write_csv(recording.run, traces)),
        *(write_plain(recording.run, trace, 60) for trace in traces),
    ]
    assert not any("\x1b" in document or "\u202e" in document for document in documents)
    assert all(json.loads(line) for line in write_jsonl(recording.run, traces))
    assert json.loads(msgspec.json.encode(figures))["prompts"] == 1


def test_changes_are_both_refused_and_let_through(tmp_path: Path) -> None:
    """The test above is worth something only where both of its ends occur."""
    outcomes: set[bool] = set()
    for seed in range(60):
        (tmp_path / "run.json").write_text(json.dumps(RUN))
        (tmp_path / "traces.jsonl").write_text(json.dumps(_change(TRACE, random.Random(seed))) + "\n")
        try:
            list(Recording.open(tmp_path).traces())
        except RunError:
            outcomes.add(False)
        else:
            outcomes.add(True)
    assert outcomes == {True, False}
