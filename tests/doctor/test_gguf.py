"""GGUF files by their headers: what is whole, what they say of themselves, and an engine that is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from itx.doctor.folders import check_adapter_base, check_architecture
from itx.doctor.subject import Subject, read_subject
from itx.errors import MissingExtraError
from itx.models.reference import parse_reference
from tests.doctor.clinic import diagnose, find, status


def write(path: Path, *, blocks: int = 2, adapter: bool = False, base: str | None = None) -> Path:
    """Write a file with a header that can be read and one tensor; no engine could compute with it."""
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(blocks)
    writer.add_embedding_length(8)
    if adapter:
        writer.add_type("adapter")
    if base is not None:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, base)
    writer.add_tensor("token_embd.weight", np.zeros((4, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read(path: Path, name: str = "t0") -> Subject:
    return read_subject(parse_reference(str(path), name, {}), trust_remote_code=False)[0]


def test_a_whole_file_passes_and_one_cut_short_fails(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf")
    _, found = read_subject(parse_reference(str(path), "t0", {}), trust_remote_code=False)
    assert [(each.check, each.status) for each in found] == [("weights", "pass")]
    assert "1 tensors" in found[0].reason
    path.write_bytes(path.read_bytes()[:-64])
    _, found = read_subject(parse_reference(str(path), "t0", {}), trust_remote_code=False)
    assert [(each.check, each.status) for each in found] == [("weights", "fail")]


def test_another_size_warns_and_another_engines_names_do_not(tmp_path: Path, healthy: Path) -> None:
    base, same, other = (read(write(tmp_path / f"{blocks}.gguf", blocks=blocks % 10)) for blocks in (2, 12, 3))
    assert [each.status for each in check_architecture(same, base)] == ["pass"]
    (finding,) = check_architecture(other, base)
    assert (finding.status, "num_hidden_layers is 3" in finding.reason) == ("warn", True)
    assert check_architecture(base, read(healthy / "base", "base")) == []


@pytest.mark.parametrize(
    ("named", "expected"), [("Base 3", "pass"), ("Another 7B", "warn"), ("-", "warn"), (None, "warn")]
)
def test_a_lora_names_its_base(tmp_path: Path, named: str | None, expected: str) -> None:
    base, lora = (
        read(write(tmp_path / "base-3-q4_k_m.gguf"), "base"),
        write(tmp_path / "l.gguf", adapter=True, base=named),
    )
    (finding,) = check_adapter_base(read(lora), base)
    assert finding.status == expected


def test_a_missing_engine_is_said_of_its_model_and_the_others_are_looked_at(
    tmp_path: Path, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itx.models.llama import load

    def refuse() -> object:
        raise MissingExtraError("llama-cpp-python", "llama")

    monkeypatch.setattr(load, "load_library", refuse)
    path = write(tmp_path / "a.gguf")
    found = diagnose(path, healthy / "full")
    (finding,) = find(found, "engine", "base")
    assert (finding.status, finding.remedy) == ("fail", "pip install 'itx[llama]'")
    assert status(found, "logits", "t0") == "pass"
    found = diagnose(healthy / "base", path, healthy / "full")
    assert status(found, "engine", "t0") == "fail"
    assert status(found, "effect", "t1") == "pass"
    assert status(diagnose(path, path), "engine", "all") == "fail"
