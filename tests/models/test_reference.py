"""What a person writes to name a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.errors import ItxError, UsageError, WeightsError
from itx.models.reference import parse_reference, parse_references, read_adapter_base, split_name


def test_one_tuned_model_is_called_tuned(tmp_path: Path) -> None:
    base, tuned = parse_references("owner/base", [str(tmp_path)])
    assert (base.name, base.kind, base.place) == ("base", "hub", "owner/base")
    assert (tuned.name, tuned.kind, tuned.folder) == ("tuned", "folder", tmp_path)


def test_several_are_numbered_and_names_given_are_kept() -> None:
    names = [reference.name for reference in parse_references("a/b", ["a/c", "lora=a/d", "a/e"])]
    assert names == ["base", "tuned1", "lora", "tuned3"]


@pytest.mark.parametrize("tuned", [["x=a/b", "x=a/c"], ["base=a/b"], []])
def test_names_must_differ_and_something_must_be_tuned(tuned: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_references("a/b", tuned)


def test_the_base_keeps_its_name() -> None:
    assert parse_references("base=a/b", ["a/c"])[0].name == "base"
    with pytest.raises(UsageError, match="always base"):
        parse_references("other=a/b", ["a/c"])


def test_short_references_are_resolved_and_remembered(tmp_path: Path) -> None:
    base, lora = parse_references("demo:base", ["lora=demo:lora"], {"demo:base": tmp_path, "demo:lora": tmp_path})
    assert (base.text, base.folder) == ("demo:base", tmp_path)
    assert (lora.text, lora.folder) == ("demo:lora", tmp_path)


def test_a_demo_model_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="demo:other"):
        parse_reference("demo:other", "tuned", {})


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("model.gguf", WeightsError, "no file"),
        ("./other/MODEL.GGUF", WeightsError, "no file"),
        ("https://host/v1#model", UsageError, "address"),
        ("./nowhere", WeightsError, "no folder"),
        ("/nowhere/at/all", WeightsError, "no folder"),
        ("~nobody-of-this-name/model", WeightsError, "no folder"),
        ("a/b/c", WeightsError, "no folder"),
        ("two words", UsageError, "names no model"),
        ("", UsageError, "names no model"),
    ],
)
def test_what_cannot_be_a_model_says_why(text: str, kind: type[ItxError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        parse_reference(text, "tuned", {})
    assert caught.value.remedy


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(UsageError, match="is a file"):
        parse_reference(str(file), "tuned", {})


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lr=2e-4").mkdir()
    assert split_name("lr=2e-4") == (None, "lr=2e-4")
    assert split_name("mine=lr=2e-4") == ("mine", "lr=2e-4")


@given(text=st.text(max_size=30))
def test_any_text_gives_a_reference_or_an_error_that_helps(text: str) -> None:
    try:
        reference = parse_reference(text, "tuned", {})
    except ItxError as error:
        assert error.cause
        assert error.remedy
    else:
        assert reference.place


def test_an_adapter_names_its_base(tmp_path: Path) -> None:
    config = tmp_path / "adapter_config.json"
    with pytest.raises(WeightsError, match="no adapter"):
        read_adapter_base(tmp_path)
    config.write_text("{")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_adapter_base(tmp_path)
    config.write_text(json.dumps({"base_model_name_or_path": None}))
    assert read_adapter_base(tmp_path) is None
    config.write_text(json.dumps({"base_model_name_or_path": "owner/base"}))
    assert read_adapter_base(tmp_path) == "owner/base"
