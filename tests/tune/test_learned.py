"""Learned weights as a file: what is read is what was written, and nothing else goes into a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from itx.tune.learned import Trained, read_learned, write_learned

HOW = Trained(0.1 + 0.2, 380, 34.5)


def make_model(seed: int, width: int = 3) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.Linear(width, 2))
    model[0].requires_grad_(False)
    return model


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    file, one, other = tmp_path / "new" / "w.safetensors", make_model(1), make_model(2)
    frozen = other[0].weight.clone()
    write_learned(one, file, HOW)
    assert [path.name for path in file.parent.iterdir()] == ["w.safetensors"]
    assert read_learned(other, file) == HOW
    states = one.state_dict(), other.state_dict()
    assert torch.equal(states[0]["1.weight"], states[1]["1.weight"])
    assert torch.equal(states[0]["1.bias"], states[1]["1.bias"])
    assert torch.equal(states[1]["0.weight"], frozen), "what is not learned is the base's"


@pytest.mark.parametrize("harm", ["missing", "cut", "another's", "wider", "not told"])
def test_a_file_that_is_not_this_models_changes_nothing(tmp_path: Path, harm: str) -> None:
    from safetensors.torch import save_file

    file, model = tmp_path / "w.safetensors", make_model(2)
    if harm != "missing":
        write_learned(make_model(1, width=4 if harm == "wider" else 3), file, HOW)
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-5])
    if harm == "another's":
        other = make_model(1)
        other.requires_grad_(True)
        write_learned(other, file, HOW)
    if harm == "not told":
        save_file({f"1.{name}": value.detach() for name, value in make_model(1)[1].named_parameters()}, file)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert read_learned(model, file) is None
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    def refuse(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("itx.tune.learned.save_file", refuse)
    with pytest.raises(OSError, match="No space"):
        write_learned(make_model(1), tmp_path / "w.safetensors", HOW)
    assert not list(tmp_path.iterdir())
