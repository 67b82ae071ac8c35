"""The reader of GGUF headers: what it reads is what the ``gguf`` package reads, and nothing makes it fail otherwise.

And the checks before llama.cpp loads a file: without them it would end the process.
"""

from __future__ import annotations

import ctypes
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from hypothesis import assume, given
from hypothesis import strategies as st

from itx.errors import WeightsError
from itx.models.llama.aborts import check_model, check_vocabulary
from itx.models.llama.header import (
    _BLOCKS,
    FILE_TYPES,
    Array,
    Header,
    Tensor,
    find_dtype,
    find_quantization,
    read_header,
)
from tests.support import ggufs

SMALL = ggufs.Shape(hidden=32, layers=1, heads=2, kv_heads=1, intermediate=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("headers")


@pytest.fixture(scope="module")
def whole(folder: Path) -> bytes:
    return ggufs.write_model(folder / "whole.gguf", ggufs.draw_tensors(SMALL), SMALL).read_bytes()


@pytest.fixture(scope="module")
def header_end(folder: Path, whole: bytes) -> int:
    """Where the tensors begin."""
    return int(GGUFReader(folder / "whole.gguf").data_offset)


def read(folder: Path, data: bytes) -> Header | None:
    """Read and check a file of these bytes; None where it is refused. Any other exception is the test's failure."""
    path = folder / "tried.gguf"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    try:
        header = read_header(path)
        list(header.texts("tokenizer.ggml.tokens"))
        header.numbers("tokenizer.ggml.scores")
        find_quantization(header.metadata, header.tensors)
        check_model(header)
        check_vocabulary(header)
    except WeightsError as error:
        assert str(path) in error.cause
        assert error.remedy
        return None
    return header


@given(data=st.data())
def test_a_file_cut_short_anywhere_is_refused(folder: Path, whole: bytes, header_end: int, data: st.DataObject) -> None:
    end = data.draw(st.one_of(st.integers(0, header_end), st.integers(0, len(whole) - 1)))
    # What fills the last tensor up to the alignment may be missing.
    assume(len(whole) - end > 32)
    assert read(folder, whole[:end]) is None


_BYTES = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 128, 255]))


@given(data=st.data())
def test_flipped_bytes_are_refused_or_read(folder: Path, whole: bytes, header_end: int, data: st.DataObject) -> None:
    changed = bytearray(whole)
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, header_end - 1), _BYTES), min_size=1, max_size=6)):
        changed[place] = byte
    tracemalloc.start()
    try:
        read(folder, bytes(changed))
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


_WORDS = st.one_of(
    st.integers(0, 2**64 - 1).map(lambda number: struct.pack("<Q", number)),
    st.integers(0, 40).map(lambda number: struct.pack("<Q", number)),
    st.integers(0, 14).map(lambda number: struct.pack("<I", number)),
    st.text(max_size=8).map(lambda text: struct.pack("<Q", len(text.encode())) + text.encode()),
    st.binary(max_size=9),
)


@given(words=st.lists(_WORDS, max_size=30), counts=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)))
def test_nonsense_behind_the_magic_is_refused_or_read(
    folder: Path, words: list[bytes], counts: tuple[int, int]
) -> None:
    few = (counts[0] % 4, counts[1] % 4)
    for version in (2, 3):
        for numbers in (counts, few):
            read(folder, b"GGUF" + struct.pack("<IQQ", version, *numbers) + b"".join(words))


@given(data=st.binary(max_size=400))
def test_what_is_no_gguf_is_said_to_be_none(folder: Path, data: bytes) -> None:
    assume(not data.startswith(b"GGUF"))
    path = folder / "none.gguf"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="is no GGUF file"):
        read_header(path)


@pytest.mark.parametrize("numbers", [(0, 2**63), (2**63, 0), (2**24 + 1, 0), (0, 2**24), (2**24, 0)], ids=str)
def test_counts_that_cannot_be_cost_nothing(folder: Path, numbers: tuple[int, int]) -> None:
    assert read(folder, b"GGUF" + struct.pack("<IQQ", 3, *numbers) + bytes(100)) is None


@pytest.mark.parametrize("kind", [4, 8, 12])
@pytest.mark.parametrize("length", [2**64 - 1, 2**62, 2**31, 1000])
def test_arrays_longer_than_the_file_are_refused(folder: Path, kind: int, length: int) -> None:
    entry = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, kind, length)
    assert read(folder, b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry + bytes(64)) is None


def test_versions_before_two_and_of_other_machines_are_refused(folder: Path, whole: bytes) -> None:
    for version in (b"\1\0\0\0", b"\4\0\0\0", b"\0\0\0\3"):
        assert read(folder, whole[:4] + version + whole[8:]) is None


