"""Weights in float32 beside gguf's own reading of them, LoRAs merged beside numpy, and numbers that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize, quantize
from gguf.constants import GGML_QUANT_SIZES

from itx.errors import WeightsError
from itx.models.llama import dequantising
from itx.models.llama.dequantising import count_bytes, write_dequantised
from itx.models.llama.layout import count_broken, read_layout
from tests.support.ggufs import draw_lora, draw_tensors, finish, merge_lora, round_tensors, write_lora, write_model

LOSSLESS = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0")
HALF = {
    # where the first half float of a block stands, from ggml-common.h
    "Q4_0": 0, "Q4_1": 2, "Q5_0": 0, "Q5_1": 2, "Q8_0": 0, "Q2_K": 82, "Q3_K": 108, "Q4_K": 2, "Q5_K": 0, "Q6_K": 208,
    "IQ2_XXS": 0, "IQ2_XS": 0, "IQ2_S": 0, "IQ3_XXS": 0, "IQ3_S": 0, "IQ1_S": 0, "IQ4_NL": 0, "IQ4_XS": 0,
    "TQ1_0": 52, "TQ2_0": 64,
}  # fmt: skip


def write_blocks(path: Path, kind: GGMLQuantizationType, blocks: np.ndarray) -> Path:
    """Write a file with one tensor of packed blocks [rows, bytes]."""
    writer = GGUFWriter(path, "llama")
    writer.add_string("general.name", "one tensor")
    writer.add_tensor("token_embd.weight", blocks, raw_dtype=kind)
    return finish(writer, path)


def read(path: Path) -> dict[str, np.ndarray]:
    return {
        tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        for tensor in GGUFReader(path).tensors
    }


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dequantising, "_AT_ONCE", 150)


@pytest.mark.usefixtures("few_at_once")
def test_a_twin_has_the_files_metadata_and_its_weights_in_float32(tmp_path: Path) -> None:
    source = write_model(tmp_path / "q.gguf", draw_tensors(), quantised=True)
    told: list[float] = []
    write_dequantised(source, tmp_path / "f.gguf", told.append)
    before, after = GGUFReader(source), GGUFReader(tmp_path / "f.gguf")
    assert [tensor.tensor_type.name for tensor in after.tensors] == ["F32"] * len(before.tensors)
    assert [tuple(tensor.shape) for tensor in after.tensors] == [tuple(tensor.shape) for tensor in before.tensors]
    expected = read(source)
    assert read(tmp_path / "f.gguf").keys() == expected.keys()
    for name, values in read(tmp_path / "f.gguf").items():
        np.testing.assert_array_equal(values, expected[name])
    assert before.fields.keys() == after.fields.keys()
    assert after.fields["general.file_type"].contents() == 0
    for name in before.fields.keys() - {"general.file_type"}:
        assert name.startswith("GGUF.") or before.fields[name].contents() == after.fields[name].contents()
    assert told == sorted(told)
    assert told[-1] == 1
    assert 0 <= count_bytes(read_layout(source)) - (tmp_path / "f.gguf").stat().st_size < 200 * len(expected)


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("alpha", [8.0, None])
def test_a_lora_is_merged_as_numpy_merges_it(tmp_path: Path, alpha: float | None) -> None:
    tensors = draw_tensors()
    lora = draw_lora(tensors)
    source = write_model(tmp_path / "q.gguf", tensors, quantised=True)
    path = write_lora(tmp_path / "l.gguf", lora, alpha=alpha)
    write_dequantised(source, tmp_path / "m.gguf", lambda share: None, path)
    # Without alpha llama.cpp scales by 1, which is alpha = rank.
    expected = merge_lora(round_tensors(tensors), lora, 4.0 if alpha is None else alpha)
    found = read(tmp_path / "m.gguf")
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-7)
    assert not np.array_equal(found["blk.0.attn_q.weight"], read(source)["blk.0.attn_q.weight"])


def test_a_lora_for_experts_is_merged_one_by_one(tmp_path: Path, few_at_once: None) -> None:
    random = np.random.default_rng(3)
    base, down, up = (random.standard_normal(size).astype(np.float32) for size in ((3, 7, 32), (3, 2, 32), (3, 7, 2)))
    writer = GGUFWriter(tmp_path / "e.gguf", "llama")
    writer.add_tensor("blk.0.ffn_up_exps.weight", base)
    finish(writer, tmp_path / "e.gguf")
    name = "blk.0.ffn_up_exps.weight"
    path = write_lora(tmp_path / "l.gguf", {f"{name}.lora_a": down, f"{name}.lora_b": up}, alpha=6.0)
    write_dequantised(tmp_path / "e.gguf", tmp_path / "m.gguf", lambda share: None, path)
    np.testing.assert_allclose(read(tmp_path / "m.gguf")[name], base + 3 * np.matmul(up, down), rtol=1e-5, atol=1e-5)


def test_a_lora_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    tensors = draw_tensors()
    source = write_model(tmp_path / "q.gguf", tensors)
    for name, lora in {
        "other": {"blk.9.attn_q.weight.lora_a": np.ones((2, 64)), "blk.9.attn_q.weight.lora_b": np.ones((64, 2))},
        "shape": {"blk.0.attn_q.weight.lora_a": np.ones((2, 32)), "blk.0.attn_q.weight.lora_b": np.ones((64, 2))},
        "half": {"blk.0.attn_q.weight.lora_a": np.ones((2, 64))},
    }.items():
        path = write_lora(tmp_path / f"{name}.gguf", {key: each.astype(np.float32) for key, each in lora.items()})
        with pytest.raises(WeightsError):
            write_dequantised(source, tmp_path / "m.gguf", lambda share: None, path)


@pytest.mark.parametrize("name", LOSSLESS)
def test_each_type_is_dequantised_as_gguf_does(tmp_path: Path, name: str, few_at_once: None) -> None:
    kind = GGMLQuantizationType[name]
    values = np.random.default_rng(4).standard_normal((5, 256)).astype(np.float32)
    packed = quantize(values, kind)
    source = write_blocks(tmp_path / "q.gguf", kind, packed)
    write_dequantised(source, tmp_path / "f.gguf", lambda share: None)
    np.testing.assert_array_equal(read(tmp_path / "f.gguf")["token_embd.weight"], dequantize(packed, kind))
    assert count_broken(read_layout(source), read_layout(source).places()[0]) == 0


@pytest.mark.parametrize("name", sorted(HALF))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_scale_that_is_no_number_is_counted_where_gguf_dequantises_it_to_none(
    tmp_path: Path, name: str, bad: float
) -> None:
    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    # Packed numbers of every kind, 0x7C00 among them, but sound scales: only these may be counted.
    blocks = np.random.default_rng(5).integers(0, 256, (6, 2, size), dtype=np.uint8)
    blocks[1, :, :] = 0x7C
    for start in {HALF[name], *({0, 2} if name in {"Q4_1", "Q5_1", "Q4_K", "Q5_K"} else ()),
                  *({80} if name == "Q2_K" else ())}:  # fmt: skip
        blocks[..., start : start + 2] = np.array([0.5], np.float16).view(np.uint8)
    sound = write_blocks(tmp_path / "sound.gguf", kind, blocks.reshape(6, -1))
    assert np.isfinite(read(sound)["token_embd.weight"]).all()
    assert count_broken(read_layout(sound), read_layout(sound).places()[0]) == 0
    for row in (0, 3):
        blocks[row, 1, HALF[name] : HALF[name] + 2] = np.array([bad], np.float16).view(np.uint8)
    path = write_blocks(tmp_path / "bad.gguf", kind, blocks.reshape(6, -1))
    with np.errstate(invalid="ignore"):
        wrong = ~np.isfinite(read(path)["token_embd.weight"])
    assert wrong.any(axis=1).tolist() == [True, False, False, True, False, False]
    assert not wrong[:, :elements].any()
    assert count_broken(read_layout(path), read_layout(path).places()[0]) == 2


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_plain_floats_that_are_no_numbers_are_counted(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(6).standard_normal((4, 32)).astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    kind = GGMLQuantizationType[name]
    path = write_blocks(tmp_path / "a.gguf", kind, quantize(values, kind))
    assert count_broken(read_layout(path), read_layout(path).places()[0]) == 3
