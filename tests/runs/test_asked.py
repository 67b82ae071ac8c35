"""What was asked under an id: a changed file must not be answered by what was recorded before the change."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from itx.errors import RunError
from itx.records import GivenResponse, Message, Prompt
from itx.runs.asked import fingerprint_prompt
from itx.runs.recorder import Recorder
from itx.runs.recording import Recording
from tests.support.traces import build_run, build_traces

RUN = build_run()
TRACE = build_traces(RUN, 1)[0]
ASKED = Prompt(
    id="1",
    prompt=TRACE.prompt,
    messages=[Message(role="user", content="a"), Message(role="user", content=TRACE.prompt)],
    given=[GivenResponse(author="full", text="FIRST")],
)
CHANGES = [
    {"given": [GivenResponse(author="full", text="SECOND")]},
    {"given": [GivenResponse(author="base", text="FIRST")]},
    {"given": [GivenResponse(author="full", ids=[1])]},
    {"given": []},
    {"messages": [Message(role="system", content="a"), Message(role="user", content=TRACE.prompt)]},
    {"messages": []},
]


def record(folder: Path) -> None:
    with Recorder.create(folder, RUN) as recorder:
        recorder.append(TRACE, ASKED)


@pytest.mark.parametrize("changes", CHANGES)
def test_another_question_under_a_known_id_is_noticed(tmp_path: Path, changes: dict[str, object]) -> None:
    changed = msgspec.structs.replace(ASKED, **changes)
    with Recorder.create(tmp_path, RUN) as recorder:
        recorder.append(TRACE, ASKED)
        with pytest.raises(RunError, match="other given responses under the id '1'"):
            recorder.is_finished(changed)
    with Recorder.resume(tmp_path, RUN) as recorder:
        assert recorder.is_finished(ASKED)
        with pytest.raises(RunError, match="other given responses under the id '1'"):
            recorder.is_finished(changed)
    with pytest.raises(RunError, match="under the id '1'"):
        Recorder.begin(tmp_path, RUN, [ASKED, changed])
    Recorder.begin(tmp_path, RUN, [ASKED]).close()


def test_another_reference_answers_the_same_question(tmp_path: Path) -> None:
    record(tmp_path)
    with Recorder.resume(tmp_path, RUN) as recorder:
        assert recorder.is_finished(msgspec.structs.replace(ASKED, reference="Known now."))


def test_a_line_that_does_not_say_is_judged_by_its_text(tmp_path: Path) -> None:
    record(tmp_path)
    path = tmp_path / "traces.jsonl"
    line = json.loads(path.read_text())
    assert line.pop("asked") == fingerprint_prompt(ASKED)
    path.write_text(json.dumps(line) + "\n")
    with Recorder.resume(tmp_path, RUN) as recorder:
        assert recorder.is_finished(msgspec.structs.replace(ASKED, given=[]))
        with pytest.raises(RunError, match="another text"):
            recorder.is_finished(msgspec.structs.replace(ASKED, prompt="other"))
    assert Recording.open(tmp_path).trace("1").asked is None


def test_any_text_has_a_fingerprint() -> None:
    torn, other = (fingerprint_prompt(Prompt(id="1", prompt=text)) for text in ("\ud800", "\ud801"))
    assert torn != other
    assert torn.startswith("sha256:")