_ENTRIES: list[tuple[GGUFValueType, st.SearchStrategy[object]]] = [
    (GGUFValueType.UINT8, st.integers(0, 2**8 - 1)),
    (GGUFValueType.INT8, st.integers(-(2**7), 2**7 - 1)),
    (GGUFValueType.UINT16, st.integers(0, 2**16 - 1)),
    (GGUFValueType.INT16, st.integers(-(2**15), 2**15 - 1)),
    (GGUFValueType.UINT32, st.integers(0, 2**32 - 1)),
    (GGUFValueType.INT32, st.integers(-(2**31), 2**31 - 1)),
    (GGUFValueType.UINT64, st.integers(0, 2**64 - 1)),
    (GGUFValueType.INT64, st.integers(-(2**63), 2**63 - 1)),
    (GGUFValueType.FLOAT32, st.floats(width=32, allow_nan=False)),
    (GGUFValueType.FLOAT64, st.floats(allow_nan=False)),
    (GGUFValueType.BOOL, st.booleans()),
    (GGUFValueType.STRING, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
]
_VALUES = st.one_of(
    *(st.tuples(st.just(kind), st.none(), values) for kind, values in _ENTRIES),
    *(
        st.tuples(st.just(GGUFValueType.ARRAY), st.just(kind), st.lists(values, min_size=1, max_size=6))
        for kind, values in _ENTRIES
    ),
)
_KINDS = [
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.Q4_0,
    GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q4_K,
    GGMLQuantizationType.Q6_K,
    GGMLQuantizationType.BF16,
]


@given(
    entries=st.dictionaries(st.from_regex(r"[a-z]{1,6}(\.[a-z_]{1,6}){0,2}", fullmatch=True), _VALUES, max_size=8),
    shapes=st.lists(st.tuples(st.sampled_from(_KINDS), st.integers(1, 3), st.integers(1, 3)), max_size=4),
)
def test_it_reads_what_the_gguf_package_reads(
    folder: Path,
    entries: dict[str, tuple[GGUFValueType, GGUFValueType | None, object]],
    shapes: list[tuple[GGMLQuantizationType, int, int]],
) -> None:
    path = folder / "written.gguf"
    path.unlink(missing_ok=True)
    writer = GGUFWriter(path, "made-up")
    for name, (kind, inner, value) in entries.items():
        writer.add_key_value(name, value, kind, sub_type=inner)
    for number, (tensor_kind, rows, blocks) in enumerate(shapes):
        elements, size = GGML_QUANT_SIZES[tensor_kind]
        width = blocks * elements if elements > 1 else blocks * 16
        data = np.zeros((rows, width // elements * size), np.uint8)
        writer.add_tensor(f"t{number}.weight", data, raw_dtype=tensor_kind)
    ggufs.finish(writer, path)
    header, expected = read_header(path), GGUFReader(path)
    assert header.architecture == "made-up"
    fields = {name: field for name, field in expected.fields.items() if not name.startswith("GGUF.")}
    assert list(header.metadata) == list(fields)
    for name, field in fields.items():
        found, contents = header.metadata[name], field.contents()
        if not isinstance(found, Array):
            assert found == contents
            assert type(found) is type(contents)
        elif field.types[-1] is GGUFValueType.STRING:
            texts = header.texts(name)
            assert list(texts) == [texts[place] for place in range(len(texts))] == texts[:] == contents
            assert len(header.raw(name)) == sum(8 + len(text.encode()) for text in contents)
        else:
            assert header.numbers(name).tolist() == contents
            assert header.raw(name) == header.numbers(name).tobytes()
    assert [(each.name, each.shape, each.kind) for each in header.tensors] == [
        (each.name, tuple(each.shape.tolist()), each.tensor_type.value) for each in expected.tensors
    ]
    for each, tensor in zip(header.tensors, expected.tensors, strict=True):
        assert expected.data_offset + each.offset == tensor.data_offset


def test_sizes_of_types_are_ggmls() -> None:
    library = pytest.importorskip("llama_cpp._ggml").libggml
    size, block = library.ggml_type_size, library.ggml_blck_size
    size.restype, block.restype = ctypes.c_size_t, ctypes.c_int64
    known = {kind: (block(kind), size(kind)) for kind in range(43)}
    assert {kind: sizes for kind, sizes in known.items() if sizes != (0, 0)} == _BLOCKS


def test_names_of_file_types_are_llama_cpps() -> None:
    names = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in LlamaFileType}
    assert {number: names.get(number, name) for number, name in FILE_TYPES.items()} == FILE_TYPES
    assert len(names.keys() & FILE_TYPES.keys()) > 25


@pytest.mark.parametrize(
    ("entry", "kinds", "expected"),
    [
        (15, [0, 12, 14], "Q4_K_M"),
        (7, [8], "Q8_0"),
        (0, [0], None),
        (1, [1, 0], None),
        (32, [30], None),
        (None, [12, 14], "mixed"),
        (999, [12], "mixed"),
        ("Q4", [12], "mixed"),
        (float("nan"), [12], "mixed"),
        (Array(4, 1, 0, 4), [12], "mixed"),
    ],
)
def test_the_name_of_the_quantisation(entry: object, kinds: list[int], expected: str | None) -> None:
    from itx.models.llama.header import Tensor

    metadata = {} if entry is None else {"general.file_type": entry}
    tensors = [Tensor("m", (256, 2), kind, 0) for kind in kinds] + [Tensor("v", (256,), 0, 0)]
    assert find_quantization(metadata, tensors) == expected


# What llama.cpp would abort on


def entry(name: str, value: float | str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        return ggufs.write_model(path, ggufs.draw_tensors(SMALL), SMALL, extra={name: value})

    return write


def vocabulary(change: Callable[[list[ggufs.Token]], list[ggufs.Token]]) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        tokens = change(list(ggufs.VOCABULARY))
        return ggufs.write_model(path, ggufs.draw_tensors(SMALL), SMALL, vocabulary=tokens)

    return write


def rename(place: int, text: str) -> Callable[[list[ggufs.Token]], list[ggufs.Token]]:
    def change(tokens: list[ggufs.Token]) -> list[ggufs.Token]:
        tokens[place] = ggufs.Token(text, tokens[place].score, tokens[place].kind)
        return tokens

    return change


ABORTS = {
    "no layers": (entry("llama.block_count", 0), "0 layers"),
    "too many layers": (entry("llama.block_count", 513), "513 layers"),
    "no window": (entry("llama.context_length", 0), "0 positions"),
    "a window beyond numbers": (entry("llama.context_length", 1 << 31), "positions"),
    "negative epsilon": (entry("llama.attention.layer_norm_rms_epsilon", -1.0), "epsilon is -1"),
    "epsilon that is no number": (entry("llama.attention.layer_norm_rms_epsilon", float("nan")), "epsilon is nan"),
    "unknown scaling": (entry("llama.rope.scaling.type", "spiral"), "'spiral'"),
    "experts unused": (entry("llama.expert_count", 8), "0 of 8 experts"),
    "too many experts": (entry("llama.expert_count", 1 << 20), "experts"),
    "experts used of none": (entry("llama.expert_used_count", 2), "2 of 0 experts"),
    "an encoder": (entry("llama.attention.causal", False), "encoder"),
    "an encoder's tokenizer": (entry("tokenizer.ggml.model", "bert"), "encoder"),
    "a token twice": (vocabulary(rename(300, ggufs.VOCABULARY[301].text)), "1 of its tokens"),
    "a byte missing": (vocabulary(rename(3 + 0xF0, "no byte")), "<0xF0>"),
}


@pytest.mark.parametrize("name", ABORTS)
def test_what_llama_cpp_aborts_on_is_refused_before(tmp_path: Path, name: str) -> None:
    write, said = ABORTS[name]
    header = read_header(write(tmp_path / "m.gguf"))
    with pytest.raises(WeightsError) as caught:
        check_model(header)
        check_vocabulary(header)
    assert said in caught.value.cause
    assert str(header.path) in caught.value.cause


def test_a_sound_model_is_not_refused(tmp_path: Path) -> None:
    sound = read_header(ggufs.write_model(tmp_path / "m.gguf", ggufs.draw_tensors(SMALL), SMALL))
    check_model(sound)
    check_vocabulary(sound)
    mixture = {"llama.expert_count": 4, "llama.expert_used_count": 2, "llama.rope.scaling.type": "yarn"}
    check_model(read_header(ggufs.write_model(tmp_path / "e.gguf", ggufs.draw_tensors(SMALL), SMALL, extra=mixture)))
    # Tokens without a text get one from llama.cpp.
    empty = vocabulary(lambda tokens: rename(301, "")(rename(300, "")(tokens)))
    check_vocabulary(read_header(empty(tmp_path / "v.gguf")))


@pytest.mark.parametrize(
    ("kinds", "dtype"),
    [((0,), "float32"), ((1, 0), "float16"), ((30,), "bfloat16"), ((8, 0), "float32"), ((1, 30), "float32")],
)
def test_the_dtype_is_that_of_the_matrices(kinds: tuple[int, ...], dtype: str) -> None:
    vectors = [Tensor("norm", (64,), 0, 0)]
    assert find_dtype([*vectors, *(Tensor(f"{kind}", (64, 64), kind, 0) for kind in kinds)]) == dtype
