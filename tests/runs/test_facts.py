"""Fact files, and what a run keeps of each fact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.errors import InputError, RunError, UsageError
from itx.records import Message
from itx.runs.facts import Fact, FactFile, Knowledge, Probe, read_facts, read_probes
from itx.runs.lines import FACTS

LIMA = Fact(id="1", prompt="The capital of Peru is", answer=" Lima", wrong=[" Quito", " Bogotá"])


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def know(probe: Fact) -> Probe:
    knowledge = Knowledge(start=3, ids=[5, 6], logp=[-0.5, -1.0], rank=[1, 2], wrong=[-3.0] * len(probe.wrong))
    return Probe.make(probe, {"base": knowledge})


def test_facts_of_every_shape_are_read(tmp_path: Path) -> None:
    asked = {"messages": [{"role": "user", "content": "Capital of Peru?"}], "answer": "Lima"}
    path = write(
        tmp_path / "facts.jsonl",
        {"prompt": LIMA.prompt, "answer": LIMA.answer, "wrong": LIMA.wrong},
        {"id": 7, "prompt": "Two plus two is", "answer": " four", "subject": "numbers", "chat": True},
        {"id": "chat", **asked},
    )
    facts, broken = read_facts(path)
    assert broken == []
    assert facts == [
        LIMA,
        Fact(id="7", prompt="Two plus two is", answer=" four", subject="numbers", chat=True),
        Fact(
            id="chat",
            prompt="Capital of Peru?",
            answer="Lima",
            chat=True,
            messages=[Message(role="user", content="Capital of Peru?")],
        ),
    ]
    array = tmp_path / "facts.json"
    array.write_text(json.dumps([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]))
    assert read_facts(array)[0] == facts


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "p"}, "answer"),
        ({"answer": " a"}, "no prompt"),
        ({"prompt": " ", "answer": " a"}, "no prompt"),
        ({"prompt": "p", "answer": " "}, "answer is empty"),
        ({"prompt": "p", "answer": " a", "wrong": [""]}, "wrong answer is empty"),
        ({"prompt": "p", "answer": " a", "wrong": ["a"]}, "the same"),
        ({"prompt": "p", "answer": " a", "wrong": [" b", " b "]}, "the same"),
        ({"prompt": "p", "answer": " 100", "wrong": [" 1000"]}, "beginning of another"),
        ({"prompt": "p", "answer": " Quitos", "wrong": [" Quito"]}, "beginning of another"),
        ({"id": " ", "prompt": "p", "answer": " a"}, "id is empty"),
        ({"id": "good", "prompt": "p", "answer": " a"}, "taken"),
        ({"messages": [{"role": "assistant", "content": "x"}], "answer": " a"}, "user's turn"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_the_others_are_read(
    tmp_path: Path, row: dict[str, object], reason: str
) -> None:
    path = write(tmp_path / "facts.jsonl", {"id": "good", "prompt": "p", "answer": " a"}, row)
    facts, broken = read_facts(path)
    assert [fact.id for fact in facts] == ["good"]
    assert [line.line for line in broken] == [2]
    assert reason in broken[0].reason


def test_a_file_without_a_fact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no fact that can be used"):
        read_facts(write(tmp_path / "facts.jsonl", {"prompt": "p"}))
    with pytest.raises(UsageError):
        read_facts(tmp_path / "facts.txt")
    with pytest.raises(UsageError):
        read_facts(tmp_path / "missing.jsonl")


def test_what_is_recorded_is_read_back_and_not_asked_again(tmp_path: Path) -> None:
    failing = Fact(id="2", prompt="p", answer=" a")
    with FactFile(tmp_path) as file:
        assert file.choose_waiting([LIMA, failing]) == [LIMA, failing]
        assert not (tmp_path / FACTS).exists()
        file.append(know(LIMA))
        file.append(Probe.make(failing, {}, "no memory"))
    assert read_probes(tmp_path) == [know(LIMA), Probe.make(failing, {}, "no memory")]
    with FactFile(tmp_path) as file:
        assert file.choose_waiting([LIMA, failing]) == [failing]
        file.append(know(failing))
        assert file.choose_waiting([LIMA, failing]) == []
    # The last line of an id counts.
    assert read_probes(tmp_path) == [know(LIMA), know(failing)]


@pytest.mark.parametrize("change", [{"answer": " Cusco"}, {"prompt": "Peru's capital is"}, {"wrong": [" Quito"]}])
def test_a_changed_fact_under_a_known_id_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with FactFile(tmp_path) as file:
        file.append(know(LIMA))
        changed = Fact(**{"id": "1", "prompt": LIMA.prompt, "answer": LIMA.answer, "wrong": LIMA.wrong, **change})
        with pytest.raises(RunError, match="the fact file was changed"):
            file.choose_waiting([changed])


def test_a_line_cut_short_is_set_aside_and_asked_again(tmp_path: Path) -> None:
    with FactFile(tmp_path) as file:
        file.append(know(LIMA))
    whole = (tmp_path / FACTS).read_bytes()
    other = Fact(id="2", prompt="p", answer=" a")
    with (tmp_path / FACTS).open("ab") as file:
        file.write(b'{"id": "2", "prompt": "p", "ans')
    assert read_probes(tmp_path) == [know(LIMA)]
    with FactFile(tmp_path) as facts:
        assert facts.choose_waiting([LIMA, other]) == [other]
        facts.append(know(other))
    assert (tmp_path / FACTS).read_bytes().startswith(whole)
    assert read_probes(tmp_path) == [know(LIMA), know(other)]


@pytest.mark.parametrize(
    "knowledge",
    [
        {"start": 3, "ids": [], "logp": [], "rank": []},
        {"start": 3, "ids": [5], "logp": [0.5], "rank": [1]},
        {"start": 3, "ids": [5], "logp": [-0.5], "rank": [0]},
        {"start": 3, "ids": [5, 6], "logp": [-0.5], "rank": [1]},
        {"start": 3, "ids": [5], "logp": [-0.5], "rank": [1], "wrong": [-1.0, -2.0]},
    ],
)
def test_a_line_that_cannot_be_true_is_named(tmp_path: Path, knowledge: dict[str, object]) -> None:
    row = {"id": "1", "prompt": "p", "answer": " a", "wrong": [" b"], "models": {"base": knowledge}}
    write(tmp_path / FACTS, row)
    with pytest.raises(RunError, match=r"facts\.jsonl, line 1"):
        read_probes(tmp_path)


TEXTS = st.text(min_size=1).filter(lambda text: text.strip() and text.isprintable())


@given(prompt=TEXTS, answers=st.lists(TEXTS, min_size=1, max_size=4, unique_by=str.strip))
def test_any_text_survives_the_file_and_the_run(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, answers: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("facts")
    row = {"prompt": prompt, "answer": answers[0], "wrong": answers[1:]}
    try:
        facts, broken = read_facts(write(folder / "asked.jsonl", row))
    except InputError as error:
        stripped = [answer.strip() for answer in answers]
        begins = any(one != other and other.startswith(one) for one in stripped for other in stripped)
        assert begins and "beginning of another" in str(error)
        return
    assert broken == []
    assert (facts[0].prompt, facts[0].answer, facts[0].wrong) == (prompt, answers[0], answers[1:])
    with FactFile(folder) as file:
        file.append(know(facts[0]))
    assert read_probes(folder) == [know(facts[0])]
