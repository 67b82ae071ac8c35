"""Prompt and response files: what people write, and what they break."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.errors import InputError, UsageError
from itx.records import GivenResponse, Message, Prompt
from itx.runs.prompts import read_prompts, read_responses


def _file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_plain_text_is_one_prompt_a_line(tmp_path: Path) -> None:
    path = _file(tmp_path, "p.txt", "\ufeffFirst\r\n\r\n  Zweite Zeile: 東京 🎉\nA\u2028B\n   \n\tlast")
    prompts, broken = read_prompts(path)
    assert [(prompt.id, prompt.prompt) for prompt in prompts] == [
        ("1", "First"),
        ("3", "Zweite Zeile: 東京 🎉"),
        ("4", "A\u2028B"),
        ("6", "last"),
    ]
    assert broken == []


def test_a_broken_line_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [
        b'{"id": "a", "prompt": "One", "reference": "1"}',
        b'{"id": "b", "prompt": "Two"',
        b"",
        b'{"id": "a", "prompt": "Again"}',
        b'{"prompt": "   "}',
        b'{"prompt": 7}',
        b'{"id": true, "prompt": "x"}',
        b'{"id": "", "prompt": "x"}',
        b'{"text": "x"}',
        b'["prompt"]',
        b'{"prompt": "caf\xe9"}',
        b'{"prompt": "\\ud800"}',
        b'{"id": 12, "prompt": "Twelve"}\r',
        b'{"prompt": "Last", "unknown": [1]}',
        b'{"id": "14", "prompt": "clash with a made id"}',
    ]
    prompts, broken = read_prompts(_file(tmp_path, "p.jsonl", b"\n".join(lines)))
    assert prompts == [
        Prompt(id="a", prompt="One", reference="1"),
        Prompt(id="12", prompt="Twelve"),
        Prompt(id="14", prompt="Last"),
    ]
    assert [line.line for line in broken] == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15]
    reasons = {line.line: line.reason for line in broken}
    assert "not valid JSON" in reasons[2]
    assert reasons[4] == "the id 'a' is taken by line 1"
    assert reasons[5] == "the prompt is empty"
    assert "got `int` - at `$.prompt`" in reasons[6]
    assert reasons[8] == "the id is empty"
    assert reasons[9] == "it has none of prompt, messages, instruction"
    assert reasons[11] == "not valid UTF-8"
    assert reasons[15] == "the id '14' is taken by line 14"
    assert str(broken[0]).startswith(f"{tmp_path / 'p.jsonl'}, line 2: ")


def test_messages_keep_the_conversation(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    parts = {"role": "user", "content": [{"type": "text", "text": "Hello, "}, {"type": "text", "text": "you"}]}
    answer = {"role": "assistant", "content": "Hi."}
    rows: list[dict[str, object]] = [
        {"messages": [system, parts]},
        {"messages": [system, parts, answer]},
        {"messages": [parts, answer, {"role": "user", "content": "And?"}], "reference": "So."},
        {"messages": [parts, answer], "reference": "other"},
        {"messages": []},
        {"messages": [system]},
        {"messages": [{"role": "human", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"messages": [{"role": "user", "content": None}]},
    ]
    path = _file(tmp_path, "p.jsonl", "\n".join(json.dumps(row) for row in rows))
    prompts, broken = read_prompts(path)
    hello = Message(role="user", content="Hello, you")
    brief = Message(role="system", content="Be brief.")
    assert prompts == [
        Prompt(id="1", prompt="Hello, you", messages=[brief, hello]),
        Prompt(id="2", prompt="Hello, you", messages=[brief, hello], reference="Hi."),
        Prompt(
            id="3",
            prompt="And?",
            messages=[hello, Message(role="assistant", content="Hi."), Message(role="user", content="And?")],
            reference="So.",
        ),
        Prompt(id="4", prompt="Hello, you", messages=[hello], reference="other"),
    ]
    assert [(line.line, line.reason) for line in broken][:4] == [
        (5, "the messages do not end with a user's turn"),
        (6, "the messages do not end with a user's turn"),
        (7, "the role 'human' is none of assistant, developer, system, tool, user"),
        (8, "a part of type 'image_url', where itx reads text only"),
    ]
    assert broken[4].line == 9


def test_alpaca_rows_as_json_array(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Translate.", "input": "Bonjour", "output": "Hello"},
        {"instruction": "Name a river.", "input": "", "output": "Rhine"},
        {"instruction": "Say.", "input": None},
        {"instruction": 3},
        "row",
    ]
    path = _file(tmp_path, "rows.json", "\ufeff\n" + json.dumps(rows, indent=1))
    prompts, broken = read_prompts(path)
    assert prompts == [
        Prompt(id="1", prompt="Translate.\n\nBonjour", reference="Hello"),
        Prompt(id="2", prompt="Name a river.", reference="Rhine"),
        Prompt(id="3", prompt="Say."),
    ]
    assert [(line.unit, line.line) for line in broken] == [("row", 4), ("row", 5)]
    assert str(broken[0]).startswith(f"{path}, row 4: Expected")
    lines = _file(tmp_path, "lines.json", '{"prompt": "a"}\n{"prompt": "b"}\n')
    assert [prompt.prompt for prompt in read_prompts(lines)[0]] == ["a", "b"]


def test_limit_counts_usable_prompts(tmp_path: Path) -> None:
    path = _file(tmp_path, "p.jsonl", '{"prompt": "a"}\nx\n{"prompt": "b"}\nx\n{"prompt": "c"}\n')
    prompts, broken = read_prompts(path, 2)
    assert [prompt.prompt for prompt in prompts] == ["a", "b"]
    assert [line.line for line in broken] == [2]
    assert read_prompts(path, 0) == ([], [])


def test_files_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_prompts(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="of no kind"):
        read_prompts(_file(tmp_path, "p.docx", "x"))
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(UsageError, match="is not a file"):
        read_prompts(tmp_path / "folder.txt")
    with pytest.raises(InputError, match="not valid JSON"):
        read_prompts(_file(tmp_path, "p.json", '[{"prompt": "x"}'))
    with pytest.raises(InputError, match="UTF-16") as caught:
        read_prompts(_file(tmp_path, "w.txt", "prompt".encode("utf-16")))
    assert "iconv -f UTF-16" in caught.value.remedy
    assert read_prompts(_file(tmp_path, "empty.jsonl", "")) == ([], [])


def test_responses_are_grouped_by_prompt(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "prompt": "P", "response": "R"},
        {"id": "a", "prompt": "P", "response_ids": [4, 5], "author": "lora"},
        {"id": "a", "prompt": "P", "response": "again"},
        {"id": "a", "prompt": "Other", "response": "x", "author": "base"},
        {"id": "b", "prompt": "Q", "response": ""},
        {"id": "c", "prompt": "Q"},
        {"id": "c", "prompt": "Q", "response": "x", "response_ids": [1]},
        {"id": "c", "prompt": "Q", "response_ids": [-1]},
        {"prompt": "Q", "response": "no id"},
    ]
    path = _file(tmp_path, "r.jsonl", "\n".join(json.dumps(line) for line in lines))
    prompts, broken = read_responses(path)
    assert prompts == [
        Prompt(id="a", prompt="P", given=[GivenResponse(text="R"), GivenResponse(author="lora", ids=[4, 5])]),
        Prompt(id="b", prompt="Q", given=[GivenResponse(text="")]),
        Prompt(id="9", prompt="Q", given=[GivenResponse(text="no id")]),
    ]
    assert [(line.line, line.reason) for line in broken] == [
        (3, "a second response of the same author to the id 'a'"),
        (4, "the id 'a' was used for another prompt"),
        (6, "it needs either response or response_ids"),
        (7, "it needs either response or response_ids"),
        (8, "a negative token id in response_ids"),
    ]
    limited, _ = read_responses(path, 1)
    assert [(prompt.id, len(prompt.given)) for prompt in limited] == [("a", 2)]
    with pytest.raises(UsageError, match="plain text"):
        read_responses(_file(tmp_path, "r.txt", "x"))


@given(raw=st.binary(max_size=300), kind=st.sampled_from(["jsonl", "json", "txt"]))
def test_any_bytes_give_prompts_broken_lines_or_a_named_file(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, kind: str
) -> None:
    path = _file(tmp_path_factory.mktemp("x"), f"p.{kind}", raw)
    try:
        prompts, broken = read_prompts(path)
    except InputError as error:
        assert str(path) in error.cause
        return
    assert all(prompt.prompt.strip() for prompt in prompts)
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    assert len(prompts) + len(broken) <= raw.count(b"\n") + raw.count(b",") + 1


@given(texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: bool(text.strip()))))
def test_any_text_survives_jsonl(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    content = "\n".join(json.dumps({"prompt": text}, ensure_ascii=bool(index % 2)) for index, text in enumerate(texts))
    prompts, broken = read_prompts(_file(tmp_path_factory.mktemp("x"), "p.jsonl", content))
    assert broken == []
    assert [prompt.prompt for prompt in prompts] == texts
